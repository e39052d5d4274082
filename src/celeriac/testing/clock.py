"""The clock of a test: it runs as the real one does, and can be set ahead and held.

Read by the broker, the app and the executor of a `celeriac.testing.Queue`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo


class Clock:
    """Calling it returns the time, in unix seconds."""

    __slots__ = ("_ahead", "_held")

    def __init__(self) -> None:
        self._ahead = 0.0
        self._held: float | None = None

    def __call__(self) -> float:
        return time.time() + self._ahead if self._held is None else self._held

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let time stand still inside the block, but for `move_to`; it goes on from there."""
        self._held = self()
        try:
            yield
        finally:
            self._ahead, self._held = self._held - time.time(), None

    def move_to(self, moment: float) -> None:
        """Go to a later time, while held; an earlier one changes nothing."""
        self._held = max(self(), moment)

    def moment(self, until: float | timedelta | datetime, timezone: str) -> float:
        """Return the unix time of a datetime, or of seconds or a timedelta from now."""
        if isinstance(until, datetime):
            return unix_time(until, timezone)
        return self() + (until.total_seconds() if isinstance(until, timedelta) else until)


def unix_time(moment: datetime, timezone: str) -> float:
    """Return the unix time of a datetime; without a zone it is one of the project's."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(timezone))).timestamp()
