"""One idle child waits at the broker for all: whatever becomes of that one, the next task is not left waiting.

Which child it is cannot be seen from outside, so each takes its turn at being hit.
"""

import os
import signal
import time

import pytest

from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, kill, until


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker."""
    return make_project(request.param)


def run_one(project: Project, key: str) -> float:
    """Send one task to an idle worker; return the seconds until it began."""
    begun = time.monotonic()
    project.client.send("work", [[key]])
    project.journal.wait_done([key])
    project.client.wait_empty()
    return project.journal.of(key)[0].start - begun


def test_an_idle_child_is_killed_and_another_looks_out(project: Project) -> None:
    keys = []
    with project.working("-c", "3") as worker:
        for child in worker.children():
            run_one(project, f"before-{child}")
            kill(child)
            until(lambda child=child: child not in worker.children(), "the child is buried")
            waited = run_one(project, f"after-{child}")
            keys += [f"before-{child}", f"after-{child}"]
            assert waited < 2.5, waited
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
                waited = run_one(project, f"during-{child}")
            finally:
                os.kill(child, signal.SIGCONT)
            keys += [f"before-{child}", f"during-{child}"]
            assert waited < 10, waited
    account(project.journal, keys)


def test_many_tasks_at_once_wake_every_idle_child(project: Project) -> None:
    keys = [f"key-{n}" for n in range(4)]
    with project.working("-c", "4"):
        project.client.send("work", [[key, 1.0] for key in keys])
        project.journal.wait_done(keys)
        runs = project.journal.runs()
    account(project.journal, keys)
    assert len({run.pid for run in runs}) == 4
    assert max(run.start for run in runs) - min(run.start for run in runs) < 0.9, "side by side"
