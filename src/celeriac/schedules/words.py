"""Schedules in plain words, for people who look at them. Pure; called by the schedules."""

from collections.abc import Callable, Sequence
from datetime import timedelta

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
_MONTHS = "January February March April May June July August September October November December".split()
#: More times of the day than that are told by their minutes and hours.
_MOST_TIMES = 6

Numbers = Sequence[int]


def every(interval: timedelta) -> str:
    """Return "every 15 minutes", in the largest unit of which it is a whole number."""
    for unit, seconds in _UNITS:
        count, rest = divmod(interval, timedelta(seconds=seconds))
        if not rest:
            return f"every {unit}" if count == 1 else f"every {count} {unit}s"
    return f"every {interval.total_seconds():g} seconds"


def measured(seconds: float) -> str:
    """Return "1.50 hours", as Celery writes intervals."""
    seconds = round(seconds, 2)
    for unit, size in _UNITS:
        if seconds >= size:
            count = seconds / size
            return f"{count:.2f} {unit}{'s' if count > 1 else ''}"
    return "now"


def crontab(minutes: Numbers, hours: Numbers, weekdays: Numbers, days: Numbers, months: Numbers) -> str:
    """Return "at 04:00 on Mondays" for the numbers of a crontab."""
    time, date = _time(minutes, hours), _date(weekdays, days, months)
    if date:
        return f"{time} {date}"
    return time if time.startswith("every") else f"{time} every day"


# -- the time of the day


def _time(minutes: Numbers, hours: Numbers) -> str:
    step = _step(hours, 24)
    if len(minutes) == 1 and len(hours) > 2 and step is not None:
        past = f" at :{minutes[0]:02}" if minutes[0] else ""
        return ("every hour" if step == 1 else f"every {step} hours") + past
    if len(minutes) * len(hours) <= _MOST_TIMES:
        return "at " + _list([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    step = _step(minutes, 60)
    if step is not None:
        often = "every minute" if step == 1 else f"every {step} minutes"
        return often if len(hours) == 24 else f"{often} {_span(minutes, hours)}"
    text = _list([f":{minute:02}" for minute in minutes])
    return f"every hour at {text}" if len(hours) == 24 else f"at {text} of the hours {_ranges(hours, str)}"


def _span(minutes: Numbers, hours: Numbers) -> str:
    if hours[-1] - hours[0] == len(hours) - 1:
        return f"from {hours[0]:02}:{minutes[0]:02} to {hours[-1]:02}:{minutes[-1]:02}"
    return f"of the hours {_ranges(hours, str)}"


def _step(numbers: Numbers, count: int) -> int | None:
    """Return n if these are all that `*/n` stands for, evenly, the last to the first of the next round too."""
    if len(numbers) < 2 or count % len(numbers):
        return None
    step = count // len(numbers)
    return step if list(numbers) == list(range(0, count, step)) else None


# -- the date


def _date(weekdays: Numbers, days: Numbers, months: Numbers) -> str:
    parts = []
    if len(weekdays) < 7:
        # From Monday on, as people count.
        order = sorted(weekdays, key=lambda day: (day - 1) % 7)
        if len(order) > 2 and [(day - 1) % 7 for day in order] == list(
            range((order[0] - 1) % 7, (order[0] - 1) % 7 + len(order))
        ):
            parts.append(f"from {_WEEKDAYS[order[0]]} to {_WEEKDAYS[order[-1]]}")
        else:
            parts.append("on " + _list([f"{_WEEKDAYS[day]}s" for day in order]))
    of = _ranges(months, lambda month: _MONTHS[month - 1]) if len(months) < 12 else ""
    if len(days) < 31:
        on = "that fall on" if parts else "on"
        if parts and parts[0].startswith("from"):
            on = "where that is"
        parts.append(f"{on} the {_ranges(days, _ordinal)} of {of or 'the month'}")
    elif of:
        parts.append(f"from {of}" if len(months) > 2 and " and " not in of else f"in {of}")
    return " ".join(parts)


def _ordinal(day: int) -> str:
    ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"


# -- lists


def _ranges(numbers: Numbers, name: Callable[[int], str]) -> str:
    """Return "1 to 3, 7 and 9"; two that follow each other are two."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = []
    for run in runs:
        texts += [f"{name(run[0])} to {name(run[-1])}"] if len(run) > 2 else [name(number) for number in run]
    return _list(texts)


def _list(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
