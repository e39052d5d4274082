"""The result store inside one process, for tests and scripts."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from celeriac import states
from celeriac.store import Record, ResultStore


class _Shelf:
    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.changed = threading.Condition()


_shelves: dict[str, _Shelf] = {}


class MemoryStore(ResultStore):
    """Records in this process's memory, shared by all stores of one URL."""

    schemes = ("memory", "cache+memory")

    def __init__(
        self, url: str = "memory://", settings: Any = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._expires: float | None = None if settings is None else settings.result_expires
        self._shelf = _shelves.setdefault(url, _Shelf())

    def store(self, records: Sequence[Record]) -> None:
        shelf = self._shelf
        with shelf.changed:
            kept = shelf.records
            for record in records:
                old = kept.get(record.id)
                if old is None or old.state != states.SUCCESS or record.state == states.SUCCESS:
                    kept[record.id] = record
            shelf.changed.notify_all()

    def fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        kept = self._shelf.records
        return {task_id: kept[task_id] for task_id in ids if task_id in kept}

    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        return self.wait_any([task_id], timeout).get(task_id)

    def wait_any(self, ids: Collection[str], timeout: float | None) -> dict[str, Record]:
        shelf = self._shelf

        def final() -> dict[str, Record]:
            kept = shelf.records
            return {task_id: kept[task_id] for task_id in ids if task_id in kept and kept[task_id].ready}

        with shelf.changed:
            return shelf.changed.wait_for(final, timeout) if ids else {}

    def forget(self, ids: Collection[str]) -> None:
        with self._shelf.changed:
            for task_id in ids:
                self._shelf.records.pop(task_id, None)

    def expire(self, limit: int) -> int:
        if self._expires is None:
            return 0
        before = self._clock() - self._expires
        with self._shelf.changed:
            kept = self._shelf.records
            old = [r.id for r in kept.values() if r.finished is not None and r.finished < before][:limit]
            for task_id in old:
                del kept[task_id]
        return len(old)

    def count(self) -> int:
        return len(self._shelf.records)

    def clear(self) -> None:
        """Forget everything, for tests."""
        with self._shelf.changed:
            self._shelf.records.clear()
