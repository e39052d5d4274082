"""The flight record: what a dead child leaves must tell what ran and what had run, wherever it was killed."""

import os
from pathlib import Path

import pytest

from celeriac.broker import Action, Publication, Settlement
from celeriac.store import Record
from celeriac.worker.recorder import RUN, STOP, Recorder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.flight"


def test_slots_and_outcomes_are_read_back(path: Path) -> None:
    recorder = Recorder.create(path, "worker/0-abc", "broker-id", 3)
    recorder.begin(0, 11, 5.0)
    recorder.begin(2, 13, 6.0)
    assert recorder.running() == [(11, 5.0), (13, 6.0)]
    settlement = Settlement(
        11,
        Action.DEAD,
        reason="why",
        publish=(Publication("id", "task", "queue", b"\x00\xff", 3, 1.5),),
        record=Record("id", "SUCCESS", b"[1]", name="näme"),
    )
    position = recorder.finish(0, settlement)
    assert position
    assert recorder.running() == [(13, 6.0)]
    assert recorder.outcomes() == [settlement]
    recorder.settled(position, 1)
    assert recorder.outcomes() == []
    assert recorder.done == 1
    recorder.remove()
    assert not path.exists()


def test_it_is_read_by_another_process_once_the_writer_is_dead(path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        recorder = Recorder.create(path, "worker/0-abc", "broker-id", 2)
        recorder.begin(0, 1, 0.0)
        recorder.finish(0, Settlement(1))
        recorder.begin(0, 2, 0.0)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    stale = Recorder.open_stale(path)
    assert stale is not None
    assert (stale.consumer, stale.broker) == ("worker/0-abc", "broker-id")
    assert [settlement.tag for settlement in stale.outcomes()] == [1]
    assert [tag for tag, _ in stale.running()] == [2]
    stale.remove()


def test_a_living_owner_keeps_others_away(path: Path) -> None:
    recorder = Recorder.create(path, "c", "b", 1)
    assert Recorder.open_stale(path) is None
    recorder.close()
    stale = Recorder.open_stale(path)
    assert stale is not None
    stale.close()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.flight"
    foreign.write_bytes(b"something else" * 100)
    empty = tmp_path / "empty.flight"
    empty.touch()
    assert Recorder.open_stale(foreign) is None
    assert Recorder.open_stale(empty) is None
    assert Recorder.open_stale(tmp_path / "missing.flight") is None


def test_the_ring_goes_round_without_losing_an_outcome(path: Path) -> None:
    recorder = Recorder.create(path, "c", "b", 1)
    pending: list[tuple[int, int]] = []
    for tag in range(1, 3000):
        size = (tag * 7919) % 9000
        settlement = Settlement(tag, Action.DEAD, reason="x" * size)
        recorder.begin(0, tag, 0.0)
        while not (position := recorder.finish(0, settlement)):
            assert [s.tag for s in recorder.outcomes()] == [t for t, _ in pending]
            half, pending = pending[: len(pending) // 2 + 1], pending[len(pending) // 2 + 1 :]
            recorder.settled(half[-1][1], len(half))
        pending.append((tag, position))
    assert [s.tag for s in recorder.outcomes()] == [t for t, _ in pending]
    recorder.remove()


def test_what_is_larger_than_the_ring_is_refused_and_the_slot_stays_taken(path: Path) -> None:
    recorder = Recorder.create(path, "c", "b", 1)
    recorder.begin(0, 5, 0.0)
    assert recorder.finish(0, Settlement(5, Action.DEAD, reason="x" * 600_000)) == 0
    assert recorder.running() == [(5, 0.0)]
    recorder.clear(0)
    assert recorder.running() == []
    recorder.remove()


def test_supervisor_and_child_share_the_control_word(path: Path) -> None:
    recorder = Recorder.create(path, "c", "b", 1)
    assert recorder.control == RUN
    pid = os.fork()
    if pid == 0:
        recorder.set_ready()
        while recorder.control != STOP:
            os.sched_yield()
        os._exit(0)
    while not recorder.ready:
        os.sched_yield()
    recorder.stop()
    assert os.waitpid(pid, 0)[1] == 0
    recorder.remove()
