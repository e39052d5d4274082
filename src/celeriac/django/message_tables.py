"""What brokers on SQLite and on PostgreSQL have in common: messages, leases and dead letters in the tables.

Statements are in `celeriac.django.sql`, the connection in `celeriac.django.session`, waiting in
`celeriac.django.wakeup`. `celeriac.django.broker` says what is different. Never opens a transaction that outlives a
call.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from django.db import connections

from celeriac.broker import Action, DeadLetter, Delivery, Publication, QueueDepth, Settlement
from celeriac.django import failures, wakeup
from celeriac.django.schedule_tables import ScheduleTables
from celeriac.django.session import Rows
from celeriac.django.storable import name, text
from celeriac.django.store import DatabaseStore
from celeriac.errors import CeleriacError, LeaseLost
from celeriac.store import ResultStore

#: How long somebody who looks waits for the answer: to count a long queue takes its time.
_LOOK = 30.0
#: How many publications, and bytes of them, a second the database takes at least: the deadline of many or big ones is
#: so much later.
_PACE = 5000
_BYTES_PACE = 5_000_000
#: How many scheduled messages one claim makes ready at most, and how many one step of a purge deletes.
BATCH = 5000


class MessageTables(ScheduleTables):
    """Messages in tables of the database. A subclass for each database says how it publishes and claims."""

    def __init__(self, url: str = "django://", settings: Any = None) -> None:
        self.safe_url = url
        if settings is not None:
            self.max_message_bytes = settings.worker_max_message_bytes
        self._watches = wakeup.Watches()
        self._turn = 0
        # Numbers of claims that found nothing and so were not written down.
        self._empty: dict[str, int] = {}

    # -- producers

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        if not publications:
            return
        session = self._session
        timeout += len(publications) / _PACE + sum(len(p.payload) for p in publications) / _BYTES_PACE
        try:
            with session.write(timeout, once=True) as raw:
                self._insert(raw, publications)
        except session.errors as error:
            raise failures.not_queued(session, error, publications) from error

    def _wake(self, raw: Any) -> None:
        """Tell those who wait, if they are not told by the change itself."""

    # -- consumers

    def register(self, consumer: str, lease: float, queues: Sequence[str] = ()) -> None:
        with self._reading() as raw:
            self._session.tune(raw)
        with self._writing() as raw:
            self._session.count(raw, "register", consumer, lease, _written(queues))
            self._empty.pop(consumer, None)

    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        session = self._session
        if not self._worth_claiming(consumer, queues, seq):
            return []
        self._turn += 1
        first = self._turn % len(queues)
        rows: Rows = []
        with self._writing() as raw:
            if not session.count(raw, "next_seq", seq, consumer, seq):
                self._check_lease(raw, consumer)
                return []
            self._promote(raw)
            for queue in (*queues[first:], *queues[:first]):
                if len(rows) < limit:
                    rows += self._claim(raw, consumer, queue, limit - len(rows))
            self._claimed(raw, consumer, rows)
        return _deliveries(rows)

    def _promote(self, raw: Any) -> None:
        """Make scheduled messages ready that are due."""
        self._session.count(raw, "promote", BATCH)

    def _worth_claiming(self, consumer: str, queues: Sequence[str], seq: int) -> bool:
        """Look without the writers' lock; raises LeaseLost."""
        session = self._session
        with self._reading() as raw:
            ((last, anything),) = session.rows(raw, "look", consumer, session.these(queues))
        if last is None:
            raise LeaseLost(f"The lease of {consumer} was taken over.")
        if seq <= max(last, self._empty.get(consumer, -1)):
            return False
        if not anything:
            self._empty[consumer] = seq
        return bool(anything)

    def _claim(self, raw: Any, consumer: str, queue: str, limit: int) -> Rows:
        raise NotImplementedError

    def _claimed(self, raw: Any, consumer: str, rows: Rows) -> None:
        """Finish a claim of `rows`."""

    def _check_lease(self, raw: Any, consumer: str) -> None:
        if not self._session.rows(raw, "has_lease", consumer):
            raise LeaseLost(f"The lease of {consumer} was taken over.")

    def held(self, consumer: str, seq: int) -> list[Delivery]:
        session = self._session
        with self._writing() as raw:
            session.count(raw, "next_seq", seq, consumer, seq)
            self._check_lease(raw, consumer)
            return _deliveries(session.rows(raw, "held", self.max_message_bytes, consumer))

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        if not settlements:
            return set()
        keeper = store if isinstance(store, DatabaseStore) else None
        # Whatever can be done before the writers' lock is taken, is.
        rows = (
            {}
            if keeper is None
            else {s.tag: keeper.row(s.record) for s in settlements if s.record is not None}
        )
        tags = [settlement.tag for settlement in settlements]
        only_done = all(s.action is Action.DONE and not s.publish and not s.frees for s in settlements)
        with self._writing() as raw:
            if only_done:
                accepted = self._forget(raw, consumer, tags)
            else:
                accepted = self._settleable(raw, consumer, tags)
                self._end(raw, settlements, accepted)
            if keeper is not None and rows:
                keeper.write(raw, [row for tag, row in rows.items() if tag in accepted])
        return set() if len(accepted) == len(tags) else set(tags) - accepted

    def _forget(self, raw: Any, consumer: str, tags: list[int]) -> set[int]:
        """Delete the messages that `consumer` holds; return their tags."""
        session = self._session
        these = session.these(tags)
        deleted = session.count(raw, "delete_held", these, consumer)
        accepted = set(tags)
        if deleted < len(accepted):
            # What is still there is not ours, what was gone before has no body any more.
            accepted = {row[0] for row in session.rows(raw, "bodies_alone", these)}
            these = session.these(sorted(accepted))
        session.count(raw, "delete_bodies", these)
        return accepted

    def _settleable(self, raw: Any, consumer: str, tags: list[int]) -> set[int]:
        session = self._session
        return {row[0] for row in session.rows(raw, "settleable", session.these(tags), consumer)}

    def _end(self, raw: Any, settlements: Sequence[Settlement], accepted: set[int]) -> None:
        session = self._session
        done: list[int] = []
        publications: list[Publication] = []
        pending = set(accepted)
        for settlement in settlements:
            if settlement.tag not in pending:
                continue
            pending.remove(settlement.tag)
            if settlement.action is Action.DONE:
                done.append(settlement.tag)
            else:
                self._return(raw, settlement)
            publications += settlement.publish
            if settlement.frees is not None:
                self._resign(raw, *settlement.frees)
        if done:
            these = session.these(done)
            session.count(raw, "delete_messages", these)
            session.count(raw, "delete_bodies", these)
        if publications:
            self._insert(raw, publications)

    def _return(self, raw: Any, settlement: Settlement) -> None:
        session = self._session
        tag = settlement.tag
        if settlement.payload is not None:
            session.count(raw, "set_payload", settlement.payload, tag)
        if settlement.action is Action.PUT_BACK:
            session.count(raw, "put_back", tag)
            self._wake(raw)
        elif settlement.action is Action.SCHEDULE:
            session.count(raw, "schedule", settlement.due or 0.0, tag)
            self._wake(raw)
        else:
            session.count(raw, "set_aside", tag)
            session.count(raw, "set_reason", text(settlement.reason), tag)

    def shares(self, store: ResultStore) -> bool:
        return isinstance(store, DatabaseStore) and store.alias == self.alias

    def unregister(self, consumer: str) -> None:
        session = self._session
        with self._writing() as raw:
            if session.count(raw, "unregister", consumer) and session.count(raw, "give_back_all", consumer):
                self._wake(raw)
            self._empty.pop(consumer, None)

    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        session = self._session
        deadline = time.monotonic() + timeout
        these = session.these(queues)
        changed = True
        try:
            while changed:
                with self._reading() as raw:  # for each look, as the server has some seconds for that
                    watch = self._watches.mine(connections[self.alias].connection, self._open_watch)
                    watch.arm()
                    ((ready, due_in),) = session.rows(raw, "outlook", these)
                left = deadline - time.monotonic()
                if due_in is not None:
                    left = min(left, due_in)
                if ready or left <= 0:
                    return
                changed = watch.wait(left, interrupt)
        except CeleriacError:
            self._watches.drop_mine()
            raise
        except session.errors as error:  # of the watch
            self._watches.drop_mine()
            raise failures.failed(session, error) from error

    def _open_watch(self) -> wakeup.Watch:
        raise NotImplementedError

    # -- supervisors

    def renew(self, consumers: Sequence[str], lease: float) -> set[str]:
        if not consumers:
            return set()
        with self._writing() as raw:
            return set(consumers) - self._renewed(raw, consumers, lease)

    def _renewed(self, raw: Any, consumers: Sequence[str], lease: float) -> set[str]:
        """Renew leases, and return whose."""
        rows = self._session.rows(raw, "renew", lease, self._session.these(consumers))
        return {row[0] for row in rows}

    def expired(self) -> list[str]:
        with self._reading() as raw:
            return [row[0] for row in self._session.rows(raw, "expired")]

    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        session = self._session
        with self._writing() as raw:
            self._check_lease(raw, by)
            if dead == by or not session.count(
                raw, "take_over_lease" if expired_only else "unregister", dead
            ):
                return []
            moved = session.rows(raw, "held", self.max_message_bytes, dead)
            session.count(raw, "move_held", by, dead)
        return _deliveries(moved)

    # -- looking

    def depths(self) -> dict[str, QueueDepth]:
        depths: dict[str, QueueDepth] = {}
        with self._reading(_LOOK) as raw:
            for queue, state, count in self._session.rows(raw, "depths"):
                depth = depths.setdefault(queue, QueueDepth())
                setattr(depth, ("ready", "scheduled", "in_flight")[state], count)
        return depths

    def heads(self) -> list[tuple[str, bytes]]:
        with self._reading(_LOOK) as raw:
            rows = self._session.rows(raw, "heads")
        # What was given back comes last, and is served first.
        first = {(queue, priority): bytes(payload) for queue, priority, payload in rows}
        return [(queue, payload) for (queue, _), payload in first.items()]

    def readers(self) -> dict[str, tuple[str, ...]]:
        with self._reading(_LOOK) as raw:
            rows = self._session.rows(raw, "readers")
        return {consumer: tuple(msgspec.json.decode(queues)) for consumer, queues in rows}

    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        with self._reading(_LOOK) as raw:
            rows = self._session.rows(raw, "dead_letters", limit, offset)
        return [
            DeadLetter(str(tag), queue, reason, died, bytes(payload))
            for tag, queue, reason, died, payload in rows
        ]

    def count_dead_letters(self) -> int:
        with self._reading(_LOOK) as raw:
            count: int = self._session.rows(raw, "count_dead_letters")[0][0]
        return count

    def revive(self, publications: Mapping[str, Publication]) -> int:
        session = self._session
        by_id = {int(key): publication for key, publication in publications.items() if key.isdecimal()}
        with self._writing() as raw:
            dead = {row[0] for row in session.rows(raw, "revivable", session.these(list(by_id)))}
            if dead:
                session.count(raw, "delete_messages", session.these(sorted(dead)))
                session.count(raw, "delete_bodies", session.these(sorted(dead)))
                self._insert(raw, [publication for tag, publication in by_id.items() if tag in dead])
        return len(dead)

    def discard(self, keys: Collection[str]) -> int:
        session = self._session
        ids = [int(key) for key in keys if key.isdecimal()]
        with self._writing() as raw:
            dead = [row[0] for row in session.rows(raw, "revivable", session.these(ids))]
            if dead:
                session.count(raw, "delete_messages", session.these(dead))
                session.count(raw, "delete_bodies", session.these(dead))
        return len(dead)

    def purge(self, queues: Iterable[str]) -> int:
        session = self._session
        these = session.these(list(queues))
        purged = 0
        while True:
            with self._writing() as raw:
                ids = [row[0] for row in session.rows(raw, "purgeable", these, BATCH)]
                if not ids:
                    return purged
                session.count(raw, "delete_messages", session.these(ids))
                session.count(raw, "delete_bodies", session.these(ids))
            purged += len(ids)

    def close(self) -> None:
        self._watches.close()
        self._session.close()


def _written(queues: Sequence[str]) -> str:
    """Return queues as the column holds them: JSON, or nothing."""
    return msgspec.json.encode([name(queue) for queue in queues]).decode() if queues else ""


def _deliveries(rows: Rows) -> list[Delivery]:
    return [
        Delivery(tag, queue, bytes(payload), size, bool(sure)) for tag, queue, payload, size, sure in rows
    ]
