"""The signals about a worker: Celery's worker and ours tell the same receivers the same, in the same order."""

import json
import signal
from typing import Any

import pytest

from tests.interop.test_celery import PATIENCE, SIDES, Fleet, fleet, wait_for

__all__ = ["fleet"]
pytestmark = pytest.mark.redis


def told_of(
    fleet: Fleet, side: str, pool: str, number: int = signal.SIGTERM, status: int = 0
) -> list[list[Any]]:
    """Run a worker with one process or thread until it is ready, stop it by a signal, and return what it told."""
    path = fleet.folder / f"told-{side}"
    path.touch()
    fleet.environment["TOLD"] = str(path)

    def lines() -> list[list[Any]]:
        text = path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    with fleet.worker(side, "-P", pool, "-c", "1", status=status) as process:
        wait_for(lambda: any(line[0] == "worker_ready" for line in lines()), path.read_text)
        process.send_signal(number)
        process.wait(PATIENCE)
    return [[each.replace(f"{side}@here", "ME") if isinstance(each, str) else each for each in line[:3]]
            + [json.loads(json.dumps(line[3]).replace(f"{side}@here", "ME"))] for line in lines()]  # fmt: skip


#: What a worker with one process tells; a child and its parent go on side by side once it is there.
BEFORE = [
    ["import_modules", "parent", "the app", {}],
    ["celeryd_init", "parent", "ME", {"instance": "worker ME", "conf": "the app's settings", "options": "options"}],
    ["worker_init", "parent", "the app's", {}],
    ["celeryd_after_setup", "parent", "ME", {"instance": "worker ME", "conf": "the app's settings"}],
]  # fmt: skip
CREATE = ["worker_before_create_process", "parent", "the app's", {}]
READY = ["worker_ready", "parent", "the app's", {}]
STOPPING = ["worker_shutting_down", "parent", "ME", {"sig": "SIGTERM", "how": "Warm", "exitcode": 0}]
CHILD_ENDS = ["worker_process_shutdown", "child", "ME", {"pid": "its own", "exitcode": 0}]
END = ["worker_shutdown", "parent", "the app's", {}]


@pytest.mark.parametrize("side", SIDES)
def test_prefork(fleet: Fleet, side: str) -> None:
    told = told_of(fleet, side, "prefork")
    assert [line for line in told if line[1] == "parent"] == [*BEFORE, CREATE, READY, STOPPING, END]
    child = [line for line in told if line[1] == "child"]
    assert child == [["worker_process_init", "child", "ME", {}], CHILD_ENDS]
    assert told.index(CREATE) < told.index(child[0])


@pytest.mark.parametrize("side", SIDES)
def test_solo(fleet: Fleet, side: str) -> None:
    """The one process is made ready before the worker is; Celery does that even before the set-up's end."""
    init = ["worker_process_init", "parent", "ME", {}]
    told = told_of(fleet, side, "solo")
    assert told.index(init) < told.index(READY)
    told.remove(init)
    assert told == [*BEFORE, READY, STOPPING, END]


@pytest.mark.parametrize("side", SIDES)
def test_threads(fleet: Fleet, side: str) -> None:
    """Celery's threads are in the parent; ours in a process of their own, which is told like any other."""
    told = told_of(fleet, side, "threads")
    parent = [line for line in told if line[1] == "parent"]
    if side == "celery":
        assert told == parent == [*BEFORE, READY, STOPPING, END]
    else:
        assert parent == [*BEFORE, CREATE, READY, STOPPING, END]
        assert [line for line in told if line[1] == "child"] == [
            ["worker_process_init", "child", "ME", {}],
            CHILD_ENDS,
        ]


@pytest.mark.parametrize("side", SIDES)
def test_by_force(fleet: Fleet, side: str) -> None:
    told = told_of(fleet, side, "prefork", signal.SIGQUIT, {"celery": 0, "celeriac": 1}[side])
    arguments = {"sig": "SIGQUIT", "how": "Cold", "exitcode": 1}
    assert ["worker_shutting_down", "parent", "ME", arguments] in told
