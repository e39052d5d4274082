"""Checks of what is kept: as it was, which of two, and through a fork."""

import os
import uuid
import warnings

import pytest

from celeriac import states
from celeriac.store import Record, ResultStore
from celeriac.testing.store_exam.equipment import (
    LONG,
    SOON,
    Fixtures,
    MakeStore,
    assert_same,
    elsewhere,
    full_record,
    record,
    start,
)

OTHERS = (states.STARTED, states.RETRY, states.FAILURE, states.REVOKED, "PROGRESS")


class KeepChecks(Fixtures):
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
        meant = {r.id: r for r in (record(result=b"%d" % n) for n in range(self.many))}
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


class OverwriteChecks(Fixtures):
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


class ProcessChecks(Fixtures):
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
