"""What is scheduled, for people: each entry with its state, its last run and its next one.

Called by the command line. Reads entries and how far they are; fires nothing.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from heapq import merge
from itertools import chain
from zoneinfo import ZoneInfo

from msgspec import Struct

from celeriac.app import Celeriac
from celeriac.beat import due
from celeriac.beat.entries import Entry, where
from celeriac.beat.timetable import Timetable
from celeriac.broker import Fired
from celeriac.errors import CeleriacError
from celeriac.schedule import ScheduleSource


class Seen(Struct):
    """An entry as people see it. Times are unix times; `entry` is None where it cannot be read."""

    name: str
    entry: Entry | None
    #: Where it stands in the code; empty: in the database.
    where: str
    paused: bool
    problem: str
    last: float | None
    runs: int
    next: float | None

    @property
    def words(self) -> str:
        """When it is due, in plain words."""
        if self.entry is None:
            return f"cannot be read: {self.problem}"
        words = str(getattr(self.entry.schedule, "human_readable", self.entry.schedule))
        return words if self.entry.overlap == "allow" else f"{words}, one run at a time"


class Overview:
    """All entries of an app whose tasks are loaded, as they are now; raises BrokerError or StoreError."""

    def __init__(self, app: Celeriac) -> None:
        self.app = app
        self.now = app.broker.now()
        self.zone = ZoneInfo(app.conf.timezone or "UTC")
        self._timetable = Timetable(app)
        self._timetable.read(self.now)
        kept = self._timetable.plan.entries.values() if self._timetable.plan is not None else ()
        own = {each.name for each in kept if each.given is not None or each.problem}
        self._names = sorted({*self._timetable.code, *own})
        self._fired = app.broker.fired(self._names)

    @property
    def source(self) -> ScheduleSource:
        """Where pauses are kept; raises CeleriacError where there is no such place."""
        if self._timetable.source is None:
            raise CeleriacError(
                'Pauses are kept in Django\'s database, and this project has none. Add "celeriac.django" to '
                "INSTALLED_APPS, or take the entry out of beat_schedule."
            )
        return self._timetable.source

    @property
    def paused(self) -> bool:
        """Whether the whole schedule is paused."""
        return self._timetable.plan is not None and self._timetable.plan.paused

    def entries(self) -> list[Seen]:
        """Return all entries, by name."""
        return [self._seen(name) for name in self._names]

    def find(self, name: str) -> Entry:
        """Return an entry, paused or not; raises CeleriacError with the nearest name where there is none."""
        entry = self._timetable.told_of(name)
        if entry is not None:
            return entry
        if name in self._names:
            raise CeleriacError(f"The entry {name!r} {self._seen(name).words}.")
        near = get_close_matches(name, self._names, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CeleriacError(f"There is no entry {name!r}.{hint} List them: celeriac schedule list")

    def coming(self, name: str | None = None) -> Iterator[tuple[float, str]]:
        """Yield the due times to come and what is due then, the next first: of one entry, or of all."""
        names = self._timetable.entries.keys() if name is None else self._timetable.entries.keys() & {name}
        return merge(*(self._slots(each) for each in names))

    def _slots(self, name: str) -> Iterator[tuple[float, str]]:
        entry = self._timetable.entries[name]
        fired = self._fired.get(name)
        if fired is None:
            fired = Fired(self._timetable.first_slot(name, self.now), 0, 0.0)
        if entry.one_off and fired.count and fired.at >= entry.since:
            return iter(())
        return ((slot, name) for slot in due.upcoming(entry, fired.slot, self.now, self.zone))

    def _seen(self, name: str) -> Seen:
        kept = None if self._timetable.plan is None else self._timetable.plan.entries.get(name)
        entry = self._timetable.told_of(name)
        active = name in self._timetable.entries
        in_code = kept is None or kept.given is None
        fired = self._fired.get(name)
        last, runs = (0.0, 0) if fired is None else (fired.at, fired.count)
        if kept is not None:
            last, runs = max(last, kept.last), max(runs, kept.runs)
        slot, _ = next(chain(self._slots(name) if active else (), ((None, ""),)))
        return Seen(
            name,
            entry,
            where(self.app, name) if in_code and not (kept is not None and kept.problem) else "",
            paused=entry is not None and not active,
            problem="" if kept is None else kept.problem,
            last=last or None,
            runs=runs,
            next=slot,
        )
