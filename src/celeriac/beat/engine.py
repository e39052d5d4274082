"""The engine of beat: one of several, elected, fires the entries of the schedule.

An entry's due time counts as fired in the step that publishes its task (`Broker.fire`). So two beats that both take
themselves for elected, or one that is killed at any moment, fire each due time once. Due times are counted from the
last one, by the broker's clock: neither does an entry drift, nor do steps of this machine's clock change anything.
Which entries there are, the timetable knows; they may come, change and go at any time.
"""

import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from zoneinfo import ZoneInfo

from celeriac import signals
from celeriac.app import Celeriac
from celeriac.beat import ahead, due
from celeriac.beat.agenda import Agenda, Item
from celeriac.beat.calls import call_for, task_id
from celeriac.beat.entries import Entry
from celeriac.beat.timetable import Timetable
from celeriac.broker import Fired, Firing, Publication
from celeriac.errors import BrokerError, CeleriacError
from celeriac.overlap import LONGEST
from celeriac.publishing import published
from celeriac.pulse import Pulse
from celeriac.waker import Waker

logger = logging.getLogger("celeriac.beat")

OFFICE = "beat"
#: Seconds for which one is elected, and between two elections: another takes over within the sum of both.
TERM, ELECTION = 6.0, 2.0
#: How many entries fire in one step at the broker at most.
_BATCH = 500
#: How many messages are made ahead before looking whether something is due: what takes some milliseconds.
_SOME = 50
_SHOWN = 5  # names in a line of the log
_LONGEST_PAUSE = 2.0  # seconds between attempts to reach the broker
_AT_ONCE = 1.0  # seconds after its due time in which an entry fires in time


class Beat:
    """Fires the entries of an app's schedule. `hostname` is its name, in the log and to the others."""

    def __init__(self, app: Celeriac, hostname: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self.broker = app.broker
        self.name = f"{hostname}/{uuid.uuid4().hex[:12]}"
        self.zone = ZoneInfo(app.conf.timezone or "UTC")
        self.timetable = Timetable(app)
        self.waker = Waker()
        self._pulse = Pulse(app.broker)
        self.elected = False
        self._clock = clock
        self._stopping = False
        self._offset = 0.0
        self._election = clock()
        self._look_at = clock()
        self._fired: dict[str, Fired] = {}
        self._agenda = Agenda()
        self._ahead = ahead.Ahead(app, self.zone)
        #: Entries that are due once and have sent themselves, which the broker does not count.
        self._over: set[str] = set()
        self._away = ""
        self._pause = 0.0

    @property
    def entries(self) -> dict[str, Entry]:
        """The entries that hold now, by name."""
        return self.timetable.entries

    def stop(self) -> None:
        """Have `run` return; may be called from a signal handler or another thread."""
        self._stopping = True
        self.waker.poke()

    def run(self) -> None:
        """Fire what is due, until stopped."""
        signals.beat_init.send(self)
        logger.info("%s ready. Entries: %d, time zone: %s.", self.name, self.timetable.count(), self.zone.key)
        while not self._stopping:
            try:
                seconds = self.turn()
                self._at_ease()
            except BrokerError as error:
                seconds = self._bear(error)
            self.waker.wait(seconds)
            self.waker.clear()
        self.timetable.close()
        try:
            self.broker.resign(OFFICE, self.name)
        except BrokerError as error:
            logger.debug("Could not resign: %s", error)
        logger.info("%s has stopped.", self.name)

    def turn(self) -> float:
        """Do what is to be done now; return in how many seconds to come again. Raises BrokerError."""
        now = self._clock()
        anew = now >= self._election
        if anew:
            self._elect(now)
        if not self.elected:
            return max(0.0, self._election - self._clock())
        if now >= self._look_at:
            self._look()
        self._fire()
        if anew:
            self._pulse.note(self._nothing_late_before())
        if self.timetable.write() or self._make_ahead():
            return 0.0
        until = min(self._election, self._look_at) - self._clock()
        if (first := self._agenda.first) is not None:
            until = min(until, first - self._now())
        if (far := self._agenda.first_far) is not None:
            until = min(until, far - ahead.LEAD - self._now())
        return max(0.0, until)

    def _now(self) -> float:
        """The broker's time."""
        return self._clock() + self._offset

    def _nothing_late_before(self) -> float:
        first, now = self._agenda.first, self._now()
        return first if first is not None and first < now - _AT_ONCE else now + TERM

    def _elect(self, now: float) -> None:
        holder = self.broker.elect(OFFICE, self.name, TERM)
        self._election = now + ELECTION
        self._offset = self.broker.now() - self._clock()
        was, self.elected = self.elected, holder == self.name
        if self.elected and not was:
            logger.info("This beat is elected and fires the schedule.")
            self._take_office()
        elif was and not self.elected:
            logger.info("%s fires the schedule; this one stands by.", holder)
            self._agenda.clear()

    # -- how far the entries are

    def _take_office(self) -> None:
        """Find out how far each entry has fired."""
        _, seconds = self.timetable.look(self._now())
        self._look_at = self._clock() + seconds
        self._fired = {}
        self._agenda.clear()
        self._ahead.clear()
        self._take_up(self.entries)
        # What one that is paused now fired before, for a beat that did not live to write it down.
        for name, fired in self.broker.fired(self.timetable.resting()).items():
            if not self.timetable.is_another(name, fired):
                self.timetable.ran(name, fired)

    def _look(self) -> None:
        """Take up what has come or changed since the last look, and drop what has gone."""
        changed, seconds = self.timetable.look(self._now())
        self._look_at = self._clock() + seconds
        if changed:
            logger.info("The schedule has changed: %s.", _names(changed))
        for name in changed:
            self._agenda.drop(name)
            self._ahead.drop(name)
        self._take_up([name for name in changed if name in self.entries])
        if self.timetable.removed:
            self.broker.unschedule(self.timetable.removed)
            self.timetable.removed.clear()

    def _take_up(self, names: Collection[str]) -> None:
        """Plan entries from where they are; one that is new is due for the first time after now."""
        if not names:
            return
        known, now = self.broker.fired(names), self._now()
        others = [name for name, fired in known.items() if self.timetable.is_another(name, fired)]
        self.broker.unschedule(others)
        new = [name for name in names if name not in known or name in others]
        self.broker.fire([Firing(name, self.timetable.first_slot(name, now), None) for name in new])
        found = self.broker.fired(names)
        self._fired.update(found)
        self._over.difference_update(names)
        for name, fired in found.items():
            self.timetable.ran(name, fired)
            self._plan(self.entries[name])

    def _plan(self, entry: Entry) -> None:
        self._agenda.drop(entry.name)
        fired = self._fired[entry.name]
        if entry.one_off and (entry.name in self._over or (fired.count and fired.at >= entry.since)):
            return
        try:
            slot = due.next_slot(entry, fired.slot, self.zone)
        except Exception:
            # A project's own schedule: one that fails must not keep the others from being sent.
            logger.exception(
                "When %r is due next cannot be told; it is left out until beat starts anew.", entry.name
            )
            return
        if slot is not None:
            self._agenda.put(slot, entry.name)

    def _make_ahead(self) -> bool:
        """Make some of the messages that are to be sent soon; return whether there were any to make."""
        found = self._agenda.come_near(self._now() + ahead.LEAD, _SOME)
        for slot, name in found:
            self._ahead.make(self.entries[name], slot)
        return bool(found)

    def _fire(self) -> None:
        fired: list[Firing] = []
        try:
            while not self._stopping and self._clock() < self._election:
                now = self._now()
                ready = self._agenda.take(now, _BATCH)
                if not ready:
                    break
                fired += self._fire_all(ready, now)
        finally:
            # Only now, since until it was done the next batch would have had to wait.
            self._go_on_from(fired)

    def _fire_all(self, ready: Iterable[Item], now: float) -> list[Firing]:
        """Fire what is due; return what was tried, without the publications of what was refused."""
        firings, alone = [], []
        for slot, name in ready:
            entry = self.entries[name]
            made = self._ahead.take(entry, slot, now)
            if made is not None:
                firings.append(Firing(name, slot, self._fired[name].slot, (made,), _hold(entry)))
                continue
            try:
                found = due.due(entry, slot, now, self.zone)
            except Exception:
                logger.exception(
                    "Since when %r is due cannot be told; it is left out until beat starts anew.", name
                )
                continue
            if _hold(entry):
                found.slots = found.slots[-1:]  # the others would be skipped for the first
            if now - slot > due.LATE:
                logger.warning("%s", _missed(entry, slot, now, len(found.slots)))
            task = self.app.tasks.get(entry.task)
            publications: tuple[Publication, ...] = ()
            if task is not None and task.sends_itself:
                alone.append((entry, found.slots))
            else:
                publications = tuple(self._publications(entry, found.slots))
            firings.append(Firing(name, found.upto, self._fired[name].slot, publications, _hold(entry)))
        accepted = self.broker.fire(firings)
        tried = self._accepted(firings, accepted)
        for entry, slots in alone:
            if entry.name in accepted:
                self._send(entry, slots)
        return tried

    def _accepted(self, firings: list[Firing], accepted: set[str]) -> list[Firing]:
        refused = [firing.entry for firing in firings if firing.entry not in accepted]
        if refused:
            # Another was quicker, or the entry was taken out: ask how far it is.
            self._fired.update(self.broker.fired(refused))
        self._skip(
            [firing for firing in firings if firing.hold and firing.publications and firing.entry in accepted]
        )
        for firing in firings:
            if firing.entry in accepted:
                self._advance(firing)
            else:
                firing.publications = ()
        return firings

    def _skip(self, firings: list[Firing]) -> None:
        """Find out which were not published as the run before has not ended."""
        found = self.broker.fired([firing.entry for firing in firings]) if firings else {}
        for firing in firings:
            now = found.get(firing.entry)
            if now is not None and now.count == self._fired[firing.entry].count:
                firing.publications = ()
                logger.info(
                    "%r is due and is skipped: the run that was sent before has not ended.", firing.entry
                )

    def _go_on_from(self, fired: list[Firing]) -> None:
        """Plan entries that were due anew, and tell what was sent."""
        for firing in fired:
            self._plan(self.entries[firing.entry])
        sent = [publication for firing in fired for publication in firing.publications]
        for each in sent:
            logger.info("%s is due: sent with the id %s", each.task, each.id)
        if sent and signals.after_task_publish.receivers:
            published(sent)

    def _advance(self, firing: Firing) -> None:
        known, count = self._fired[firing.entry], len(firing.publications)
        now = Fired(firing.slot, known.count + count, self._now() if count else known.at)
        self._fired[firing.entry] = now
        if count:
            self.timetable.ran(firing.entry, now, [each.id for each in firing.publications])

    # -- the tasks

    def _publications(self, entry: Entry, slots: list[float]) -> Iterable[Publication]:
        for slot in slots:
            try:
                yield self.app.publication(entry.task, *call_for(entry, slot, self._now()))
            except CeleriacError as error:
                # As in Celery its time is over all the same: the next one may be better.
                logger.error("The entry %r could not be sent: %s", entry.name, error)
            except Exception:
                logger.exception("The entry %r could not be sent.", entry.name)

    def _send(self, entry: Entry, slots: list[float]) -> None:
        """Send by the task's own `apply_async`, which may do anything."""
        if slots and entry.one_off:
            self._over.add(entry.name)
        fired = self._fired[entry.name]
        now = Fired(fired.slot, fired.count, self._now())
        ids = [task_id(entry.name, slot) for slot in slots]
        self.timetable.ran(entry.name, now, ids, uncounted=len(slots))
        for slot in slots:
            args, kwargs, options = call_for(entry, slot, self._now())
            try:
                self.app.tasks[entry.task].apply_async(args, kwargs, **options)
            except Exception:
                logger.exception("The entry %r could not be sent.", entry.name)

    # -- trouble

    def _bear(self, error: BrokerError) -> float:
        """The broker is away: say it once, and return how long to wait."""
        if not self._away:
            logger.warning("%s Schedules wait for it.", error)
            self._pause = 0.1
        self._away = str(error)
        self.elected = False  # until it is asked again
        self._election = self._clock()
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return self._pause

    def _at_ease(self) -> None:
        if self._away:
            logger.info("The broker is back.")
            self._away = ""


def _hold(entry: Entry) -> float:
    return LONGEST if entry.overlap == "skip" else 0.0


def _names(names: Collection[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _missed(entry: Entry, slot: float, now: float, runs: int) -> str:
    how = {0: "it is skipped", 1: "it runs once"}.get(runs, f"it runs {runs} times")
    return f"The entry {entry.name!r} was due {now - slot:.0f} s ago, and nobody was there: {how}."
