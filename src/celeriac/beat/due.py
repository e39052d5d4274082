"""Which due times an entry is to fire for, given how far it has fired and the time. Pure."""

from datetime import UTC, datetime, timedelta, tzinfo

from msgspec import Struct

from celeriac.beat.entries import Entry, Schedule

#: What is found later than that was missed: nobody was there when it was due. Seconds.
LATE = 60.0
#: Of very many that were missed, `run_all` runs so many, the last ones.
MOST = 100
#: Steps back from now in which to look for the last due time: each some dozens of the one before.
_STEPS = tuple(
    timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86400, 32 * 86400, 366 * 86400, 12 * 366 * 86400)
)


class Due(Struct):
    """For which due times to publish, the oldest first, and up to which the entry has fired then. Unix times."""

    slots: list[float]
    upto: float


def next_slot(entry: Entry, fired_up_to: float, zone: tzinfo) -> float | None:
    """Return when an entry is due next; None: never."""
    return _after(entry.schedule, fired_up_to, zone)


def due(entry: Entry, slot: float, now: float, zone: tzinfo) -> Due:
    """Return what to do about an entry that was due at `slot`, which is not after `now`."""
    last = _last(entry.schedule, slot, now, zone)
    if entry.deadline is not None and now - last > entry.deadline:
        return Due([], last)
    if entry.missed == "run_all":
        slots = _all(entry.schedule, slot, last, now, zone)
        return Due(slots, slots[-1])
    if entry.missed == "skip" and now - last > LATE:
        return Due([], last)
    return Due([last], last)


def _all(schedule: Schedule, slot: float, last: float, now: float, zone: tzinfo) -> list[float]:
    every = _interval(schedule)
    # Of an interval's the others need not be walked through.
    slots = [max(slot, round(last - (MOST - 1) * every, 6)) if every else slot]
    while True:
        following = _after(schedule, slots[-1], zone)
        if following is None or following > now:
            return slots[-MOST:]
        slots.append(following)
        if len(slots) > 10 * MOST:
            del slots[:-MOST]


def _interval(schedule: Schedule) -> float:
    """Return the seconds of an interval that is counted from the last due time, 0.0 for other schedules."""
    every = getattr(schedule, "run_every", None)
    if isinstance(every, timedelta) and not getattr(schedule, "relative", False):
        return every.total_seconds()
    return 0.0


def _last(schedule: Schedule, slot: float, now: float, zone: tzinfo) -> float:
    """Return the last due time that is not after `now`, at least `slot`."""
    every = _interval(schedule)
    if every:
        return round(slot + (now - slot) // every * every, 6)  # as exact as `datetime`
    for step in _STEPS:
        first = _after(schedule, max(slot - 0.001, now - step.total_seconds()), zone)
        if first is not None and first <= now:
            return _walk(schedule, max(first, slot), now, zone)
    return slot


def _walk(schedule: Schedule, slot: float, now: float, zone: tzinfo) -> float:
    while True:
        following = _after(schedule, slot, zone)
        if following is None or following > now:
            return slot
        slot = following


def _after(schedule: Schedule, moment: float, zone: tzinfo) -> float | None:
    found = schedule.next_after(datetime.fromtimestamp(moment, UTC), zone)
    return None if found is None else found.timestamp()
