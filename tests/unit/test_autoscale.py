"""How many processes a worker with --autoscale has."""

from pathlib import Path

import pytest

from celeriac.worker.autoscale import KEEPALIVE, Autoscaler
from celeriac.worker.recorder import Recorder


class Child:
    def __init__(self, folder: Path, pid: int) -> None:
        self.pid = pid
        self.recorder = Recorder.create(folder / f"{pid}.flight", str(pid), "b", 2)
        self.recorder.set_ready()

    def work(self) -> "Child":
        self.recorder.turned(1.0)
        self.recorder.begin(0, 7, 1.0)
        return self

    def rest(self) -> "Child":
        self.recorder.clear(0)
        self.recorder.turned(0.0)
        return self


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.delenv(KEEPALIVE, raising=False)
    return Clock()


def test_it_grows_while_all_are_busy(tmp_path: Path, clock: Clock) -> None:
    scaler = Autoscaler(1, 3, clock)
    children: list[Child] = []
    assert scaler.look(children, 1) is None
    children.append(Child(tmp_path, 1).work())
    assert scaler.look(children, 0) is None  # perhaps only just now
    assert scaler.next == clock.now + 0.5
    assert scaler.look(children, 0) is True
    assert scaler.look(children, 1) is None  # one is on its way
    children.append(Child(tmp_path, 2).rest())
    assert [scaler.look(children, 0) for _ in range(3)] == [None] * 3
    children[1].work()
    assert [scaler.look(children, 0) for _ in range(2)] == [None, True]
    children.append(Child(tmp_path, 3).work())
    assert [scaler.look(children, 0) for _ in range(3)] == [None] * 3


def test_it_shrinks_when_one_was_idle_for_long(tmp_path: Path, clock: Clock) -> None:
    scaler = Autoscaler(1, 3, clock)
    children = [Child(tmp_path, number).rest() for number in (1, 2, 3)]
    children[1].work()
    assert scaler.look(children, 0) is None
    clock.now += 20
    children[2].work()
    assert scaler.look(children, 0) is None
    children[2].rest()
    clock.now += 15
    assert scaler.look(children, 0) is children[0]
    assert scaler.look(children[1:], 0) is None
    clock.now += 31
    assert scaler.look(children[1:], 0) is children[2]
    children[1].rest()
    clock.now += 31
    assert [scaler.look(children[1:2], 0) for _ in range(2)] == [None, None]
    clock.now += 31
    assert scaler.look(children[1:2], 0) is None


def test_how_long_is_said_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEEPALIVE, "2.5")
    assert Autoscaler(1, 2).keepalive == 2.5
