"""What brokers in the database have in common for schedules: how far each entry has fired, and who sees to it.

`celeriac.django.message_tables` builds on it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from celeriac.broker import ONCE_SECONDS, Fired, Firing, Publication
from celeriac.django.steering_tables import SteeringTables
from celeriac.django.storable import name


class ScheduleTables(SteeringTables):
    """Entries of schedules and offices, in tables of the database."""

    def _insert(self, raw: Any, publications: Sequence[Publication]) -> None:
        raise NotImplementedError

    def publish_once(
        self, publications: Mapping[str, Publication], timeout: float, done: Collection[str] = ()
    ) -> None:
        session = self._session
        with self._writing() as raw:
            new = [
                publication
                for key, publication in publications.items()
                if session.count(raw, "remember_key", _once(key), ONCE_SECONDS) > 0
            ]
            if new:
                self._insert(raw, new)
            if done:
                session.count(raw, "forget_keys", session.these([_once(key) for key in done]))

    def now(self) -> float:
        with self._reading() as raw:
            ((moment,),) = self._session.rows(raw, "now")
        return float(moment)

    def fire(self, firings: Sequence[Firing]) -> set[str]:
        accepted: set[str] = set()
        publications: list[Publication] = []
        if not firings:
            return accepted
        with self._writing() as raw:
            for firing in firings:
                if self._advance(raw, firing):
                    accepted.add(firing.entry)
                    publications += firing.publications
            if publications:
                self._insert(raw, publications)
        return accepted

    def _advance(self, raw: Any, firing: Firing) -> bool:
        session, entry, count = self._session, name(firing.entry), len(firing.publications)
        if firing.expected is None:
            return session.count(raw, "first_firing", entry, firing.slot, count > 0, count) > 0
        return session.count(raw, "firing", firing.slot, count > 0, count, entry, firing.expected) > 0

    def fired(self, entries: Collection[str]) -> dict[str, Fired]:
        if not entries:
            return {}
        names = {name(entry): entry for entry in entries}
        with self._reading() as raw:
            rows = self._session.rows(raw, "fired", self._session.these(list(names)))
        return {names[entry]: Fired(slot, count, at) for entry, slot, count, at in rows}

    def unschedule(self, entries: Collection[str]) -> None:
        if entries:
            with self._writing() as raw:
                self._session.count(raw, "unschedule", self._session.these([name(each) for each in entries]))

    def elect(self, office: str, candidate: str, seconds: float) -> str:
        with self._writing() as raw:
            self._session.count(raw, "elect", name(office), name(candidate), seconds)
            ((holder,),) = self._session.rows(raw, "holder", name(office))
        return candidate if holder == name(candidate) else str(holder)

    def resign(self, office: str, candidate: str) -> None:
        with self._writing() as raw:
            self._session.count(raw, "resign", name(office), name(candidate))


def _once(key: str) -> str:
    return name(f"once:{key}")
