"""What somebody has to do for the living now and then: renew leases, take over from the dead, tidy up.

Called every few seconds by the supervisor, or by a thread of a worker without one. Never runs tasks.
"""

import logging
import time
from collections.abc import Callable, Sequence

from celeriac.broker import Broker
from celeriac.errors import BrokerError, CeleriacError
from celeriac.store import ResultStore
from celeriac.worker.recovery import Recovery

logger = logging.getLogger("celeriac.worker")

_EXPIRE_EVERY = 60.0
_EXPIRE_BATCH = 1000


class Caretaker:
    """Renews the leases of `consumers()` and of `own`, and adopts what other consumers' expired leases leave.

    Grace: after a time in which it could not reach the broker itself, everybody gets half a lease to renew
    before it takes anything over.
    """

    def __init__(
        self,
        broker: Broker,
        store: ResultStore | None,
        recovery: Recovery,
        own: str,
        lease: float,
        consumers: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broker = broker
        self.store = store
        self.recovery = recovery
        self.own = own
        self.lease = lease
        self.consumers = consumers
        self._clock = clock
        self._renewed = clock()
        self._reap_from = clock() + lease / 2
        self._expired_at = clock()
        self._away = False
        self.next = clock()

    @property
    def interval(self) -> float:
        """Seconds between two turns."""
        return self.lease / 3

    def turn(self) -> set[str]:
        """Do what is due; return the consumers that have lost their lease. Never raises."""
        now = self._clock()
        self.next = now + self.interval
        try:
            return self._turn(now)
        except BrokerError as error:
            if not self._away:
                logger.warning("%s Leases cannot be renewed until it is back.", error)
            self._away = True
            self.next = self._clock() + min(1.0, self.interval)
        except CeleriacError as error:
            logger.error("%s", error)
        return set()

    def _turn(self, now: float) -> set[str]:
        lost = self.broker.renew([self.own, *self.consumers()], self.lease)
        now = self._clock()
        if now - self._renewed > self.lease / 2:
            self._reap_from = now + self.lease / 2
        self._renewed = now
        self._away = False
        if self.own in lost:
            self.broker.register(self.own, self.lease)
            lost.discard(self.own)
        if now >= self._reap_from:
            self._reap()
        self.broker.maintain()
        if self.store is not None and now - self._expired_at > _EXPIRE_EVERY:
            self._expired_at = now
            self.store.expire(_EXPIRE_BATCH)
        return lost

    def _reap(self) -> None:
        for dead in self.broker.expired():
            counts = self.recovery.consumer(dead, self.own)
            logger.warning(
                "Consumer %s has not been heard of for %g s: %d messages go back to their queues, %d are dead letters.",
                dead, self.lease, counts.returned + counts.rerun, counts.dead,
            )  # fmt: skip
