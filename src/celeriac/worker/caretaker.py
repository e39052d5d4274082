"""What somebody has to do for the living now and then: renew leases, take over from the dead, tidy up.

Called every few seconds by the supervisor, or by a thread of a worker without one. Never runs tasks.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from celeriac import dead_letters
from celeriac.broker import Broker
from celeriac.errors import BrokerError, CeleriacError, sentences
from celeriac.store import ResultStore
from celeriac.worker.death import Death
from celeriac.worker.losses import NotYet
from celeriac.worker.recovery import Recovery, stale_records
from celeriac.worker.revival import Revival

logger = logging.getLogger("celeriac.worker")

_LONGEST_PAUSE = 2.0  # seconds between attempts to reach the broker at the start
_EXPIRE_EVERY = 60.0
_EXPIRE_BATCH = 1000
_EXPIRE_FOR = 0.2  # seconds at a time
_EXPIRE_PAUSE = 0.8
_SOON = 0.1  # seconds until it is asked again what has to be worked out first


class Caretaker:
    """Renews the leases of `consumers()` and of `own`, and adopts what other consumers' expired leases leave.

    What workers that were killed on this host have left in `records`, a directory and the name of the broker, it
    settles exactly and at once. Grace: after a time in which it could not reach the broker itself, everybody gets
    half a lease to renew before it takes anything over. So they do when the time of day has leapt, as it does when
    a machine has slept: its database's clock, by which leases run out, has leapt with it.
    """

    def __init__(
        self,
        broker: Broker,
        store: ResultStore | None,
        recovery: Recovery,
        records: tuple[Path, str],
        own: str,
        lease: float,
        consumers: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self.broker = broker
        self.store = store
        self.recovery = recovery
        self.records = records
        self._foreign: set[Path] = set()
        self.own = own
        self.lease = lease
        self.consumers = consumers
        self._clock = clock
        self._time_of_day = time_of_day
        self._renewed = clock(), time_of_day()
        self._reap_from = clock() + lease / 2
        self._expired_at = clock()
        self._adopting = False
        #: How long dead letters are kept, in seconds; None for ever.
        self.keep_letters: float | None = None
        #: What is left to do of a look through the dead letters.
        self.revival: Revival | None = None
        #: Why broker or store could not be reached the last time; "" if they could.
        self.trouble = ""
        self.next = clock()

    @property
    def interval(self) -> float:
        """Seconds between two turns."""
        return self.lease / 3

    def arrive(self, pause: Callable[[float], bool]) -> bool:
        """Register, waiting for the broker as long as `pause(seconds)` is true; return whether it was reached."""
        seconds = 0.2
        while True:
            try:
                self.broker.register(self.own, self.lease)
            except BrokerError as error:
                if not self.trouble:
                    logger.warning("%s", sentences(error, "The worker starts when it is there."))
                self.trouble = str(error)
            else:
                self.trouble = ""
                return True
            if not pause(seconds):
                return False
            seconds = min(seconds * 2, _LONGEST_PAUSE)

    def turn(self) -> set[str]:
        """Do what is due; return the consumers that have lost their lease. Never raises."""
        now = self._clock()
        self.next = now + self.interval
        try:
            lost = self._turn(now)
        except NotYet:
            self.next = self._clock() + _SOON
        except CeleriacError as error:
            self.met(error)
        else:
            self.trouble = ""
            return lost
        return set()

    def met(self, error: CeleriacError) -> None:
        """Take note that the broker or the store could not be reached, and try again soon."""
        self.trouble = str(error)
        self.next = self._clock() + min(1.0, self.interval)

    def _turn(self, now: float) -> set[str]:
        lost = self.broker.renew([self.own, *self.consumers()], self.lease)
        now, day = self._clock(), self._time_of_day()
        before, day_before = self._renewed
        if max(now - before, day - day_before) > self.lease / 2:
            self._reap_from = now + self.lease / 2
        self._renewed = now, day
        if self.own in lost:
            self.broker.register(self.own, self.lease)
            lost.discard(self.own)
        self.settle_records()
        if now >= self._reap_from:
            self._reap()
        self.broker.maintain()
        self._expire(now)
        self._revive()
        return lost

    def _expire(self, now: float) -> None:
        """Delete old results and dead letters in small batches, for a moment at a time, until none are left."""
        if now - self._expired_at < _EXPIRE_EVERY:
            return
        while self._clock() - now < _EXPIRE_FOR:
            results = 0 if self.store is None else self.store.expire(_EXPIRE_BATCH)
            if results < _EXPIRE_BATCH and not self._expire_letters():
                self._expired_at = now
                return
        self.next = self._clock() + _EXPIRE_PAUSE

    def _expire_letters(self) -> int:
        if self.keep_letters is None:
            return 0
        count = dead_letters.expire(self.broker, time.time() - self.keep_letters)
        if count:
            logger.info("%d dead letters older than %g days are dropped.", count, self.keep_letters / 86400)
        return count

    def _revive(self) -> None:
        if self.revival is not None:
            if self.revival.step():
                self.revival = None
            else:
                self.next = self._clock()

    def settle_records(self) -> None:
        """Settle what workers that were killed on this host have left; raises what the broker or the store raise."""
        if not self.broker.shared:
            return
        for recorder in stale_records(*self.records, self._foreign):
            try:
                counts = self.recovery.child(recorder, Death("its whole worker was killed"))
            except (CeleriacError, NotYet):
                recorder.close()
                raise
            logger.info(
                "A worker that was killed on this host: %d finished tasks settled, %d run again, %d are dead letters, "
                "%d go back unstarted.",
                counts.settled, counts.rerun, counts.dead, counts.returned,
            )  # fmt: skip

    def _reap(self) -> None:
        if self._adopting:
            self.recovery.adopted(self.own)
            self._adopting = False
        for dead in self.broker.expired():
            self._adopting = True
            counts = self.recovery.consumer(dead, self.own)
            self._adopting = False
            moved = counts.returned + counts.rerun
            logger.log(
                logging.WARNING if moved or counts.dead else logging.INFO,
                "Consumer %s has not been heard of for %g s: %d messages go back to their queues, %d are dead letters.",
                dead, self.lease, moved, counts.dead,
            )  # fmt: skip
