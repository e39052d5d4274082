"""Leases with real workers: tasks longer than a lease run once, and a worker that was frozen for longer steps back."""

import os
import signal

import pytest

from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until

LEASE = 1.5


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project with a short lease, on each broker."""
    return make_project(request.param, worker_lease=LEASE)


@pytest.mark.scenario("m")
def test_tasks_longer_than_the_lease_run_once_beside_another_worker(project: Project) -> None:
    """One sleeps, one is in C and lets no other thread of its process run, one is a coroutine."""
    keys = ["sleeps", "in-C", "awaits"]
    elsewhere = str(project.folder / "elsewhere")
    with (
        project.working("-n", "one", "-c", "3") as one,
        project.working("-n", "two", worker_state_dir=elsewhere) as two,
    ):
        ids = project.client.send("work", [["sleeps", LEASE * 3]])
        ids += project.client.send("hold", [["in-C", LEASE * 3]])
        ids += project.client.send("sleep", [["awaits", LEASE * 3]])
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
        assert run.end is not None and run.end - run.start > LEASE * 2.9, run
    assert [(record["state"], record["losses"]) for record in project.client.records(ids)] == [
        ("SUCCESS", 0)
    ] * 3


def test_a_worker_frozen_for_longer_than_its_lease_loses_what_it_held_and_starts_anew(
    project: Project,
) -> None:
    elsewhere = str(project.folder / "elsewhere")
    with project.working("-n", "frozen", "-c", "1") as frozen:
        (task_id,) = project.client.send("work", [["long", 0.5]])
        first = project.journal.wait_started("long")
        frozen.signal_group(signal.SIGSTOP)
        with project.working("-n", "heir", "-c", "1", worker_state_dir=elsewhere) as heir:
            second = project.journal.wait_started("long", 2)
            assert heir.said("has not been heard of for 1.5 s")
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
