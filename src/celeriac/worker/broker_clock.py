"""The time by the broker's clock, for a worker whose own may be wrong.

What is due and what has expired is said in times of day. A worker whose clock is an hour off would retry an hour early
or late, or drop what has not expired; so it reckons by the clock that all workers share.
"""

import logging
import time
from collections.abc import Callable

from celeriac.broker import Broker

logger = logging.getLogger("celeriac.worker")

_EVERY = 60.0  # seconds between two looks at the broker's clock
#: Seconds by which clocks may differ: less is not told from the way there and back.
_TOLERANCE = 1.0
_TOLD = 5.0
#: An answer that took longer says little of the time that it left: half of that may be the error. It is asked again.
_QUICK, _TRIES = 0.5, 3


class BrokerClock:
    """Called, it tells the time in unix seconds. `next` is when to measure again, on the monotonic clock.

    Unless `quiet`, it says so where this machine's clock is off.
    """

    def __init__(
        self, broker: Broker, *, quiet: bool = False, time_of_day: Callable[[], float] = time.time
    ) -> None:
        self.broker = broker
        self._time_of_day = time_of_day
        self.next = 0.0
        self.offset = 0.0
        self._told = quiet

    def __call__(self) -> float:
        return self._time_of_day() + self.offset

    def measure(self, now: float) -> None:
        """Find out by how much this machine's clock differs; raises BrokerError."""
        took, offset = self._ask()
        for _ in range(_TRIES - 1):
            if took > _QUICK:
                took, offset = min((took, offset), self._ask())
        self.offset = offset if abs(offset) > _TOLERANCE + took else 0.0
        self.next = now + _EVERY
        if abs(self.offset) > _TOLD and not self._told:
            self._told = True
            logger.warning(
                "This machine's clock is %.0f s %s the broker's, which decides what is due and what has expired.",
                abs(self.offset), "behind" if self.offset > 0 else "ahead of",
            )  # fmt: skip

    def _ask(self) -> tuple[float, float]:
        """Return how long the answer took, and by how much the broker's clock is ahead of this machine's."""
        before = self._time_of_day()
        theirs = self.broker.now()
        after = self._time_of_day()
        return after - before, theirs - (before + after) / 2
