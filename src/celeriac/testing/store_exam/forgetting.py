"""Checks of deleting, by wish and by age."""

import threading
import time

from celeriac import states
from celeriac.store import ResultStore
from celeriac.testing.store_exam.equipment import SOON, Fixtures, MakeStore, elsewhere, record


class ForgetChecks(Fixtures):
    """Deleting, by wish and by age."""

    def test_forget(self, store: ResultStore, make_store: MakeStore) -> None:
        first, second, kept = record(), record(states.FAILURE), record()
        store.store([first, second, kept])
        elsewhere(make_store, lambda other: other.forget([first.id, second.id, "unknown"]))
        assert store.fetch([first.id, second.id, kept.id]) == {kept.id: kept}
        assert store.wait(first.id, 0) is None

    def test_nothing_to_forget(self, store: ResultStore) -> None:
        store.forget([])
        store.forget(["unknown"])

    def test_what_was_forgotten_may_begin_again(self, store: ResultStore) -> None:
        success = record()
        store.store([success])
        store.forget([success.id])
        again = record(states.STARTED, id=success.id)
        store.store([again])
        assert store.fetch([success.id]) == {success.id: again}

    def test_old_records_go(self, make_store: MakeStore) -> None:
        old = [record(result=b"%d" % n, finished=time.time() - 0.5) for n in range(5)]

        def check(store: ResultStore) -> None:
            store.store(old)
            deadline = time.monotonic() + SOON
            pause = threading.Event()
            while store.fetch([each.id for each in old]):
                assert time.monotonic() < deadline, "they were to be kept for a second"
                pause.wait(0.05)
                assert 0 <= store.expire(2) <= 2

        elsewhere(lambda: make_store(result_expires=1.0), check)

    def test_young_records_stay(self, store: ResultStore) -> None:
        young = [record(state, finished=time.time()) for state in (states.SUCCESS, states.FAILURE)]
        running = record(states.STARTED, started=time.time())
        store.store([*young, running])
        assert store.expire(100) == 0
        assert len(store.fetch([*(each.id for each in young), running.id])) == 3

    def test_how_many_there_are(self, store: ResultStore) -> None:
        first, second = record(states.STARTED), record()
        before = store.count()
        store.store([first, second])
        store.store([record(id=first.id)])
        after = store.count()
        assert (before is None) == (after is None), "a store can count, or it cannot"
        assert before is None or after == before + 2
        store.forget([first.id, second.id])
        assert store.count() == before

    def test_for_ever(self, make_store: MakeStore) -> None:
        old = record(finished=time.time() - 10 * 365 * 86400)

        def check(store: ResultStore) -> None:
            store.store([old])
            assert store.expire(100) == 0
            assert set(store.fetch([old.id])) == {old.id}

        elsewhere(lambda: make_store(result_expires=None), check)
