"""Checks of waiting for the end of a task."""

import threading
import time
from concurrent.futures import Future

import pytest

from celeriac import states
from celeriac.store import Record, ResultStore
from celeriac.testing.store_exam.equipment import LONG, SOON, Fixtures, MakeStore, record, start


class WaitChecks(Fixtures):
    """Waiting for the end of a task."""

    @pytest.mark.parametrize("state", sorted(states.READY_STATES))
    def test_what_is_there_is_returned_at_once(self, store: ResultStore, state: str) -> None:
        meant = record(state)
        store.store([meant])
        before = time.monotonic()
        assert store.wait(meant.id, LONG) == meant
        assert store.wait(meant.id, None) == meant
        assert store.wait(meant.id, 0) == meant
        assert time.monotonic() - before < SOON

    @pytest.mark.parametrize("timeout", [0, 0.2])
    def test_the_timeout(self, store: ResultStore, timeout: float) -> None:
        started = record(states.STARTED)
        store.store([started])
        before = time.monotonic()
        assert store.wait(started.id, timeout) is None
        assert store.wait("unknown", timeout) is None
        assert timeout * 2 - 0.02 <= time.monotonic() - before < SOON

    @pytest.mark.parametrize("state", sorted(states.READY_STATES))
    @pytest.mark.parametrize("timeout", [LONG, None])
    def test_wakes_for_a_record_from_elsewhere(
        self, store: ResultStore, make_store: MakeStore, state: str, timeout: float | None
    ) -> None:
        meant = record(state, b'"result"')
        waiter = self._waiter(make_store, meant.id, timeout)
        store.store([record(), meant])
        assert waiter.result(SOON) == meant

    def test_several_wait_for_one(self, store: ResultStore, make_store: MakeStore) -> None:
        meant = record()
        waiters = [self._waiter(make_store, meant.id, LONG) for _ in range(3)]
        store.store([meant])
        assert [waiter.result(SOON) for waiter in waiters] == [meant] * 3

    @pytest.mark.parametrize("state", [states.STARTED, states.RETRY, "PROGRESS"])
    def test_only_the_end_counts(self, store: ResultStore, make_store: MakeStore, state: str) -> None:
        meant = record()
        waiter = self._waiter(make_store, meant.id, LONG)
        store.store([record(state, id=meant.id)])
        threading.Event().wait(0.1)
        assert not waiter.done()
        store.store([meant])
        assert waiter.result(SOON) == meant

    def test_never_misses_one_of_many(self, store: ResultStore, make_store: MakeStore) -> None:
        """Stores at every possible moment of a wait's beginning; a miss would cost its whole timeout."""
        meant = [record(result=b"%d" % n) for n in range(40)]
        turns = [threading.Event() for _ in meant]

        def wait(other: ResultStore) -> list[Record | None]:
            seen = []
            for turn, each in zip(turns, meant, strict=True):
                turn.set()
                seen.append(other.wait(each.id, SOON))
            return seen

        waiter = start(make_store, wait)
        pause = threading.Event()
        for number, (turn, each) in enumerate(zip(turns, meant, strict=True)):
            assert turn.wait(LONG)
            pause.wait(0.0005 * (number % 8))
            store.store([each])
        before = time.monotonic()
        assert waiter.result(LONG) == meant
        assert time.monotonic() - before < SOON

    def test_any_of_many_that_are_there(self, store: ResultStore) -> None:
        first, second, running = record(), record(states.FAILURE), record(states.STARTED)
        store.store([first, second, running])
        ids = [first.id, "unknown", running.id, second.id]
        for timeout in (LONG, None, 0):
            assert store.wait_any(ids, timeout) == {first.id: first, second.id: second}

    @pytest.mark.parametrize("timeout", [0, 0.2])
    def test_none_of_many_in_time(self, store: ResultStore, timeout: float) -> None:
        running = record(states.STARTED)
        store.store([running, record()])
        before = time.monotonic()
        assert store.wait_any([running.id, "unknown"], timeout) == {}
        assert timeout - 0.01 <= time.monotonic() - before < SOON
        assert store.wait_any([], None) == {}

    def test_wakes_for_any_of_many(self, store: ResultStore, make_store: MakeStore) -> None:
        """A hundred records, one after the other: none is missed, and none is returned twice."""
        meant = {each.id: each for each in (record(result=b"%d" % n) for n in range(100))}
        turn = threading.Event()

        def gather(other: ResultStore) -> dict[str, Record]:
            seen: dict[str, Record] = {}
            turn.set()
            while len(seen) < len(meant):
                some = other.wait_any([task_id for task_id in meant if task_id not in seen], SOON)
                assert some and seen.keys().isdisjoint(some)
                seen |= some
            return seen

        gatherer = start(make_store, gather)
        assert turn.wait(LONG)
        pause = threading.Event()
        for number, each in enumerate(meant.values()):
            pause.wait(0.0005 * (number % 8))
            store.store([record(states.STARTED, id=each.id), each] if number % 2 else [each])
        assert gatherer.result(LONG) == meant

    @staticmethod
    def _waiter(make_store: MakeStore, task_id: str, timeout: float | None) -> "Future[Record | None]":
        entered = threading.Event()

        def wait(other: ResultStore) -> Record | None:
            entered.set()
            return other.wait(task_id, timeout)

        future = start(make_store, wait)
        assert entered.wait(SOON)
        threading.Event().wait(
            0.1
        )  # to be asleep by then; if it is not yet, the check is milder, never wrong
        return future
