"""Faults that do not stop: a kill every 200 ms, supervisors that leave children behind, a quarter of an hour of work.

Each under load, with an exact account at the end.
"""

import contextlib
import random
from pathlib import Path

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Kill, Project, account, is_running, kill, until, wait
from tests.size import LONG, size

PLACES = ["sqlite", "redis", "postgres"]


@pytest.fixture(params=size(PLACES[:2], PLACES))
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker, with a lease that is over before a test is.

    However often chance hits the same task, it is no dead letter.
    """
    return make_project(request.param, worker_lease=3.0, task_max_deliveries=1000, **PATIENT)


@pytest.mark.slow
@pytest.mark.scenario("kills")
@pytest.mark.timeout(600)
def test_a_random_child_is_killed_every_200_ms_under_load(project: Project) -> None:
    kills: list[Kill] = []
    with project.working("-c", "4") as worker:
        project.client.begin("work", range(1_000_000), 0.01, pause=0.004)
        for _ in range(size(20, 300)):
            wait(0.2)
            if children := worker.children():
                with contextlib.suppress(ProcessLookupError):  # it was one that was dead and is gone now
                    kills.append(kill(random.choice(children)))
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
    done = project.journal.done()
    unsure = [key for key in sent.maybe if key in done]  # only where the machine is very slow
    hit = account(project.journal, [*sent.accepted, *unsure], kills, slots=1)
    print(f"{len(hit)} of {len(sent.accepted)} ran again after {len(kills)} kills")
    assert not done & set(sent.refused)
    assert project.client.ask("dead_letters") == []


@pytest.mark.scenario("orphans")
def test_a_child_that_outlives_its_supervisor_ends_and_its_task_runs_elsewhere(project: Project) -> None:
    """Where the kernel does not end it: nobody renews its lease any more, and what it does is refused."""
    keys = [f"short-{n}" for n in range(50)]
    worker = project.start("-n", "gone", "-c", "1")
    gate = Gate(project)
    (task_id,) = project.client.send("outlive_till", [["orphan", gate.path]])
    first = project.journal.wait_started("orphan")
    killed = kill(worker.pid, children_too=True)
    wait(0.2)
    assert is_running(first.pid), "the child lives on"
    with project.working("-n", "heir", "-c", "2") as heir:
        project.client.send("work", [[key] for key in keys])
        second = project.journal.wait_started("orphan", 2)
        heir.wait_said("has not been heard of for 3 s")
        gate.open()
        until(lambda: not is_running(first.pid), "the child has noticed and has ended")
        project.client.wait_empty()
    project.journal.recoveries.append(second.start - killed.after)
    account(project.journal, keys)
    runs = project.journal.of("orphan")
    assert [run.pid for run in runs] == [first.pid, second.pid] and runs[1].end is not None
    project.journal.fates["orphan"] = "repeated: its supervisor was killed"
    (record,) = project.client.records([task_id])
    assert record["state"] == "SUCCESS"
    assert project.client.ask("dead_letters") == []


def memory(pid: int) -> int:
    """Return how much memory of a process is its own, in KiB."""
    status = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("Private"))


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="a quarter of an hour: make faults")
@pytest.mark.scenario("p")
@pytest.mark.timeout(1200)
def test_a_quarter_of_an_hour_at_sixty_a_second(project: Project) -> None:
    with project.working("-c", "2") as worker:
        processes = [worker.pid, *worker.children()]
        project.client.begin("work", range(1_000_000), 0.001, pause=1 / 60)
        wait(120)
        before = [memory(pid) for pid in processes]
        wait(780)
        grown = [memory(pid) - was for pid, was in zip(processes, before, strict=True)]
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        assert [worker.pid, *worker.children()] == processes
    print(f"{len(sent.accepted)} tasks; supervisor and children grew by {grown} KiB")
    assert account(project.journal, sent.accepted) == []
    assert sum(grown) <= 2048, grown
