"""What brokers in the database have in common for schedules: how far each entry has fired, and who sees to it.

`celeriac.django.message_tables` builds on it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from celeriac.broker import ONCE_SECONDS, Fired, Firing, Publication, run_office
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
                found = self._fire(raw, firing)
                if found is not None:
                    accepted.add(firing.entry)
                    publications += found
            if publications:
                self._insert(raw, publications)
        return accepted

    def _fire(self, raw: Any, firing: Firing) -> tuple[Publication, ...] | None:
        """Note that an entry has fired; return what to publish, None where it was refused."""
        publications = firing.publications
        if not (firing.hold and publications):
            return publications if self._advance(raw, firing, len(publications)) else None
        # First whether it is accepted: one that is refused must not take the office.
        if not self._advance(raw, firing, 0):
            return None
        if not self._elected(raw, run_office(firing.entry), publications[0].id, firing.hold):
            return ()
        self._advance(raw, replace(firing, expected=firing.slot), len(publications))
        return publications

    def _advance(self, raw: Any, firing: Firing, count: int) -> bool:
        session, entry = self._session, name(firing.entry)
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
            holder = self._elect(raw, office, candidate, seconds)
        return candidate if holder == name(candidate) else holder

    def _elect(self, raw: Any, office: str, candidate: str, seconds: float) -> str:
        self._session.count(raw, "elect", name(office), name(candidate), seconds)
        ((holder,),) = self._session.rows(raw, "holder", name(office))
        return str(holder)

    def _elected(self, raw: Any, office: str, candidate: str, seconds: float) -> bool:
        return self._elect(raw, office, candidate, seconds) == name(candidate)

    def resign(self, office: str, candidate: str) -> None:
        with self._writing() as raw:
            self._resign(raw, office, candidate)

    def _resign(self, raw: Any, office: str, candidate: str) -> None:
        self._session.count(raw, "resign", name(office), name(candidate))


def _once(key: str) -> str:
    return name(f"once:{key}")
