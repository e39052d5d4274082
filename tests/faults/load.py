"""Work for a worker while its broker is away, and the account afterwards. Used by the tests of outages."""

from tests.scenarios.harness import Project, Sent, account

LEASE = 3.0
LONG = ["long-0", "long-1"]


def begin_load(project: Project, seconds: float, pause: float) -> None:
    """Two tasks of `seconds` that keep two of the worker's processes, and a stream of short ones, `pause` apart."""
    project.client.send("work", [[key, seconds] for key in LONG])
    for key in LONG:
        project.journal.wait_started(key)
    project.client.begin("work", range(100_000), 0.001, pause=pause)
    project.journal.wait_count(50)


def check(project: Project, sent: Sent) -> None:
    """Account for everything once the queues are empty."""
    assert len(sent.accepted) > 50
    done = project.journal.done()
    account(project.journal, [*LONG, *sent.accepted])
    assert not done & set(sent.refused), "refused by delay(), and yet run"
    maybe = [key for key in sent.maybe if key in done]
    account(project.journal, maybe)
    assert project.client.ask("dead_letters") == []
    print(
        f"{len(sent.accepted)} accepted and done once, {len(sent.refused)} refused, "
        f"{len(sent.maybe)} unsure of which {len(maybe)} ran; the longest delay() took {sent.longest:.2f} s"
    )
