"""The contract for schedules that people edit: entries that are kept somewhere else than in code.

Beat reads them beside those in code, and says what has fired. It asks about once in half a second, so what it asks has
to be cheap. What is due is beat's business alone, and how far an entry has fired is the broker's: what is written down
here about runs is for people. Every method may raise StoreError; beat then goes on with what it knows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

#: How many of the last runs of an entry people can look up.
RECENT = 20


class Kept(Struct):
    """An entry that is kept. The same object as long as nothing about it has changed."""

    name: str
    #: In the form of the setting `beat_schedule`; None: what the code says holds, where that has an entry of this name.
    given: Mapping[str, Any] | None
    enabled: bool = True
    #: Due times up to then are over, a unix time.
    since: float = 0.0
    #: What was written down last: for which due time it has fired, and how many firings the broker had counted.
    slot: float = 0.0
    count: int = 0
    #: For people, as it was when this was read: the last run, a unix time, 0 for never, and how many there were.
    last: float = 0.0
    runs: int = 0
    #: Why it cannot be read; empty where it can.
    problem: str = ""


class Plan(Struct):
    """All that is kept: the entries by name, and whether the whole schedule is paused."""

    entries: dict[str, Kept]
    paused: bool = False
    #: Due times up to then are over, of all entries: it was paused until then.
    since: float = 0.0


class Run(Struct):
    """An entry has fired for `slot`, at a time; `count` is what the broker has counted, `uncounted` what it has not.

    `sent` are the ids of its tasks, the oldest first, of many the last `RECENT`.
    """

    entry: str
    slot: float
    at: float
    count: int
    uncounted: int = 0
    sent: tuple[str, ...] = ()


class FromCode(Struct):
    """An entry that stands in code, for people: in the form of `beat_schedule`, and where it stands."""

    name: str
    given: Mapping[str, Any]
    where: str


class ScheduleSource(Protocol):
    """Where entries are kept that people edit."""

    def changed(self) -> bool:
        """Return whether anything may have changed since it was last read."""

    def read(self) -> Plan:
        """Return all that is kept."""

    def note(self, runs: Sequence[Run]) -> None:
        """Write down what has fired, each once at most, and switch off what is over when it has run."""

    def show(self, entries: Sequence[FromCode]) -> None:
        """Let people see what stands in code: these, and no others."""

    def pause(self, name: str | None) -> None:
        """Have an entry pause, whether it is kept here or stands in code; None: the whole schedule."""

    def resume(self, name: str | None) -> None:
        """Undo `pause`. What was due in between is over."""

    def close(self) -> None:
        """Close what this thread has opened."""
