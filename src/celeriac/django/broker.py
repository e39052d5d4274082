"""The broker on the project's own database: SQLite, PostgreSQL or MariaDB, `django://` or `django://ALIAS`.

What `delay()` publishes inside `atomic()` is part of that transaction. Here is how each database publishes and claims;
the rest is the same, in `celeriac.django.message_tables`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from django.db import connections

from celeriac.broker import Delivery, Publication, Settlement
from celeriac.django import wakeup
from celeriac.django.message_tables import BATCH, MessageTables
from celeriac.django.session import Rows
from celeriac.django.session_mariadb import MariaDBSession
from celeriac.django.sessions import open_session
from celeriac.django.storable import name
from celeriac.errors import BrokerDown, BrokerError
from celeriac.store import ResultStore

T = TypeVar("T")

_NOT_WAL = (
    "{place} has journal_mode {mode!r}, in which readers and writers block each other. Set OPTIONS['init_command'] to "
    "'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;'."
)
#: How often a step is taken again that a deadlock has undone.
_DEADLOCKS = 3
#: How often one who waits looks into a MariaDB, which tells nobody of changes.
_LOOK_EVERY = 0.05


class DatabaseBroker(MessageTables):
    """The broker of a database. Made by `DatabaseBroker(url, settings)`, which returns the right subclass."""

    schemes: ClassVar[tuple[str, ...]] = ("django",)

    def __new__(cls, url: str = "django://", settings: Any = None) -> "DatabaseBroker":
        session = open_session(url, "broker_url", BrokerError)
        self = super().__new__(_BROKERS[session.vendor] if cls is DatabaseBroker else cls)
        self._session = session
        return self


class SQLiteBroker(DatabaseBroker):
    """On SQLite, whose writers take turns: what is read after BEGIN IMMEDIATE stays so until COMMIT."""

    def _insert(self, raw: Any, publications: Sequence[Publication]) -> None:
        session = self._session
        statements = session.sql
        now = time.time()
        if len(publications) == 1:
            (p,) = publications
            scheduled = p.due is not None and p.due > now
            number = int(now * 1_000_000)
            raw.execute(statements["publish_message"], (number, name(p.queue), p.priority, scheduled, p.due))
            raw.execute(statements["publish_body"], (name(p.id), name(p.task), now, p.payload))
            return
        ((first,),) = session.rows(raw, "next_message", int(now * 1_000_000))
        numbered = list(enumerate(publications, first))
        session.each(
            raw,
            "publish_messages",
            [(n, name(p.queue), p.priority, p.due is not None and p.due > now, p.due) for n, p in numbered],
        )
        session.each(
            raw, "publish_bodies", [(n, name(p.id), name(p.task), now, p.payload) for n, p in numbered]
        )

    def _claim(self, raw: Any, consumer: str, queue: str, limit: int) -> Rows:
        return self._session.rows(raw, "claimable", self.max_message_bytes, queue, limit)

    def _claimed(self, raw: Any, consumer: str, rows: Rows) -> None:
        if rows:
            self._session.count(raw, "claim", consumer, self._session.these([row[0] for row in rows]))

    def _open_watch(self) -> wakeup.Watch:
        return wakeup.watch_sqlite(connections[self.alias].connection)

    def check(self) -> list[str]:
        with self._reading() as raw:
            ((mode,),) = raw.execute("PRAGMA journal_mode").fetchall()
        if mode in ("wal", "memory"):
            return []
        return [_NOT_WAL.format(place=self._session.place, mode=mode)]


class PostgresBroker(DatabaseBroker):
    """On PostgreSQL: rows are locked as they are claimed, and locked ones skipped."""

    def _insert(self, raw: Any, publications: Sequence[Publication]) -> None:
        now = time.time()
        columns = zip(
            *(
                (name(p.queue), p.priority, p.due, name(p.id), name(p.task), now, p.payload)
                for p in publications
            ),
            strict=True,
        )
        self._session.rows(raw, "publish", *map(list, columns))

    def _wake(self, raw: Any) -> None:
        self._session.rows(raw, "notify")

    def _claim(self, raw: Any, consumer: str, queue: str, limit: int) -> Rows:
        return self._session.rows(raw, "claim", queue, limit, consumer, self.max_message_bytes)

    def _forget(self, raw: Any, consumer: str, tags: list[int]) -> set[int]:
        # Nobody can take over the lease between this look and the end of the transaction.
        held = self._session.rows(raw, "hold_lease", consumer)
        return super()._forget(raw, consumer, tags) if held else set()

    def _settleable(self, raw: Any, consumer: str, tags: list[int]) -> set[int]:
        held = self._session.rows(raw, "hold_lease", consumer)
        return super()._settleable(raw, consumer, tags) if held else set()

    def _open_watch(self) -> wakeup.Watch:
        return wakeup.watch_postgres(connections[self.alias])


class MariaDBBroker(DatabaseBroker):
    """On MariaDB: rows are locked as they are claimed, and locked ones skipped. Nobody is told of a change."""

    _session: MariaDBSession

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        self._again(lambda: super(MariaDBBroker, self).publish(publications, timeout))

    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        return self._again(lambda: super(MariaDBBroker, self).claim(consumer, queues, limit, seq))

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        return self._again(lambda: super(MariaDBBroker, self).settle(consumer, settlements, store))

    def _again(self, step: Callable[[], T]) -> T:
        """Take a step, and take it again where InnoDB has undone it to end a deadlock; unless the project's transaction
        was undone with it."""
        for _ in range(_DEADLOCKS):
            connection = connections[self.alias]
            inside = connection.in_atomic_block or not connection.settings_dict["AUTOCOMMIT"]
            try:
                return step()
            except BrokerDown as error:
                if inside or not self._session.was_deadlock(error.__cause__):
                    raise
        return step()

    def _insert(self, raw: Any, publications: Sequence[Publication]) -> None:
        session = self._session
        now = time.time()
        if len(publications) == 1:
            (p,) = publications
            session.count(raw, "publish_message", name(p.queue), p.priority, p.due, p.due)
            session.count(raw, "publish_body", name(p.id), name(p.task), now, p.payload)
            return
        rows = [(name(p.queue), p.priority, p.due, p.due) for p in publications]
        numbers = session.insert_numbered(raw, "publish_message", rows)
        session.each(
            raw,
            "publish_bodies",
            [
                (n, name(p.id), name(p.task), now, p.payload)
                for n, p in zip(numbers, publications, strict=True)
            ],
        )

    def _promote(self, raw: Any) -> None:
        due = [row[0] for row in self._session.rows(raw, "due", BATCH)]
        if due:
            self._session.count(raw, "promote", self._session.these(due))

    def _claim(self, raw: Any, consumer: str, queue: str, limit: int) -> Rows:
        return self._session.rows(raw, "claimable", self.max_message_bytes, queue, limit)

    def _claimed(self, raw: Any, consumer: str, rows: Rows) -> None:
        if rows:
            self._session.count(raw, "claim", consumer, self._session.these([row[0] for row in rows]))

    def _forget(self, raw: Any, consumer: str, tags: list[int]) -> set[int]:
        # Nobody can take over the lease between this look and the end of the transaction.
        held = self._session.rows(raw, "hold_lease", consumer)
        return super()._forget(raw, consumer, tags) if held else set()

    def _settleable(self, raw: Any, consumer: str, tags: list[int]) -> set[int]:
        held = self._session.rows(raw, "hold_lease", consumer)
        return super()._settleable(raw, consumer, tags) if held else set()

    def _renewed(self, raw: Any, consumers: Sequence[str], lease: float) -> set[str]:
        these = self._session.these(consumers)
        self._session.count(raw, "renew", lease, these)
        return {row[0] for row in self._session.rows(raw, "renewed", these)}

    def _revoke(self, raw: Any, names: list[str], seconds: float) -> None:
        self._session.each(raw, "revoke", [(each, seconds) for each in names])

    def _open_watch(self) -> wakeup.Watch:
        return wakeup.Polling(object, _LOOK_EVERY)

    def check(self) -> list[str]:
        with self._reading() as raw:
            return self._session.unsuitable(raw, self.max_message_bytes)


_BROKERS: dict[str, type[DatabaseBroker]] = {
    "sqlite": SQLiteBroker,
    "postgresql": PostgresBroker,
    "mysql": MariaDBBroker,
}
