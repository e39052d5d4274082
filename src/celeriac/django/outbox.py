"""The outbox: what is sent becomes a row of the open transaction, and goes to the broker when that is committed.

For brokers that take no part in the project's transactions. The process that has sent it sees to it at once; what that
leaves, because it is killed or cannot reach the broker, workers see to (`sweep`). Several may try at a time: each row
has a key, under which the broker takes a message once. A row is deleted when the broker has it, never before.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from celeriac.broker import Broker, Publication
from celeriac.django import failures
from celeriac.django.broker import DatabaseBroker
from celeriac.django.installed import missing_migrations
from celeriac.django.session import Session
from celeriac.django.sessions import open_session
from celeriac.django.storable import name, text
from celeriac.errors import BrokerError, CeleriacError, sentences
from celeriac.message.message import new_id

logger = logging.getLogger("celeriac")

#: What takes note of publications that the broker has.
Told = Callable[[Sequence[Publication]], None]

_PORTION = 200
_PAUSE = 5.0  # seconds for which a sender leaves a broker alone that it could not reach
_SWEEP_FOR = 0.2  # seconds of sweeping at a time
#: Seconds after which the broker may forget a key whose row is gone: whoever still has the row in mind is quicker, or
#: looks first whether it is there.
_REMEMBERED = 60.0
_OLD = _REMEMBERED / 2


class Outbox:
    """The outbox of one broker, in whichever of the project's databases a transaction is open."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        self._broker = broker
        self._timeout = timeout
        self._sessions: dict[str, Session] = {}
        self._usable: dict[str, bool] = {DEFAULT_DB_ALIAS: True}
        #: Keys whose rows are gone, and since when.
        self._done: deque[tuple[float, str]] = deque()
        #: Databases in which this process has left rows.
        self._behind: set[str] = set()
        self._pause_until = 0.0
        #: The last row that was there at the last sweep, by database.
        self._seen: dict[str, int] = {}

    # -- sending

    def keep(self, publications: Sequence[Publication], told: Told) -> Callable[[], bool] | None:
        """Write `publications` down and publish them when the open transaction commits, at once where none is open.

        Returns what tells whether that is still to come, None where it is done. Once it has returned, nothing that the
        broker does can lose them. Raises BrokerDown or BrokerError where the database does not take them.
        """
        inside = {each.alias: each for each in connections.all(initialized_only=True) if each.in_atomic_block}
        if isinstance(self._broker, DatabaseBroker) and (connection := inside.get(self._broker.alias)):
            self._broker.publish(publications, self._timeout)  # it takes part in this one
            told(publications)
            return lambda: bool(connection.in_atomic_block)
        alias = next(
            (alias for alias in (DEFAULT_DB_ALIAS, *inside) if alias in inside and self._is_usable(alias)), ""
        )
        outgoing = _Outgoing(self, alias or DEFAULT_DB_ALIAS, {new_id(): each for each in publications}, told)
        if alias or not inside:
            outgoing.write()
        followed: Any = inside.get(alias) or next(iter(inside.values()), None)
        if followed is not None:
            followed.on_commit(outgoing)
            return outgoing.pending
        if connections[outgoing.alias].autocommit:
            outgoing()
        return None  # else there is no telling when it is committed: workers will find it

    def write(self, alias: str, publications: Mapping[str, Publication]) -> None:
        """Add rows to the transaction that is open in a database."""
        session, now = self._session(alias), time.time()
        rows = [
            (key, name(p.id), name(p.task), text(p.queue), p.priority, p.due, now, p.payload)
            for key, p in publications.items()
        ]
        try:
            with session.write(self._timeout, once=len(rows) == 1) as raw:
                session.each(raw, "outbox_add", rows)
        except session.errors as error:
            raise failures.not_queued(session, error, list(publications.values())) from error

    def relay(self, outgoing: "_Outgoing") -> None:
        """Publish what has just been committed. What cannot be published stays for later: nothing is raised."""
        alias = outgoing.alias
        now = time.monotonic()
        if now < self._pause_until:
            self._behind.add(alias)
            return
        try:
            publications = outgoing.publications
            if self._behind:
                self._behind.add(alias)  # they are the last of the rows that are left there
                self._catch_up()
            else:
                if now - outgoing.since > _OLD:
                    publications = self._still_there(alias, publications)
                for portion in _portions(publications):
                    self._publish(alias, portion)
            if alias not in self._behind:
                outgoing.told(list(publications.values()))
        except Exception as error:
            self._fall_behind(alias, error)

    def _fall_behind(self, alias: str, error: Exception) -> None:
        if isinstance(error, CeleriacError):
            logger.warning("%s", sentences(error, "What is sent waits in the outbox until it is there."))
        else:
            logger.error("The outbox could not publish; what is sent waits in it.", exc_info=error)
        self._behind.add(alias)
        self._pause_until = time.monotonic() + _PAUSE

    def _catch_up(self) -> None:
        """Publish what was left when the broker could not be reached, as much of it as can be done in a moment."""
        until = time.monotonic() + _SWEEP_FOR
        for alias in list(self._behind):
            if self._relay_rows(alias, self._last(alias), until)[1]:
                self._behind.discard(alias)

    # -- for workers

    def sweep(self) -> bool:
        """Publish for a moment what was there at the last sweep already; return whether that was all.

        What is newer its sender is seeing to. Raises BrokerError where broker or database cannot be reached.
        """
        until, finished = time.monotonic() + _SWEEP_FOR, True
        for alias in self._aliases():
            last = self._last(alias)
            count, all_of_it = self._relay_rows(alias, self._seen.get(alias, 0), until)
            if all_of_it:
                self._seen[alias] = last
            if count:
                logger.info("%d tasks that were left in the outbox have gone to the broker.", count)
            finished = finished and all_of_it
        return finished

    def waiting(self) -> int:
        """Return how many messages the broker does not have yet; raises BrokerError."""
        return sum(int(self._rows(alias, "outbox_count")[0][0]) for alias in self._aliases())

    # -- rows

    def _relay_rows(self, alias: str, last: int, until: float) -> tuple[int, bool]:
        """Publish the rows up to `last`, the oldest first; return how many that were, and whether all of them."""
        count = 0
        while rows := self._rows(alias, "outbox_read", last, _PORTION):
            self._publish(
                alias,
                {
                    key: Publication(task_id, task, queue, bytes(payload), priority, due)
                    for key, task_id, task, queue, priority, due, payload in rows
                },
            )
            count += len(rows)
            if len(rows) < _PORTION:
                break
            if time.monotonic() > until:
                return count, False
        return count, True

    def _publish(self, alias: str, publications: Mapping[str, Publication]) -> None:
        """Hand messages to the broker, then delete their rows."""
        if not publications:
            return
        self._broker.publish_once(publications, self._timeout, self._forgettable())
        session = self._session(alias)
        try:
            with session.write(once=True) as raw:
                session.count(raw, "outbox_done", session.these(list(publications)))
        except session.errors as error:
            raise failures.failed(session, error) from error
        now = time.monotonic()
        self._done.extend([(now, key) for key in publications])

    def _forgettable(self) -> list[str]:
        done, keys = self._done, []
        since = time.monotonic() - _REMEMBERED
        while done and done[0][0] < since and len(keys) < 2 * _PORTION:
            keys.append(done.popleft()[1])
        return keys

    def _still_there(self, alias: str, publications: Mapping[str, Publication]) -> dict[str, Publication]:
        """Return those whose rows nobody has deleted while this process was held up."""
        there = {
            key
            for portion in _portions(publications)
            for (key,) in self._rows(alias, "outbox_there", self._session(alias).these(list(portion)))
        }
        return {key: publication for key, publication in publications.items() if key in there}

    def _last(self, alias: str) -> int:
        return int(self._rows(alias, "outbox_last")[0][0] or 0)

    def _rows(self, alias: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        session = self._session(alias)
        try:
            with session.read() as raw:
                return session.rows(raw, statement, *parameters)
        except session.errors as error:
            raise failures.failed(session, error) from error

    # -- databases

    def _session(self, alias: str) -> Session:
        if alias not in self._sessions:
            self._sessions[alias] = open_session(f"django://{alias}", "task_outbox", BrokerError)
        return self._sessions[alias]

    def _aliases(self) -> list[str]:
        return [alias for alias in connections.settings if self._is_usable(alias)]

    def _is_usable(self, alias: str) -> bool:
        """Return whether a database has our tables. The default one has: what lacks there is told where it is used."""
        if alias not in self._usable:
            try:
                self._usable[alias] = missing_migrations(alias) is None
            except Exception:  # whatever is the matter with it, it is not ours
                return False
        return self._usable[alias]


class _Outgoing:
    """Messages that are published when a transaction commits: a callback for Django to keep until then."""

    __slots__ = ("_called", "_written", "alias", "outbox", "publications", "since", "told")

    def __init__(self, outbox: Outbox, alias: str, publications: dict[str, Publication], told: Told) -> None:
        self.outbox = outbox
        self.alias = alias
        self.publications = publications
        self.told = told
        #: When they were written down, on this process's clock.
        self.since = time.monotonic()
        self._written = self._called = False

    def write(self) -> None:
        """Write them down."""
        self.outbox.write(self.alias, self.publications)
        self._written = True

    def __call__(self) -> None:
        """Publish them."""
        self._called = True
        if not self._written:  # it was a transaction on a database that has no outbox
            try:
                self.write()
            except CeleriacError:
                for lost in self.publications.values():
                    logger.error(
                        "After the commit the task %s[%s] could not be queued: %r",
                        lost.task,
                        lost.id,
                        lost.payload,
                    )
                raise
        self.outbox.relay(self)

    def pending(self) -> bool:
        """Return whether that is still to come."""
        return not self._called


def _portions(publications: Mapping[str, Publication]) -> list[dict[str, Publication]]:
    items = list(publications.items())
    return [dict(items[first : first + _PORTION]) for first in range(0, len(items), _PORTION)]
