"""Which due times an entry is to fire for, given how far it has fired and the time. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec import Struct

from celeriac.beat.entries import Entry, Schedule

#: What is found later than that was missed: nobody was there when it was due. Seconds.
LATE = 60.0
#: What comes before a moment that is to be found itself, as exact as `datetime`.
_INSTANT = 1e-6
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
    fired_up_to = max(fired_up_to, entry.since)
    if entry.start is None:
        slot = _after(entry.schedule, fired_up_to, zone)
    elif every := _interval(entry.schedule):
        # From the start on, whenever it was first seen.
        slot = round(entry.start + max(0.0, (fired_up_to - entry.start) // every + 1) * every, 6)
    else:
        slot = _after(entry.schedule, max(fired_up_to, entry.start - _INSTANT), zone)
    return None if slot is None or (entry.end is not None and slot > entry.end) else slot


def upcoming(entry: Entry, fired_up_to: float, now: float, zone: tzinfo) -> Iterator[float]:
    """Yield the due times of an entry that are after `now`, the next first."""
    slot = next_slot(entry, fired_up_to, zone)
    if slot is not None and slot <= now:
        slot = next_slot(entry, _last(entry.schedule, slot, now, zone), zone)
    while slot is not None:
        yield slot
        slot = None if entry.one_off else next_slot(entry, slot, zone)


def due(entry: Entry, slot: float, now: float, zone: tzinfo) -> Due:
    """Return what to do about an entry that was due at `slot`, which is not after `now`."""
    until = now if entry.end is None else min(now, entry.end)
    last = _last(entry.schedule, slot, until, zone)
    if entry.deadline is not None and now - last > entry.deadline:
        return Due([], last)
    if entry.missed == "run_all" and not entry.one_off:
        slots = _all(entry, slot, last, until, zone)
        return Due(slots, slots[-1])
    if entry.missed == "skip" and now - last > LATE:
        return Due([], last)
    return Due([last], last)


def _all(entry: Entry, slot: float, last: float, until: float, zone: tzinfo) -> list[float]:
    every = _interval(entry.schedule)
    # Of an interval's the others need not be walked through.
    slots = [max(slot, round(last - (entry.most - 1) * every, 6)) if every else slot]
    while True:
        following = _after(entry.schedule, slots[-1], zone)
        if following is None or following > until:
            return slots[-entry.most :]
        slots.append(following)
        if len(slots) > 10 * entry.most:
            del slots[: -entry.most]


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
    following = _after(schedule, slot, zone)
    if following is None or following > now:
        return slot
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
