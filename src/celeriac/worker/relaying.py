"""What a worker does for the outbox: every two seconds, what senders have left there goes to the broker.

Called by the supervisor, or by the caretaker's thread of a worker without one. Costs nothing where there is no outbox.
"""

import logging
import math
import time
from collections.abc import Callable

from celeriac.errors import CeleriacError, sentences
from celeriac.hooks import Outbox

logger = logging.getLogger("celeriac.worker")

_EVERY = 2.0  # seconds; what is younger its sender is seeing to
_SHARE = (
    5  # of the worker's time at most one in so many goes into that: a database that is silent takes its time
)


class Relaying:
    """Sweeps the outbox when it is due."""

    def __init__(self, outbox: Outbox | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.outbox = outbox
        self._clock = clock
        #: When it is to be called again, monotonic.
        self.next = math.inf if outbox is None else 0.0
        self._failing = False

    def look(self) -> None:
        """Sweep. Never raises."""
        if self.outbox is None:
            return
        begun = self._clock()
        try:
            all_of_it = self.outbox.sweep()
        except CeleriacError as error:
            if not self._failing:
                logger.warning("%s", sentences(error, "What senders have left in the outbox waits there."))
            self._failing, all_of_it = True, True
        else:
            self._failing = False
        over = self._clock()
        self.next = over + (max(_EVERY, (_SHARE - 1) * (over - begun)) if all_of_it else 0.0)
