"""The result store in the project's own database, `django-db` or `django-db://ALIAS`.

Called by workers with batches, alone or inside a settlement's transaction (`write`), and by clients that fetch and
wait. What it keeps is the table of `models.TaskResult`, which the admin reads. Never raises a driver's exception.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from celeriac import states
from celeriac.django.failures import one_line
from celeriac.django.session import PATIENCE
from celeriac.django.sessions import open_session
from celeriac.django.storable import name, text
from celeriac.errors import StoreError
from celeriac.message.serializers import json_dumps, json_loads
from celeriac.store import Record, ResultStore

_MOST = 2**31 - 1
#: Up to how many records are counted one by one.
_COUNTED = 1000


class DatabaseStore(ResultStore):
    """Records in a table of the database."""

    schemes: ClassVar[tuple[str, ...]] = ("django-db",)

    def __init__(self, url: str = "django-db", settings: Any = None) -> None:
        self._session = open_session(url, "result_backend", StoreError)
        self._expires: float | None = None if settings is None else settings.result_expires

    @property
    def alias(self) -> str:
        """The database's name in DATABASES."""
        return self._session.alias

    def store(self, records: Sequence[Record]) -> None:
        if not records:
            return
        rows = [_row(record) for record in records]
        with self._errors(), self._session.write(PATIENCE) as raw:
            self.write(raw, rows)

    def row(self, record: Record) -> tuple[Any, ...]:
        """Return what is written for `record`."""
        return _row(record)

    def write(self, raw: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        """Keep `rows` in the transaction that is open on `raw`; its errors are the caller's."""
        if rows:
            self._session.upsert(raw, rows)

    def fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        if not ids:
            return {}
        session = self._session
        with self._errors(), session.read() as raw:
            rows = session.rows(raw, "fetch", session.these([name(task_id) for task_id in ids]))
        found = {row[0]: row for row in rows}
        return {task_id: _record(task_id, found[name(task_id)]) for task_id in ids if name(task_id) in found}

    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.002
        while not self._is_ready(task_id):
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            if left <= 0:
                return None
            time.sleep(left)
            pause = min(pause * 1.3, 0.05)
        return self.fetch([task_id]).get(task_id)

    def _is_ready(self, task_id: str) -> bool:
        with self._errors(), self._session.read() as raw:
            rows = self._session.rows(raw, "state_of", name(task_id))
        return bool(rows) and rows[0][0] in states.READY_STATES

    def forget(self, ids: Collection[str]) -> None:
        if not ids:
            return
        session = self._session
        with self._errors(), session.write(PATIENCE) as raw:
            session.count(raw, "forget", session.these([name(task_id) for task_id in ids]))

    def expire(self, limit: int) -> int:
        if self._expires is None:
            return 0
        with self._errors(), self._session.write(PATIENCE) as raw:
            return self._session.count(raw, "expire", time.time() - self._expires, limit)

    def count(self) -> int:
        session = self._session
        with self._errors(), session.read() as raw:
            ((some,),) = session.rows(raw, "count_some_results", _COUNTED)
            if some < _COUNTED:
                return int(some)
            ((about,),) = session.rows(raw, "count_results")
        return max(int(about), int(some))

    def close(self) -> None:
        self._session.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._session.errors as error:
            text = f"{self._session.place}: {one_line(error)}."
            raise self._session.explain(error) or StoreError(text) from error


def _row(r: Record) -> tuple[Any, ...]:
    return (
        name(r.id),
        name(r.state)[:50],
        name(r.name),
        name(r.queue),
        name(r.worker),
        text(r.args),
        text(r.kwargs),
        min(r.retries, _MOST),
        r.losses,
        r.enqueued,
        r.started,
        r.finished,
        r.root_id and name(r.root_id),
        r.parent_id and name(r.parent_id),
        r.group_id and name(r.group_id),
        r.result.decode("utf-8", "replace"),
        r.traceback and text(r.traceback),
        json_dumps(r.children).decode() if r.children else None,
        None if r.details is None else json_dumps(r.details).decode(),
    )


def _record(task_id: str, row: tuple[Any, ...]) -> Record:
    (_, state, name, queue, worker, args, kwargs, retries, losses, enqueued, started, finished, *rest) = row
    root_id, parent_id, group_id, result, traceback, children, details = rest
    return Record(
        task_id,
        state,
        result.encode(),
        traceback,
        name,
        args,
        kwargs,
        queue,
        worker,
        retries,
        losses,
        enqueued,
        started,
        finished,
        root_id,
        parent_id,
        group_id,
        json_loads(children.encode()) if children else None,
        json_loads(details.encode()) if details else None,
    )
