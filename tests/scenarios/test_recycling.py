"""Processes of a worker are replaced after so many tasks, or when they hold too much; no task notices."""

from collections import Counter

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account

PLACES = ["sqlite", "redis"]


@pytest.fixture(params=PLACES)
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker."""
    return make_project(request.param, **PATIENT)


def test_no_process_runs_more_than_its_share(project: Project) -> None:
    """Also when the fetcher has learned to claim hundreds at a time, and with a long task beside."""
    keys = ["long", *range(260)]
    with project.working("-c", "2", "--max-tasks-per-child", "20") as worker:
        project.client.send("work", [["long", 1.0]])
        project.client.send("work", [[key, 0.001] for key in range(260)])
        project.client.wait_empty()
        assert worker.said("has run 20 tasks; another takes its place")
        assert not worker.said("died")
    account(project.journal, keys)
    shares = Counter(run.pid for key in keys for run in project.journal.of(key))
    assert max(shares.values()) <= 20
    assert len(shares) >= 13


def test_coroutines_are_not_interrupted(project: Project) -> None:
    keys = list(range(60))
    with project.working("-c", "1", worker_max_tasks_per_child=15):
        project.client.send("sleep", [[key, 0.05 + key % 5 / 10] for key in keys])
        project.client.wait_empty()
    account(project.journal, keys)
    shares = Counter(run.pid for key in keys for run in project.journal.of(key))
    assert sorted(shares.values()) == [15, 15, 15, 15]


def test_a_process_that_holds_too_much_is_replaced_after_its_task(make_project: MakeProject) -> None:
    project = make_project("sqlite", **PATIENT)
    keys = [f"hoard-{n}" for n in range(4)]
    limit = 300 * 1024
    with project.working("-c", "1", worker_max_memory_per_child=limit) as worker:
        project.client.send("work", [[n] for n in range(20)])
        project.client.wait_empty()
        project.client.send("hoard", [[key, (limit - 20 * 1024) * 1024] for key in keys[:1]])
        project.client.send("hoard", [[key, limit * 1024] for key in keys[1:]])
        project.client.wait_empty()
        worker.wait_said("KiB, more than", times=4)
    account(project.journal, [*range(20), *keys])
    pids = {run.pid for n in range(20) for run in project.journal.of(n)}
    hoarders = [project.journal.of(key)[0].pid for key in keys]
    assert len(pids) == 1
    assert hoarders[0] in pids
    assert len(set(hoarders)) == 4
