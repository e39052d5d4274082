"""A task that lets no other thread of its process run: what was claimed behind it runs in the other child, once."""

import os
import signal
import time

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, kill, until

MANY = 200


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project whose children take all there is, on each broker."""
    return make_project(request.param, worker_prefetch_multiplier=MANY * 2, **PATIENT)


def send_all(project: Project, gate: Gate) -> tuple[list[str], list[str]]:
    """Send, in one transaction, a task that keeps the lock till the gate is open, and many short ones.

    Return all ids and the short keys.
    """
    keys = [f"short-{n}" for n in range(MANY)]
    ids = project.client.ask(
        "send_mixed",
        calls=[["jobs.tasks.hold_till", ["held", gate.path]], *(["jobs.tasks.work", [key]] for key in keys)],
    )
    return ids, keys


def test_short_tasks_behind_one_that_keeps_the_lock_run_elsewhere(project: Project) -> None:
    with Gate(project) as gate, project.working("-n", "one") as worker:
        ids, keys = send_all(project, gate)
        first = project.journal.wait_started("held")
        project.journal.wait_done(keys)  # while the long one goes on
        last = max(run.end or 0.0 for run in project.journal.runs() if run.key in keys)
        print(f"the short ones were done {last - first.start:.2f} s after the long one's start")
        gate.open()
        assert not [run for run in project.journal.runs() if run.key in keys and run.pid == first.pid]
        assert worker.said("jobs.tasks.hold_till", "messages behind it go back")
        project.client.wait_empty()
        # The child has come back to life and takes part again: two that run side by side need both.
        again = ["again-0", "again-1"]
        with Gate(project, "again") as both:
            ids += project.client.send("work_till", [[key, both.path] for key in again])
            runs = [project.journal.wait_started(key) for key in again]
        assert first.pid in {run.pid for run in runs}
        project.client.wait_empty()
    account(project.journal, ["held", *keys, *again])
    assert [(record["state"], record["losses"]) for record in project.client.records(ids)] == [
        ("SUCCESS", 0)
    ] * len(ids)


@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_threads_beside_it_are_stuck_alike(make_project: MakeProject, place: str) -> None:
    """What they run stays theirs; what waits for them goes to another worker."""
    project = make_project(place, worker_prefetch_multiplier=MANY * 2, **PATIENT)
    with (
        Gate(project) as gate,
        project.working("-n", "one", "-P", "threads"),
        project.working("-n", "two", "-P", "threads"),
    ):
        keys = [f"short-{n}" for n in range(MANY)]
        calls = [
            ["work", ["beside", 0.5]],
            ["hold_till", ["held", gate.path]],
            *(["work", [key]] for key in keys),
        ]
        ids = project.client.ask("send_mixed", calls=[[f"jobs.tasks.{name}", args] for name, args in calls])
        project.journal.wait_started("held")
        project.journal.wait_done(keys)  # while the long one goes on
        gate.open()
        project.client.wait_empty()
    account(project.journal, ["beside", "held", *keys])
    assert {(record["state"], record["losses"]) for record in project.client.records(ids)} == {("SUCCESS", 0)}


def test_the_stuck_child_is_killed_in_the_midst(project: Project) -> None:
    with Gate(project) as gate, project.working("-n", "one") as worker:
        ids, keys = send_all(project, gate)  # it is killed, and runs again
        first = project.journal.wait_started("held")
        worker.wait_said("go back to their queues")
        killed = kill(first.pid)
        project.journal.wait_started("held", 2)
        gate.open()
        project.journal.wait_done([*keys, "held"])
        project.client.wait_empty()
    hit = account(project.journal, ["held", *keys], [killed], slots=1)
    assert [run.key for run in hit] == ["held"]
    losses = {record["losses"] for record in project.client.records(ids[1:])}
    assert losses == {0}
    assert project.client.records(ids[:1])[0]["losses"] == 1


def test_a_child_that_is_stopped_and_goes_on_runs_nothing_that_went_back(project: Project) -> None:
    """At any moment of its life, not only where a task keeps the lock."""
    keys = list(range(3000))
    with project.working("-n", "one") as worker:
        ids = project.client.send("work", [[key, 0.002] for key in keys])
        for part in (100, 1000, 2000):
            project.journal.wait_count(part)
            busy = next(run.pid for run in reversed(project.journal.runs()))
            os.kill(busy, signal.SIGSTOP)
            try:
                # There may be nothing to give back, or it has stopped in the midst of a transaction.
                over = time.monotonic() + 2.5
                until(lambda over=over: time.monotonic() > over, "the supervisor has had its time")
            finally:
                os.kill(busy, signal.SIGCONT)
        project.client.wait_empty()
        print(*worker.said("go back to their queues"), sep="\n")
    account(project.journal, keys)
    assert {record["losses"] for record in project.client.records(ids)} == {0}
