"""What brokers in the database have in common beside messages: revoked tasks, commands to workers, and transactions.

`celeriac.django.message_tables` builds on it.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from celeriac.broker import COMMAND_SECONDS, Broker
from celeriac.django import failures
from celeriac.django.session import PATIENCE, Session
from celeriac.django.storable import name


class SteeringTables(Broker):
    """Revoked tasks and commands to workers, in tables of the database."""

    _session: Session

    @property
    def alias(self) -> str:
        """The database's name in DATABASES."""
        return self._session.alias

    def revoke(self, ids: Collection[str], seconds: float) -> None:
        if ids:
            names = sorted(set(map(name, ids)))
            with self._writing() as raw:
                self._revoke(raw, names, seconds)

    def _revoke(self, raw: Any, names: list[str], seconds: float) -> None:
        self._session.count(raw, "revoke", seconds, self._session.these(names))

    def revoked(self, ids: Collection[str]) -> set[str]:
        if not ids:
            return set()
        names = {each: name(each) for each in ids}
        with self._reading() as raw:
            rows = self._session.rows(raw, "revoked", self._session.these(list(names.values())))
        known = {row[0] for row in rows}
        return {each for each, written in names.items() if written in known}

    def command(self, payload: bytes) -> None:
        with self._writing() as raw:
            self._session.count(raw, "command", COMMAND_SECONDS, payload)

    def commands(self) -> dict[str, bytes]:
        with self._reading() as raw:
            return {str(key): bytes(payload) for key, payload in self._session.rows(raw, "commands")}

    def maintain(self) -> None:
        session = self._session
        with self._reading() as raw:
            ((outdated,),) = session.rows(raw, "is_outdated")
        if outdated:
            with self._writing() as raw:
                session.count(raw, "delete_revocations")
                session.count(raw, "delete_commands")
                session.count(raw, "delete_offices")

    # -- transactions

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        try:
            with self._session.write(PATIENCE) as raw:
                yield raw
        except self._session.errors as error:
            raise failures.failed(self._session, error) from error

    @contextmanager
    def _reading(self, timeout: float = PATIENCE) -> Iterator[Any]:
        try:
            with self._session.read(timeout) as raw:
                yield raw
        except self._session.errors as error:
            raise failures.failed(self._session, error) from error
