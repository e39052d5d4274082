"""The worker as process 1 of a container, here of a PID namespace: stops, and children of others that become its own.

The kernel spares process 1 every signal that it has no handler for, gives it all orphans, and ends all others with it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, Worker, account, until, wait
from tests.size import size

NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def may_not() -> str:
    """Return why there can be no PID namespace here, "" if there can."""
    if shutil.which(NAMESPACE[0]) is None:
        return "unshare is not installed"
    done = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip()


@pytest.fixture(scope="module", autouse=True)
def _allowed() -> None:
    if reason := may_not():
        pytest.skip(reason)


@pytest.fixture(params=size(["redis"], ["sqlite", "redis", "postgres"]))
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project; at length on each broker."""
    return make_project(request.param, **PATIENT)


class Container:
    """A worker in a namespace of its own, where it is process 1, as seen from outside."""

    def __init__(self, project: Project, *words: str) -> None:
        self.worker: Worker = project.start(*words, within=NAMESPACE)
        (self.init,) = self.worker.children()

    def signal(self, number: int) -> None:
        """Send a signal to process 1, as `docker stop` does."""
        self.worker.told_to_end = True
        os.kill(self.init, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to all processes of the container."""
        inside = self.inside()
        self.signal(number)
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def inside(self) -> list[int]:
        """Return the processes that process 1 is the parent of, dead ones too."""
        found: list[int] = []
        for thread in Path(f"/proc/{self.init}/task").iterdir():
            with contextlib.suppress(OSError):  # it has ended
                found += map(int, (thread / "children").read_text().split())
        return found

    def zombies(self) -> list[int]:
        """Return those of them that are dead and that nobody has asked after."""
        return [pid for pid in self.inside() if state(pid) == "Z"]


def state(pid: int) -> str:
    """Return the letter of a process's state, "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.scenario("pid 1")
@pytest.mark.parametrize(
    ("place", "pool", "whole"),
    [
        ("redis", "prefork", False),
        ("sqlite", "prefork", True),
        ("redis", "threads", True),
        ("sqlite", "solo", False),
    ],
)
def test_sigterm_finishes_what_runs(make_project: MakeProject, place: str, pool: str, whole: bool) -> None:
    project = make_project(place, **PATIENT)
    keys = [f"long-{n}" for n in range(4)]
    with Gate(project) as gate:
        project.client.send("work_till", [[key, gate.path] for key in keys])
        container = Container(project, "-P", pool)
        until(project.journal.running, "one runs")
        running = [run.key for run in project.journal.running()]
        (container.signal_all if whole else container.signal)(signal.SIGTERM)
        container.worker.wait_said("SIGTERM: finishing what runs")
    assert container.worker.wait_end() == 0, container.worker.log[-3000:]
    assert set(running) <= project.journal.done() and not project.journal.running()
    assert project.client.ask("depths")["in_flight"] == 0
    with project.working("-P", pool):
        project.client.wait_empty()
    assert account(project.journal, keys) == []


@pytest.mark.scenario("pid 1")
def test_the_second_signal_interrupts(project: Project) -> None:
    with Gate(project) as gate:
        project.client.send("work_till", [["long", gate.path]])
        container = Container(project)
        project.journal.wait_started("long")
        container.signal(signal.SIGTERM)
        container.worker.wait_said("SIGTERM: finishing what runs")
        wait(1.2)
        container.signal(signal.SIGTERM)
        assert container.worker.wait_end() == 1, "it does not wait for the task"
    with project.working():
        project.client.wait_empty()
    first, second = project.journal.of("long")
    assert first.end is None and second.end is not None and second.losses == 0
    project.journal.fates["long"] = "repeated: interrupted"


@pytest.mark.scenario("pid 1")
def test_orphans_of_tasks_do_not_pile_up(project: Project) -> None:
    """What a task leaves behind becomes a child of process 1, which has to ask after it when it is dead."""
    container = Container(project)
    keys = [f"leaves-{n}" for n in range(4)]
    project.client.send("leave_behind", [[key, 0.3, 10] for key in keys])
    project.journal.wait_done(keys)
    until(lambda: len(container.inside()) <= 2, lambda: f"they are gone: {len(container.zombies())} zombies")
    project.client.send("work", [["after"]])
    project.client.wait_empty()
    container.signal(signal.SIGTERM)
    assert container.worker.wait_end() == 0, container.worker.log[-3000:]
    assert account(project.journal, [*keys, "after"]) == []


@pytest.mark.scenario("pid 1")
def test_a_container_that_is_killed_is_settled_by_the_next(project: Project) -> None:
    keys = list(range(300))
    project.client.send("work", [[key, 0.004] for key in keys])
    container = Container(project)
    project.journal.wait_count(60)
    killed = container.worker.kill_tree()
    with project.working():
        project.client.wait_empty()
    hit = account(project.journal, keys, [killed])
    assert len(hit) <= 2
