"""The fields of a crontab: from what is written, `8-17` or `mon-fri`, to the numbers that it stands for. Pure."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from celeriac.errors import CeleriacError

#: A field as it may be written.
Cronspec = int | str | Iterable[int]

_PART = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\w*))?")
_MONTHS = "january february march april may june july august september october november december".split()
_WEEKDAYS = "sunday monday tuesday wednesday thursday friday saturday".split()


class ParseException(CeleriacError, ValueError):
    """A field of a crontab that cannot be read."""


class Field(NamedTuple):
    """One of the five: its name, its range, and the words that may stand for its numbers."""

    name: str
    low: int
    high: int
    words: tuple[tuple[str, int], ...] = ()

    def numbers(self, written: Cronspec) -> tuple[int, ...]:
        """Return the numbers that something written stands for, in order; raises ValueError or TypeError."""
        if isinstance(written, str):
            return _numbers(self, written)
        return self._sorted(written, [written] if isinstance(written, int) else self._checked(written))

    def _sorted(self, written: Cronspec, found: list[int]) -> tuple[int, ...]:
        numbers = tuple(sorted(set(found)))
        if not numbers:
            raise ValueError(f"{self.name} is {written!r}: without a number in it, it is never due.")
        for number in numbers:
            if not self.low <= number <= self.high:
                raise ValueError(
                    f"{self._about(written)}: {number} is not in {self.low}-{self.high}.{self._hint(number)}"
                )
        return numbers

    def _checked(self, written: Iterable[int]) -> list[int]:
        try:
            found = list(written)
        except TypeError:
            raise TypeError(f"{self.name} is {written!r}; it is a number, a text, or numbers.") from None
        for number in found:
            if not isinstance(number, int):
                raise TypeError(f"{self.name} has {number!r} in it; give whole numbers, or one text.")
        return found

    def _read(self, written: str) -> list[int]:
        found = []
        for part in written.split(","):
            found += self._part(part.strip(), lambda why: ParseException(f"{self._about(written)}: {why}"))
        return found

    def _part(self, part: str, wrong: Callable[[str], ParseException]) -> list[int]:
        if not part:
            raise wrong("a part between commas is empty.")
        matched = _PART.fullmatch(part)
        if matched is None or (matched["first"] == "*" and matched["last"]):
            raise wrong(f"{part!r} is none of *, */n, a, a-b, a-b/n.")
        first, last, step = matched.group("first", "last", "step")
        if step is not None and first != "*" and last is None:
            raise wrong(f"{part!r} has a step and no range: write {first}-{self.high}/{step}.")
        if first == "*":
            numbers = list(range(self.low, self.high + 1))
        else:
            numbers = self._range(self._number(first, wrong), self._number(last or first, wrong))
        if step is None:
            return numbers
        if not step.isdecimal() or int(step) == 0:
            raise wrong(f"the step of {part!r} is not a number above 0.")
        return numbers[:: int(step)]

    def _range(self, first: int, last: int) -> list[int]:
        if first <= last:
            return list(range(first, last + 1))
        # Over the end and on from the beginning: fri-mon, 22-4.
        return [*range(first, self.high + 1), *range(self.low, last + 1)]

    def _number(self, text: str, wrong: Callable[[str], ParseException]) -> int:
        if text.isdecimal():
            number = int(text)
            if not self.low <= number <= self.high:
                raise wrong(f"{number} is not in {self.low}-{self.high}.{self._hint(number)}")
            return number
        word = text.lower()
        for name, number in self.words:
            if len(word) >= 3 and name.startswith(word):
                return number
        known = f" or one of {', '.join(name[:3] for name, _ in self.words)}" if self.words else ""
        raise wrong(f"{text!r} is not a number{known}.")

    def _about(self, written: object) -> str:
        return f"{self.name} {written!r} cannot be read"

    def _hint(self, number: int) -> str:
        return " Sunday is 0." if self.name == "day_of_week" and number == 7 else ""


@lru_cache(1024)
def _numbers(field: Field, written: str) -> tuple[int, ...]:
    """Of thousands of crontabs most have the same few texts in their fields."""
    return field._sorted(written, field._read(written))


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_WEEK = Field("day_of_week", 0, 6, tuple(zip(_WEEKDAYS, range(7), strict=True)))
DAY_OF_MONTH = Field("day_of_month", 1, 31)
MONTH_OF_YEAR = Field("month_of_year", 1, 12, tuple(zip(_MONTHS, range(1, 13), strict=True)))


class crontab_parser:  # noqa: N801 - Celery's name
    """Reads one field: `crontab_parser(24).parse("8-17/3")`. `max_` is how many values it has, from `min_` on."""

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_
        known = {(7, 0): DAY_OF_WEEK, (12, 1): MONTH_OF_YEAR}
        self._field = known.get((max_, min_)) or Field("the field", min_, min_ + max_ - 1)

    def parse(self, spec: str) -> set[int]:
        """Return the numbers that a text stands for; raises ParseException."""
        return set(self._field.numbers(spec))
