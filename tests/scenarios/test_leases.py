"""Leases with real workers: tasks longer than a lease run once, and a worker that was frozen for longer steps back."""

import os
import signal

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until

#: Of the workers beside each other: one that is halted for seconds renews in time all the same.
LEASE = 5.0
#: How long the long tasks are: until nobody can have missed that a lease was not renewed.
LONG = LEASE * 1.4
#: Of those of which one is frozen, to lose it soon.
SHORT = 1.5


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker."""
    return make_project(request.param, **PATIENT)


@pytest.mark.scenario("m")
def test_tasks_longer_than_the_lease_run_once_beside_another_worker(project: Project) -> None:
    """One sleeps, one is in C and lets no other thread of its process run, one is a coroutine."""
    keys = ["sleeps", "in-C", "awaits"]
    elsewhere = str(project.folder / "elsewhere")
    with (
        project.working("-n", "one", "-c", "3", worker_lease=LEASE) as one,
        project.working("-n", "two", worker_lease=LEASE, worker_state_dir=elsewhere) as two,
    ):
        ids = project.client.send("work", [["sleeps", LONG]])
        ids += project.client.send("hold", [["in-C", LONG]])
        ids += project.client.send("sleep", [["awaits", LONG]])
        for key in keys:
            project.journal.wait_started(key)
        # Both have other things to do meanwhile, so nobody is idle when a lease would run out.
        project.client.begin("work", range(10_000), 0.005, pause=0.05)
        project.journal.wait_done(keys)
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        for worker in (one, two):
            assert not worker.said("has not been heard of")
    account(project.journal, [*keys, *sent.accepted])
    for key in keys:
        (run,) = project.journal.of(key)
        assert run.end is not None and run.end - run.start > LONG - 0.1, run
    assert [(record["state"], record["losses"]) for record in project.client.records(ids)] == [
        ("SUCCESS", 0)
    ] * 3


def test_a_worker_frozen_for_longer_than_its_lease_loses_what_it_held_and_starts_anew(
    project: Project,
) -> None:
    elsewhere = str(project.folder / "elsewhere")
    with Gate(project) as gate, project.working("-n", "frozen", "-c", "1", worker_lease=SHORT) as frozen:
        (task_id,) = project.client.send("work_till", [["long", gate.path]])
        first = project.journal.wait_started("long")
        frozen.signal_group(signal.SIGSTOP)
        with project.working("-n", "heir", "-c", "1", worker_lease=SHORT, worker_state_dir=elsewhere) as heir:
            second = project.journal.wait_started("long", 2)
            heir.wait_said("has not been heard of for 1.5 s")
            gate.open()
            until(lambda: project.client.ask("records", ids=[task_id])[0], "the heir's result is there")
            frozen.signal_group(signal.SIGCONT)
            until(lambda: project.journal.of("long")[0].end, "the frozen one's run comes to its end too")
            frozen.wait_said("taken over")
        # What it did meanwhile changes nothing, and it goes on under a new name.
        assert first.pid != second.pid
        (record,) = project.client.records([task_id])
        assert record["state"] == "SUCCESS"
        project.client.send("work", [["after"]])
        project.client.wait_empty()
        (after,) = project.journal.of("after")
        assert after.pid in frozen.children()
        assert os.getpgid(after.pid) == frozen.pid
    assert len(project.journal.of("long")) == 2
    assert project.client.ask("dead_letters") == []
