"""What tasks say of failures, time limits and lost processes: `acks_on_*`, `reject_on_worker_lost` and the like.

Each process that is lost here is killed for real.
"""

import random
from collections import Counter

import pytest

from tests.faults.load import ENDLESS, PATIENT
from tests.faults.test_time_limits import failed_by, outcome
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until, wait
from tests.size import size

PLACES = ["sqlite", "redis"]


@pytest.fixture(params=PLACES)
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on SQLite and on Redis, where nothing runs again because a lease is over."""
    return make_project(request.param, worker_lease=ENDLESS, **PATIENT)


def runs(project: Project, key: str) -> list[tuple[int, int]]:
    """Return losses and retries at the start of each run."""
    return [(run.losses, run.retries) for run in project.journal.of(key)]


def test_reject_on_worker_lost_false_is_a_failure_at_the_first_loss(project: Project) -> None:
    with project.working():
        lost, fine = project.client.send("fails_if_lost", [["lost"], ["fine", "kill", 0]])
        record = outcome(project, lost)
        assert outcome(project, fine)["state"] == "SUCCESS"
        project.client.wait_empty()
    assert failed_by(record) == "WorkerLostError"
    assert "SIGKILL" in record["result"]
    assert runs(project, "lost") == [(0, 0)]
    assert project.client.ask("dead_letters") == []


def test_the_setting_holds_for_tasks_that_say_nothing(make_project: MakeProject) -> None:
    project = make_project("sqlite", task_reject_on_worker_lost=False, **PATIENT)
    with project.working():
        (silent,) = project.client.send("die", [["silent", "kill"]])
        assert failed_by(outcome(project, silent)) == "WorkerLostError"
    assert runs(project, "silent") == [(0, 0)]


def test_unset_means_another_run(project: Project) -> None:
    """Unlike in Celery."""
    with project.working():
        (lost,) = project.client.send("die", [["lost", "kill", 1]])
        assert outcome(project, lost)["state"] == "SUCCESS"
    assert runs(project, "lost") == [(0, 0), (1, 0)]


def test_retry_on_worker_lost_is_a_retry(project: Project) -> None:
    with project.working():
        once, always = project.client.send("retried_if_lost", [["once", "kill", 1], ["always"]])
        record = outcome(project, once)
        assert (record["state"], record["retries"], record["losses"]) == ("SUCCESS", 1, 0)
        record = outcome(project, always)
        project.client.wait_empty()
    assert failed_by(record) == "WorkerLostError"
    assert runs(project, "once") == [(0, 0), (0, 1)]
    assert runs(project, "always") == [(0, 0), (0, 1), (0, 2)]
    first, second, third = (run.start for run in project.journal.of("always"))
    assert second - first > 0.3 and third - second > 0.3
    assert project.client.ask("dead_letters") == []


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_acks_on_failure_false_keeps_the_message(project: Project, how: str) -> None:
    with project.working():
        bad, good = project.client.send("kept_if_failed", [["bad", how], ["good", how, 0]])
        record = outcome(project, bad)
        assert outcome(project, good)["state"] == "SUCCESS"
        project.client.wait_empty()
    assert failed_by(record) == ("ValueError" if how == "raise" else "WorkerLostError")
    assert runs(project, "bad") == [(0, 0)]
    (letter,) = project.client.ask("dead_letters")
    assert letter["reason"].startswith(
        "failed: ValueError: as told" if how == "raise" else "failed: WorkerLostError"
    )


@pytest.mark.parametrize("task", ["again_if_over", "aagain_if_over"])
def test_acks_on_timeout_false_puts_back(project: Project, task: str) -> None:
    with project.working():
        args = [] if task.startswith("a") and task[1] == "a" else ["over"]
        once, always = project.client.send(task, [["once", *args, 1], ["always"]])
        record = outcome(project, once)
        # Twice, where its second run was held up for longer than the limit.
        assert (record["state"], record["losses"]) in (("SUCCESS", 1), ("SUCCESS", 2))
        assert runs(project, "once") == [(n, 0) for n in range(record["losses"] + 1)]
        record = outcome(project, always)
        project.client.wait_empty()
    assert record["state"] == "FAILURE" and record["losses"] == 3
    assert failed_by(record) == "TimeLimitExceeded"
    assert runs(project, "always") == [(0, 0), (1, 0), (2, 0)]
    (letter,) = project.client.ask("dead_letters")
    assert letter["reason"] == "it was over its hard time limit of 0.5 s, or lost, 3 times"


def told(project: Project) -> list[list[str]]:
    """Return what handlers were told: handler, exception, key."""
    path = project.journal.path.with_name("journal.told")
    return [line.split()[:3] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("task", "error", "handlers"),
    [
        ("over", "TimeLimitExceeded", ["on_failure", "after_return"]),
        ("fails_if_lost", "WorkerLostError", ["on_failure", "after_return"]),
        ("retried_if_lost", "WorkerLostError", ["on_retry", "on_retry", "on_failure", "after_return"]),
    ],
)
def test_handlers_are_told_in_a_process_of_their_own(
    project: Project, task: str, error: str, handlers: list[str]
) -> None:
    with project.working() as worker:
        (task_id,) = project.client.send(
            task, [["bad"]], link_error={"task": "jobs.tasks.work", "args": ["linked"], "immutable": True}
        )
        assert failed_by(outcome(project, task_id)) == error
        until(lambda: len(told(project)) >= len(handlers), lambda: f"handlers are told: {told(project)}")
        project.journal.wait_done(["linked"])
        project.client.wait_empty()
        assert not worker.said("Traceback")
    # Each loss is told in a process of its own; in one of them all comes in order.
    told_of = [handler for handler, *what in told(project) if what == [error, "bad"]]
    assert Counter(told_of) == Counter(handlers) and len(told(project)) == len(handlers)
    assert told_of.index("on_failure") < told_of.index("after_return")
    assert len(project.journal.of("linked")) == 1


def test_a_handler_that_hangs_holds_nothing_up(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENARIO_HANDLERS_HANG", "1")
    ended = "Handlers of tasks that were ended took longer than 10 s"
    with project.working("-c", "1") as worker:
        ids = project.client.send("over", [["bad"]])
        assert failed_by(outcome(project, ids[0])) == "TimeLimitExceeded"
        (after,) = project.client.send("work", [["after"]])
        assert outcome(project, after)["state"] == "SUCCESS"
        assert not worker.said(ended), "it did not wait for that"
        project.client.wait_empty()
    assert worker.said(ended), "it was not left to itself"


@pytest.mark.parametrize("place", PLACES)
def test_what_follows_a_lost_task_is_sent_once_whoever_is_killed(
    make_project: MakeProject, place: str
) -> None:
    """Also the whole worker, between the end of the task's process and what follows it."""
    # The flight records of the dead are seen to one by one; the lease, at whose end a task runs again, is longer.
    project = make_project(place, worker_lease=100.0, **PATIENT)
    count, stops = size(40, 300), size(5, 40)
    ids = []
    for n in range(count):
        errback = {"task": "jobs.tasks.work", "args": [f"after-{n}"], "immutable": True}
        ids += project.client.send("fails_if_lost", [[f"bad-{n}"]], link_error=errback)
    kills = []
    for _ in range(stops):
        worker = project.start()
        begun = len(project.journal.runs()) + random.randrange(1, 6)
        # All are done sooner on a quick machine.
        until(
            lambda begun=begun: (
                len(project.journal.runs()) >= begun or not any(project.client.ask("depths").values())
            ),
            "some have begun",
        )
        wait(random.uniform(0, 0.15))
        kills.append(worker.kill_tree())
    with project.working():
        project.client.wait_empty()
    hit = account(project.journal, [f"after-{n}" for n in range(count)], kills)
    print(f"{len(hit)} follow-ups ran again after {len(kills)} kills")
    assert {failed_by(record) for record in project.client.records(ids)} == {"WorkerLostError"}
    told = Counter(len(project.journal.of(f"bad-{n}")) for n in range(count))
    # None of what a kill met after it had begun, as all are to know, and before it could say so itself.
    assert told[0] <= 2 * len(kills)
    assert told[0] + told[1] == count
