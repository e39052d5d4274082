"""The flight record: what a dead child leaves must tell what ran and what had run, wherever it was killed."""

import mmap
import os
import random
import time
from pathlib import Path

import pytest

from celeriac.broker import Action, Publication, Settlement
from celeriac.store import Record
from celeriac.worker.recorder import FREEZING, FROZEN, RUN, STOP, THAWED, Recorder


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


def test_what_started_is_told_while_the_child_lives(path: Path) -> None:
    recorder = Recorder.create(path, "c", "b", 3)
    assert recorder.begin(0, 11, 5.0) == THAWED
    recorder.begin(2, 13, 6.0)
    first = recorder.finish(0, Settlement(11))
    assert recorder.started() == {11, 13}
    recorder.settled(first, 1)
    assert recorder.started() == {13}
    recorder.freeze = FREEZING
    assert recorder.begin(1, 12, 7.0) == FREEZING
    assert recorder.started() == {
        12,
        13,
    }  # it has not, but the supervisor cannot know: it is left with the child
    recorder.clear(1)
    recorder.freeze = FROZEN
    assert (recorder.freeze, recorder.begin(1, 12, 7.0)) == (FROZEN, FROZEN)
    recorder.freeze = THAWED
    assert recorder.begin(1, 12, 7.0) == THAWED
    recorder.remove()


def test_the_fetcher_s_last_turn(path: Path) -> None:
    recorder = Recorder.create(path, "c", "b", 1)
    assert recorder.last_turn == 0.0
    recorder.turned(123.25)
    assert recorder.last_turn == 123.25
    recorder.turned(0.0)
    assert recorder.last_turn == 0.0
    recorder.remove()


TOTAL = 100_000
#: What has become of each delivery: where in the shared memory its byte is, by tag.
RAN, SETTLED, BACK = 0, TOTAL, 2 * TOTAL
#: Whether the supervisor has looked since the child last waited for that.
LOOKED = 3 * TOTAL


def be_a_child(recorder: Recorder, fates: mmap.mmap) -> None:
    """Start, end and settle one delivery after another, as a thread of a pool and its fetcher do."""
    unsettled: list[int] = []
    for tag in range(1, TOTAL):
        while recorder.begin(0, tag, 1.0):
            recorder.clear(0)
            while recorder.freeze != FROZEN:
                os.sched_yield()
            recorder.freeze = THAWED
            if fates[BACK + tag]:  # as the broker says
                break
        if not fates[BACK + tag]:
            fates[RAN + tag] = 1
            if (
                tag % (TOTAL // 20) == 0
            ):  # or it were done before a supervisor that is not scheduled looks at all
                while not fates[LOOKED]:
                    os.sched_yield()
                fates[LOOKED] = 0
            position = recorder.finish(0, Settlement(tag))
            unsettled.append(tag)
            if tag % 8 == 0:
                for done in unsettled:
                    fates[SETTLED + done] = 1
                recorder.settled(position, len(unsettled))
                unsettled.clear()
        recorder.clear(0)


def test_nothing_is_both_put_back_and_run_whenever_the_supervisor_looks(path: Path) -> None:
    recorder = Recorder.create(path, "c", "b", 1)
    fates = mmap.mmap(-1, 3 * TOTAL + 1)
    pid = os.fork()
    if pid == 0:
        try:
            be_a_child(recorder, fates)
        finally:
            os._exit(0)
    chance = random.Random(3)
    looks = back = unclear = 0
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if recorder.freeze != THAWED:
            continue
        time.sleep(chance.random() * 0.001)
        recorder.freeze = FREEZING
        os.sched_yield()  # where the supervisor asks the broker
        front = max((tag for tag, _ in recorder.running()), default=1)
        held = [
            tag
            for tag in range(max(front - 60, 1), min(front + 12, TOTAL))
            if not (fates[SETTLED + tag] or fates[BACK + tag])
        ]
        try:
            started = recorder.started()
        except ValueError:
            unclear += 1
        else:
            for tag in held:
                if tag not in started and not fates[SETTLED + tag]:
                    fates[BACK + tag] = 1
                    back += 1
        looks += 1
        recorder.freeze = FROZEN
        fates[LOOKED] = 1
    wrong = [tag for tag in range(1, TOTAL) if fates[RAN + tag] + fates[BACK + tag] != 1]
    assert not wrong, f"{len(wrong)} of {TOTAL}: {wrong[:10]}"
    assert looks > 15 and back > 15 and unclear < looks / 4, (looks, back, unclear)
    recorder.remove()
