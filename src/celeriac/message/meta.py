"""A stored result as Celery's key-value stores keep it, both ways.

The JSON under `celery-task-meta-<id>` (Celery 5.7, captured), used by the Redis and cache stores. Fields that Celery
does not know are added behind its own. `status` comes first, so that a script can tell a SUCCESS by the
first bytes.
"""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from celeriac.errors import StoreError
from celeriac.states import READY_STATES
from celeriac.store import Record


class _Meta(Struct, omit_defaults=True):
    status: str
    result: Raw
    task_id: str
    traceback: str | None
    children: list[Any]
    date_done: str | None
    name: str = ""
    args: str = ""
    kwargs: str = ""
    worker: str = ""
    retries: int = 0
    queue: str = ""
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    losses: int = 0
    enqueued: float | None = None
    started: float | None = None
    finished: float | None = None
    details: Any = None


class _Received(Struct):
    """What we read of others' JSON: types are checked where we rely on them, the rest is left aside."""

    status: str
    task_id: str
    result: Raw = Raw(b"null")
    traceback: str | None = None
    children: Any = None
    date_done: str | None = None
    name: str | None = None
    args: Any = None
    kwargs: Any = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    losses: int = 0
    enqueued: float | None = None
    started: float | None = None
    finished: float | None = None
    details: Any = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Received).decode


def encode(record: Record) -> bytes:
    """Return the JSON of `record`."""
    done = None
    if record.state in READY_STATES and record.finished is not None:
        done = datetime.fromtimestamp(record.finished, UTC).isoformat()
    meta = _Meta(
        record.state,
        Raw(record.result),
        record.id,
        record.traceback,
        record.children or [],
        done,
        record.name,
        record.args,
        record.kwargs,
        record.worker,
        record.retries,
        record.queue,
        record.root_id,
        record.parent_id,
        record.group_id,
        record.losses,
        record.enqueued,
        record.started,
        record.finished,
        record.details,
    )
    try:
        return _encode(meta)
    except UnicodeEncodeError:
        # A lone surrogate, as in the name of a file that is not UTF-8: no reason to lose a result.
        for name in meta.__struct_fields__:
            text = getattr(meta, name)
            if isinstance(text, str):
                setattr(meta, name, text.encode("utf-8", "backslashreplace").decode())
        return _encode(meta)


def decode(data: bytes) -> Record:
    """Return the record in Celery's or our JSON; raises StoreError."""
    try:
        try:
            meta = _decode(data)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            meta = _decode_lenient(data)
        finished = meta.finished
        if finished is None and meta.date_done:
            finished = datetime.fromisoformat(meta.date_done).timestamp()
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"A stored result cannot be read: {error}") from None
    return Record(
        meta.task_id,
        meta.status,
        bytes(meta.result),
        meta.traceback,
        meta.name or "",
        _text(meta.args),
        _text(meta.kwargs),
        meta.queue or "",
        meta.worker or "",
        meta.retries or 0,
        meta.losses,
        meta.enqueued,
        meta.started,
        finished,
        meta.root_id,
        meta.parent_id,
        meta.group_id,
        meta.children if isinstance(meta.children, list) and meta.children else None,
        meta.details,
    )


def _decode_lenient(data: bytes) -> _Received:
    """Read what json writes and msgspec does not read: NaN and its kind, lone surrogates."""
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("it is not an object")
    result = json.dumps(fields.pop("result", None), separators=(",", ":")).encode()
    meta = msgspec.convert(fields, _Received)
    meta.result = Raw(result)
    return meta


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)
