"""Stored results in the form of Celery's key-value stores, read and written both ways."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, states
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import StoreError
from celeriac.message import meta
from celeriac.store import Record


def full_record() -> Record:
    return Record(
        "some-id",
        "FAILURE",
        b'{"exc_type":"ValueError","exc_message":["no"],"exc_module":"builtins"}',
        "Traceback ...\nValueError: no\n",
        "shop.pay",
        "(1, 'ä')",
        "{}",
        "shop",
        "celery@host",
        3,
        2,
        1000.25,
        1001.5,
        1002.75,
        "root",
        "parent",
        "group",
    )


@pytest.fixture(scope="module")
def celery() -> Iterator[Celery]:
    app = Celery("interop", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield app
    app.close()


class TestForm:
    def test_as_celery_writes_it(self) -> None:
        seen = json.loads(meta.encode(Record("some-id", "SUCCESS", b'{"a":1}', finished=0.5)))
        assert seen == {
            "status": "SUCCESS",
            "result": {"a": 1},
            "task_id": "some-id",
            "traceback": None,
            "children": [],
            "date_done": "1970-01-01T00:00:00.500000+00:00",
            "finished": 0.5,
        }

    def test_status_comes_first(self) -> None:
        """A script tells a SUCCESS by the first bytes."""
        for state in ("SUCCESS", "FAILURE", "STARTED", "PROGRESS"):
            assert meta.encode(Record("i", state, b'{"status":"SUCCESS"}')).startswith(
                b'{"status":"%s",' % state.encode()
            )

    def test_not_done_has_no_date(self) -> None:
        assert json.loads(meta.encode(Record("i", "RETRY", finished=5.0)))["date_done"] is None
        assert json.loads(meta.encode(Record("i", "SUCCESS")))["date_done"] is None

    def test_every_field_comes_back(self) -> None:
        assert meta.decode(meta.encode(full_record())) == full_record()
        assert meta.decode(meta.encode(Record("i", "STARTED"))) == Record("i", "STARTED")


class TestInterop:
    def test_celery_reads_ours(self, celery: Celery) -> None:
        backend = celery.backend
        backend.set(backend.get_key_for_task("some-id"), meta.encode(full_record()))
        result = celery.AsyncResult("some-id")
        assert result.state == states.FAILURE
        assert isinstance(result.result, ValueError)
        assert result.result.args == ("no",)
        assert result.traceback == full_record().traceback
        assert result.date_done.timestamp() == 1002.75
        assert (result.name, result.args, result.kwargs) == ("shop.pay", "(1, 'ä')", "{}")
        assert (result.worker, result.retries, result.queue) == ("celery@host", 3, "shop")

    def test_we_read_celerys(self, celery: Celery) -> None:
        backend = celery.backend
        backend.store_result("won", {"a": [1]}, states.SUCCESS)
        backend.store_result("lost", ZeroDivisionError("by zero"), states.FAILURE, traceback="tb")
        won, lost = (meta.decode(backend.get(backend.get_key_for_task(name))) for name in ("won", "lost"))
        assert (won.id, won.state, json.loads(won.result)) == ("won", "SUCCESS", {"a": [1]})
        assert won.finished is not None
        assert (lost.state, lost.traceback) == ("FAILURE", "tb")
        assert json.loads(lost.result) == {
            "exc_type": "ZeroDivisionError",
            "exc_message": ["by zero"],
            "exc_module": "builtins",
        }

    def test_we_read_celerys_extended_ones(self) -> None:
        data = {
            "status": "SUCCESS", "result": 1, "traceback": None, "children": [[["x", None], None]], "date_done": None,
            "group_id": "g", "parent_id": "p", "task_id": "i", "name": "shop.pay", "args": [1, "ä"],
            "kwargs": {"a": 1}, "worker": None, "retries": None, "queue": None,
        }  # fmt: skip
        seen = meta.decode(json.dumps(data).encode())
        assert (seen.args, seen.kwargs) == ("[1, 'ä']", "{'a': 1}")
        assert (seen.worker, seen.queue, seen.retries, seen.finished) == ("", "", 0, None)
        assert (seen.group_id, seen.parent_id) == ("g", "p")


RESULTS = [
    b"null",
    b"NaN",
    b"[Infinity,-Infinity]",
    b'"\\ud800"',
    b'{"a":NaN,"b":"\\udc80"}',
    b'"\\u0000"',
    b"1e400",
    b"1" * 4000,
    b"[" * 90 + b"]" * 90,
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: repr(result[:20]))
@pytest.mark.parametrize("text", [None, "", "\x00", "\u2028 ä 😀"])
def test_odd_results_are_kept_byte_by_byte(result: bytes, text: str | None) -> None:
    record = Record("i", "SUCCESS", result, text, finished=5.0)
    assert meta.decode(meta.encode(record)) == record


def test_a_lone_surrogate_in_a_text_loses_nothing_but_itself() -> None:
    """A traceback shows the name of a file that is not UTF-8."""
    record = Record("i", "FAILURE", b"NaN", "File 'caf\udce9.py'", args="('\ud800',)", worker="ok")
    seen = meta.decode(meta.encode(record))
    assert (seen.state, seen.result, seen.worker) == ("FAILURE", b"NaN", "ok")
    assert seen.traceback == "File 'caf\\udce9.py'"
    assert seen.args == "('\\ud800',)"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"NaN",
        b"[]",
        b"[NaN]",
        b"{}",
        b"\xff",
        b'{"status":"SUCCESS"}',
        b'{"task_id":"i"}',
        b'{"status":1,"task_id":"i"}',
        b'{"status":"SUCCESS","task_id":"i","result":NaN,"date_done":"soon"}',
        b'{"status":"SUCCESS","task_id":"i","retries":"x"}',
        b'{"status":"SUCCESS","task_id":"i","result":' + b"[" * 100_000,
        b'{"status":"S\xff","task_id":"i"}',
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_is_unreadable_is_a_store_error(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        meta.decode(data)


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(StoreError):
        meta.decode(data)


TEXT = st.text(st.characters(codec="utf-8"))
TIMES = st.none() | st.floats(0, 4e9)


@pytest.mark.slow
@given(
    st.builds(
        Record,
        id=TEXT,
        state=st.sampled_from(["SUCCESS", "FAILURE", "STARTED", "PROGRESS"]) | TEXT,
        result=st.sampled_from(RESULTS),
        traceback=st.none() | TEXT,
        name=TEXT,
        args=TEXT,
        kwargs=TEXT,
        queue=TEXT,
        worker=TEXT,
        retries=st.integers(0, 10**6),
        losses=st.integers(0, 10),
        enqueued=TIMES,
        started=TIMES,
        finished=TIMES,
        root_id=st.none() | TEXT,
        parent_id=st.none() | TEXT,
        group_id=st.none() | TEXT,
    )
)
def test_any_record_goes_there_and_back(record: Any) -> None:
    assert meta.decode(meta.encode(record)) == record
