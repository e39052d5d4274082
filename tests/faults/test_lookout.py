"""One idle child waits at the broker for all: whatever becomes of that one, the next task is not left waiting.

Which child it is cannot be seen from outside, so each takes its turn at being hit.
"""

import os
import signal

import pytest

from tests.faults.load import ENDLESS, PATIENT, Gate, run_soon
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, kill, until


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker, where nothing is helped along by the end of a lease."""
    return make_project(request.param, worker_lease=ENDLESS, **PATIENT)


def run_one(project: Project, key: str) -> None:
    """Send one task to an idle worker, and wait until it is done."""
    project.client.send("work", [[key]])
    project.journal.wait_done([key])
    project.client.wait_empty()


def test_an_idle_child_is_killed_and_another_looks_out(project: Project) -> None:
    keys = []
    with project.working("-c", "3") as worker:
        for child in worker.children():
            run_one(project, f"before-{child}")
            kill(child)
            until(lambda child=child: child not in worker.children(), "the child is buried")
            keys += [f"before-{child}", *run_soon(project, f"after-{child}")]
        until(lambda: len(worker.children()) == 3, "all have successors")
    account(project.journal, keys)


def test_an_idle_child_is_frozen_and_the_others_look_for_themselves(project: Project) -> None:
    keys = []
    with project.working("-c", "2") as worker:
        for child in worker.children():
            run_one(project, f"before-{child}")
            os.kill(child, signal.SIGSTOP)
            try:
                # Should its last claim have been on the way, what it got is given back for it.
                run_one(project, f"during-{child}")
            finally:
                os.kill(child, signal.SIGCONT)
            keys += [f"before-{child}", f"during-{child}"]
    account(project.journal, keys)


def test_many_tasks_at_once_wake_every_idle_child(project: Project) -> None:
    keys: list[str] = []

    def side_by_side() -> bool:
        """Whether all begin at once. Woken they do, be it not the first time; else each looks for itself every 5 s."""
        new = [f"key-{len(keys) + n}" for n in range(4)]
        keys.extend(new)
        with Gate(project) as gate:
            project.client.send("work_till", [[key, gate.path] for key in new])
            runs = [project.journal.wait_started(key) for key in new]
        project.client.wait_empty()
        assert len({run.pid for run in runs}) == 4
        return max(run.start for run in runs) - min(run.start for run in runs) < 0.6

    with project.working("-c", "4"):
        until(side_by_side, "all are woken")
    account(project.journal, keys)
