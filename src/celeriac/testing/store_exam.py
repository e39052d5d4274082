"""The exam of result stores: every promise of `celeriac.store.ResultStore`, as pytest checks over any keeper.

Inherit and say how the keeper is opened:

    class TestMyStore(StoreExam):
        @pytest.fixture
        def make_store(self, my_server):
            return lambda **settings: MyStore(my_server.url, Settings(**settings))

Each check begins with an empty store. `make_store()` opens one more, independent instance for the same records, as
another process would; it is also called in threads, and each instance is closed in the thread that opened it.
Every wait has a deadline.
"""

import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest

from celeriac import states
from celeriac.store import Record, ResultStore

T = TypeVar("T")
MakeStore = Callable[..., ResultStore]

#: What has to happen at once, happens within this time on a busy machine too.
SOON = 5.0
#: Longer than any check takes.
LONG = 15.0

OTHERS = (states.STARTED, states.RETRY, states.FAILURE, states.REVOKED, "PROGRESS")
TIMES = ("enqueued", "started", "finished")


def record(state: str = states.SUCCESS, result: bytes = b"null", **fields: Any) -> Record:
    """Return a record with an id of its own."""
    fields.setdefault("id", str(uuid.uuid4()))
    return Record(state=state, result=result, **fields)


def full_record() -> Record:
    """Return a record with something in every field."""
    now = time.time()
    return Record(
        id=str(uuid.uuid4()),
        state=states.FAILURE,
        result='{"exc_type":"ValueError","exc_message":["ä → 😀"],"exc_module":"builtins"}'.encode(),
        traceback='Traceback (most recent call last):\n  File "tasks.py"\nValueError: ä → 😀\n',
        name="shop.tasks.pay",
        args="(1, 'it''s', \"zwölf\")",
        kwargs="{'to': 'a@example.com'}",
        queue="ünï → q",
        worker="celery@host",
        retries=3,
        losses=2,
        enqueued=now - 10.25,
        started=now - 5.125,
        finished=now - 0.5,
        root_id=str(uuid.uuid4()),
        parent_id=str(uuid.uuid4()),
        group_id=str(uuid.uuid4()),
    )


def assert_same(seen: Record, meant: Record) -> None:
    """Compare two records; times may be rounded to the millisecond."""
    for name in TIMES:
        assert getattr(seen, name) == pytest.approx(getattr(meant, name), abs=0.001), name
    blank = dict.fromkeys(TIMES)
    assert msgspec.structs.replace(seen, **blank) == msgspec.structs.replace(meant, **blank)


def start(make_store: MakeStore, work: Callable[[ResultStore], T]) -> "Future[T]":
    """Run `work` in a thread with a store of its own, as another process would."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            store = make_store()
            try:
                result = work(store)
            finally:
                store.close()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future


def elsewhere(make_store: MakeStore, work: Callable[[ResultStore], T]) -> T:
    """`start`, and wait for the result."""
    return start(make_store, work).result(LONG)


class _Fixtures:
    #: Whether other processes can reach the records.
    shared: ClassVar[bool] = True

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a function that opens the keeper; keyword arguments are settings. To be overridden."""
        raise NotImplementedError("an exam needs a fixture `make_store`")

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Iterator[ResultStore]:
        store = make_store()
        yield store
        store.close()


class KeepChecks(_Fixtures):
    """What is stored is there, as it was."""

    def test_every_field_survives(self, store: ResultStore, make_store: MakeStore) -> None:
        meant = full_record()
        store.store([meant])
        fetched = elsewhere(make_store, lambda other: other.fetch([meant.id]))
        assert set(fetched) == {meant.id}
        assert_same(fetched[meant.id], meant)

    @pytest.mark.parametrize(
        "state", sorted({*states.UNREADY_STATES, *states.READY_STATES, states.IGNORED, "PROGRESS"})
    )
    def test_every_state_with_nothing_else(self, store: ResultStore, state: str) -> None:
        meant = record(state)
        store.store([meant])
        assert store.fetch([meant.id]) == {meant.id: meant}

    @pytest.mark.parametrize(
        "result",
        [
            b"null",
            b"0",
            b'""',
            b'"\\u0000"',
            b'"\\ud800"',
            b"NaN",
            b"[Infinity,-Infinity]",
            b"123456789012345678901234567890",
            '"ä → 😀"'.encode(),
            b'{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000000"}}',
            b'{"b":1,"a":[{"deep":[[[[]]]]}]}',
            b"[" * 90 + b"]" * 90,
        ],
        ids=lambda result: result.decode()[:20],
    )
    def test_results_are_kept_byte_by_byte(self, store: ResultStore, result: bytes) -> None:
        meant = record(result=result)
        store.store([meant])
        assert store.fetch([meant.id])[meant.id].result == result

    def test_big_values(self, store: ResultStore) -> None:
        meant = record(states.FAILURE, b'"%s"' % (b"x" * 2_000_000), traceback="long line\n" * 20_000)
        store.store([meant])
        assert store.fetch([meant.id]) == {meant.id: meant}

    @pytest.mark.parametrize(
        "text", ["nul \x00 nul", "lone \udc80 surrogate", "\x1b[31mred", "line\r\nline\u2028"]
    )
    def test_odd_text_harms_nothing(self, store: ResultStore, text: str) -> None:
        """A store may write such text in another way; state and result are safe from it."""
        meant = record(result=b"42", traceback=text, args=text, kwargs=text, name=text, worker=text)
        beside = record(result=b"43")
        store.store([meant, beside])
        seen = store.fetch([meant.id, beside.id])
        assert {task_id: (kept.state, kept.result) for task_id, kept in seen.items()} == {
            meant.id: (states.SUCCESS, b"42"),
            beside.id: (states.SUCCESS, b"43"),
        }

    @pytest.mark.parametrize(
        "task_id", ["plain", "a b:c/d%e", "ünï → 😀", 'it\'s "q"', "back\\slash", "x" * 155]
    )
    def test_ids_of_all_kinds(self, store: ResultStore, task_id: str) -> None:
        store.store([record(id=task_id, result=b"1"), record(id=task_id.upper() + "!", result=b"2")])
        assert store.fetch([task_id])[task_id].result == b"1"

    def test_unknown_ids_are_left_out(self, store: ResultStore) -> None:
        meant = record()
        store.store([meant])
        assert store.fetch(["unknown", meant.id, str(uuid.uuid4())]) == {meant.id: meant}
        assert store.fetch(["unknown"]) == {}
        assert store.fetch([]) == {}

    def test_one_id_asked_for_twice(self, store: ResultStore) -> None:
        meant = record()
        store.store([meant])
        assert store.fetch([meant.id, meant.id]) == {meant.id: meant}

    def test_nothing_to_store(self, store: ResultStore) -> None:
        store.store([])

    def test_many_in_one_batch(self, store: ResultStore) -> None:
        meant = {r.id: r for r in (record(result=b"%d" % n) for n in range(2500))}
        store.store(list(meant.values()))
        assert store.fetch(list(meant)) == meant

    def test_from_many_threads(self, make_store: MakeStore) -> None:
        batches = [[record(result=b"%d" % n) for n in range(50)] for _ in range(4)]

        def keep(other: ResultStore, batch: list[Record]) -> int:
            for each in batch:
                other.store([each])
            return len(other.fetch([each.id for each in batch]))

        futures = [start(make_store, lambda other, batch=batch: keep(other, batch)) for batch in batches]  # type: ignore[misc]
        assert [future.result(LONG) for future in futures] == [50] * 4
        meant = {each.id: each for batch in batches for each in batch}
        assert elsewhere(make_store, lambda other: other.fetch(list(meant))) == meant

    def test_close_twice(self, make_store: MakeStore) -> None:
        store = make_store()
        store.store([record()])
        store.close()
        store.close()


class OverwriteChecks(_Fixtures):
    """Which record of two is kept."""

    @pytest.mark.parametrize("other", OTHERS)
    def test_a_success_is_never_overwritten(
        self, store: ResultStore, make_store: MakeStore, other: str
    ) -> None:
        success = record(result=b'{"status": "FAILURE"}')
        store.store([success])
        late = record(other, id=success.id, traceback="late")
        store.store([late])
        elsewhere(make_store, lambda another: another.store([record(), late]))
        assert store.fetch([success.id]) == {success.id: success}

    @pytest.mark.parametrize("first", OTHERS)
    @pytest.mark.parametrize("second", [*OTHERS, states.SUCCESS])
    def test_all_others_are(self, store: ResultStore, first: str, second: str) -> None:
        # What the first one says about itself must not be mistaken for its state.
        old = record(
            first, b'{"status":"SUCCESS"}', traceback="SUCCESS", name="SUCCESS", args='{"status":"SUCCESS"}'
        )
        new = record(second, b'"new"', id=old.id)
        store.store([old])
        store.store([new])
        assert store.fetch([old.id]) == {old.id: new}

    @pytest.mark.parametrize(
        ("in_order", "kept"),
        [
            ((states.STARTED, states.FAILURE), 1),
            ((states.FAILURE, states.STARTED), 1),
            ((states.STARTED, states.RETRY, states.FAILURE), 2),
            ((states.FAILURE, states.SUCCESS), 1),
            ((states.SUCCESS, states.FAILURE), 0),
            ((states.STARTED, states.SUCCESS, states.STARTED), 1),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
    )
    def test_of_two_in_a_batch_the_later(
        self, store: ResultStore, in_order: tuple[str, ...], kept: int
    ) -> None:
        task_id = str(uuid.uuid4())
        batch = [record(state, b"%d" % n, id=task_id) for n, state in enumerate(in_order)]
        beside = record()
        store.store([*batch, beside])
        assert store.fetch([task_id, beside.id]) == {task_id: batch[kept], beside.id: beside}

    def test_a_batch_on_top_of_a_success(self, store: ResultStore) -> None:
        success, failed, beside = record(), record(states.FAILURE), record()
        store.store([success, failed])
        again = record(id=failed.id, result=b'"better"')
        store.store([record(states.STARTED, id=success.id), again, beside])
        assert store.fetch([success.id, failed.id, beside.id]) == {
            success.id: success,
            failed.id: again,
            beside.id: beside,
        }


class WaitChecks(_Fixtures):
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


class ForgetChecks(_Fixtures):
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

    def test_for_ever(self, make_store: MakeStore) -> None:
        old = record(finished=time.time() - 10 * 365 * 86400)

        def check(store: ResultStore) -> None:
            store.store([old])
            assert store.expire(100) == 0
            assert set(store.fetch([old.id])) == {old.id}

        elsewhere(lambda: make_store(result_expires=None), check)


class ProcessChecks(_Fixtures):
    """What a fork must not break."""

    def test_a_fork_makes_its_own_connections(self, store: ResultStore) -> None:
        if not self.shared:
            pytest.skip("its records do not leave this process")
        before, meant = record(), record(result=b'"from the child"')
        store.store([before])
        with warnings.catch_warnings():
            # Other checks' threads may still be ending; the child touches nothing of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            code = 1
            try:
                seen = store.fetch([before.id])
                store.store([meant])
                store.close()
                code = 0 if seen == {before.id: before} else 2
            finally:
                os._exit(code)
        assert store.wait(meant.id, SOON) == meant
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0


class StoreExam(KeepChecks, OverwriteChecks, WaitChecks, ForgetChecks, ProcessChecks):
    """All checks; a keeper that passes keeps every promise of the contract that can be seen from outside."""
