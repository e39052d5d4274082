"""The entries that hold now: those in code, and over them those that people edit.

What is kept under the name of an entry in code holds instead of it, if it says when; else it only tells whether the
entry is paused. Called by the engine, between two firings. While what is kept cannot be read, what was read last holds.
"""

import logging
from collections.abc import Sequence
from itertools import islice

import msgspec

from celeriac.app import Celeriac
from celeriac.beat import entries
from celeriac.beat.calls import task_id
from celeriac.beat.entries import Entry
from celeriac.broker import Fired
from celeriac.errors import CeleriacError, StoreError
from celeriac.schedule import RECENT, Kept, Plan, Run, ScheduleSource
from celeriac.schedules import clocked

logger = logging.getLogger("celeriac.beat")

#: Seconds between two looks at what people edit, and after one that failed.
LOOK, LOOK_AGAIN = 0.5, 5.0
#: An entry that has never run, and was made so much later than another of its name fired, is another one. Seconds:
#: more than clocks differ by.
_MUCH_LATER = 60.0
#: How many runs are written down at once: meanwhile nothing fires, and nobody else can write to SQLite.
_SOME = 500


class Timetable:
    """The entries of an app, by name, and where those that people edit are kept."""

    def __init__(self, app: Celeriac) -> None:
        self.code = entries.read(app)
        self.source = source_of(app)
        self.entries: dict[str, Entry] = dict(self.code)
        #: Names that were taken out for good since somebody asked.
        self.removed: set[str] = set()
        #: What is kept, as it was read last.
        self.plan: Plan | None = None
        self._app = app
        #: What was made of what is kept, None where it cannot be read.
        self._made: dict[str, tuple[Kept, Entry | None]] = {}
        #: Entries, and the same after a pause.
        self._moved: dict[str, tuple[Entry, Entry]] = {}
        self._runs: dict[str, Run] = {}
        self._shown = False
        self._away = False

    # -- what holds

    def count(self) -> int:
        """Return how many entries there are that are on, as far as that can be read."""
        if self.source is None:
            return len(self.code)
        try:
            plan = self.source.read()
        except StoreError:
            return len(self.code)  # `look` tells of it
        kept = plan.entries.values()
        on = {each.name for each in kept if each.enabled and each.given is not None}
        off = {each.name for each in kept if not each.enabled or each.problem}
        return 0 if plan.paused else len((self.code.keys() - off) | on)

    def look(self, now: float) -> tuple[set[str], float]:
        """Return the names of entries that have come, gone or changed, and in how many seconds to look again."""
        if self.source is None:
            return set(), float("inf")
        try:
            if self.plan is not None and not self.source.changed():
                return set(), self._came_back()
            changed = self.read(now)
        except StoreError as error:
            return set(), self._bear(error)
        return changed, self._came_back()

    def read(self, now: float) -> set[str]:
        """Read what is kept, and return the names of entries that have come, gone or changed; raises StoreError."""
        if self.source is None:
            return set()
        plan = self.source.read()
        was, self.entries = self.entries, self._merged(plan, now)
        if self.plan is not None:
            self.removed |= self.plan.entries.keys() - plan.entries.keys() - self.code.keys()
        self.plan = plan
        changed = {
            name
            for name, entry in self.entries.items()
            if (old := was.get(name)) is not entry and old != entry
        }
        return changed | (was.keys() - self.entries.keys())

    def _merged(self, plan: Plan, now: float) -> dict[str, Entry]:
        made = {name: self._entry(kept, now) for name, kept in plan.entries.items()}
        self._made = {name: (kept, made[name]) for name, kept in plan.entries.items()}
        if plan.paused:
            return {}
        held = {name: self._from(plan.since, each) for name, each in self.code.items() if name not in made}
        for name, entry in made.items():
            if entry is not None and plan.entries[name].enabled:
                held[name] = self._from(plan.since, entry)
        return held

    def _entry(self, kept: Kept, now: float) -> Entry | None:
        """Return what is kept as an entry, the same one as long as it is the same; None where it cannot be read."""
        before, entry = self._made.get(kept.name, (None, None))
        if before is kept:
            return entry
        in_code = self.code.get(kept.name)
        since = min(kept.since, now)
        if kept.given is None and not kept.problem:
            return None if in_code is None else msgspec.structs.replace(in_code, since=since)
        try:
            if kept.problem:
                raise CeleriacError(kept.problem)
            made = entries.finish(self._app, entries.entry_of(kept.name, kept.given))
        except CeleriacError as error:
            logger.error("The entry %r is left out: %s", kept.name, error)
            return None
        if in_code is not None:
            logger.info("The entry %r stands in the code too; what was edited holds.", kept.name)
        made.since = since
        return made

    def _from(self, since: float, entry: Entry) -> Entry:
        """Return the entry as it is after a pause of all, which lasted until then."""
        # What is due once is not over because it was due during a pause.
        if entry.since >= since or isinstance(entry.schedule, clocked):
            return entry
        before, moved = self._moved.get(entry.name, (None, entry))
        if before is not entry or moved.since != since:
            moved = msgspec.structs.replace(entry, since=since)
            self._moved[entry.name] = (entry, moved)
        return moved

    def told_of(self, name: str) -> Entry | None:
        """Return an entry whether it is paused or not; None for one that cannot be read, or is not there."""
        _, entry = self._made.get(name, (None, None))
        return entry if name in self._made else self.code.get(name)

    def resting(self) -> list[str]:
        """Return the names of entries that are kept and do not hold now: those that are paused, over or unreadable."""
        return [] if self.plan is None else [name for name in self.plan.entries if name not in self.entries]

    # -- how far they have fired

    def first_slot(self, name: str, now: float) -> float:
        """Return since when due times of an entry count that has never fired."""
        kept = self._kept(name)
        if kept is None:
            return now
        known = kept.slot if kept.given is None else max(kept.slot, self.entries[name].since)
        return min(now, known or now)

    def is_another(self, name: str, fired: Fired) -> bool:
        """Return whether what is known of an entry is about another one, which had its name before."""
        kept = self._kept(name)
        if kept is None or kept.given is None or kept.count:
            return False
        return max(fired.at, fired.slot) < kept.since - _MUCH_LATER

    def ran(self, name: str, fired: Fired, sent: Sequence[str] = (), *, uncounted: int = 0) -> None:
        """Have it written down how far an entry has fired, if somebody wants to know; `sent` are its tasks' ids."""
        kept = self._kept(name)
        if kept is None or not (uncounted or (fired.at and fired.count != kept.count)):
            return
        before = self._runs.get(name)
        # Where another beat has fired, the id of the last task can be told.
        ids = tuple(sent) or (task_id(name, fired.slot),)
        if before is not None:
            uncounted += before.uncounted
            ids = (*before.sent, *ids)
        self._runs[name] = Run(name, fired.slot, fired.at, fired.count, uncounted, ids[-RECENT:])

    def write(self) -> bool:
        """Write down some of what has run, and return whether there is more; what cannot be written is tried again."""
        if self.source is None or self._away:
            return False
        if self._runs:
            some = list(islice(self._runs.values(), _SOME))
            try:
                self.source.note(some)
            except StoreError as error:
                self._bear(error)
                return False
            for run in some:
                del self._runs[run.entry]
                if (kept := self._kept(run.entry)) is not None:
                    kept.slot, kept.count = run.slot, run.count
        if not self._shown and self.plan is not None:
            self._shown = True
            try:
                self.source.show(entries.from_code(self._app, self.code.values()))
            except StoreError as error:
                logger.warning("What stands in the code is not shown beside the rest. %s", error)
        return bool(self._runs)

    def close(self) -> None:
        """Close what was opened."""
        if self.source is not None:
            self.source.close()

    def _kept(self, name: str) -> Kept | None:
        return None if self.plan is None else self.plan.entries.get(name)

    # -- trouble

    def _bear(self, error: StoreError) -> float:
        if not self._away:
            logger.warning("%s Until it can be read, the schedule stays as it is.", error)
        self._away = True
        return LOOK_AGAIN

    def _came_back(self) -> float:
        if self._away:
            logger.info("The schedule can be read again.")
        self._away = False
        return LOOK


def source_of(app: Celeriac) -> ScheduleSource | None:
    """Return where the entries are kept that people edit, None where there is no such place."""
    found: ScheduleSource | None = None if app.framework is None else app.framework.schedule()
    return found
