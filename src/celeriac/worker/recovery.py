"""What becomes of the deliveries of a dead process.

Three cases, one decision each. A child whose flight record is there: what it had done is settled, what it ran is
counted and runs again (or is set aside after `task_max_deliveries` losses), the rest goes back untouched. A
consumer whose lease ran out, without a record at hand: all it held goes back as suspect. Records that a killed worker
tree left on this host are the first case again. Called by the supervisor alone.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

import celeriac_health
from celeriac import states
from celeriac.broker import Action, Broker, Delivery, Settlement
from celeriac.errors import ImproperlyConfigured, LeaseLost, MessageError, TaskRevokedError
from celeriac.execute import Executor
from celeriac.failure import failure_json
from celeriac.message.message import Message
from celeriac.store import Record, ResultStore
from celeriac.unpacking import PLAIN, Codec
from celeriac.worker.death import Death
from celeriac.worker.ending import Cause, Terminated
from celeriac.worker.losses import Ended, Losses, NotYet
from celeriac.worker.recorder import Recorder

logger = logging.getLogger("celeriac.worker")

#: Above any number that a consumer gives a claim; still exact as a double, which Lua counts in.
LAST_SEQ = 2**52
#: The age, in seconds, of flight records of other brokers' workers that are removed.
FORGOTTEN = 7 * 86400.0


class Recovered(Struct):
    """How many deliveries of a dead process went which way."""

    settled: int = 0
    rerun: int = 0
    dead: int = 0
    returned: int = 0
    ended: int = 0


def state_dir(configured: str | None) -> Path:
    """Return the directory of flight records, made for this user alone.

    In memory (/dev/shm) where that can be had: a record outlives processes, not the machine.
    """
    path = Path(celeriac_health.state_dir(configured))
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ImproperlyConfigured(
            f"{path} belongs to somebody else or can be written by others, so flight records are not safe there. "
            "Set worker_state_dir to a directory of this user's."
        )
    return path


def broker_id(url: str) -> str:
    """Return a short name for a broker's URL, without its secrets."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def stale_records(directory: Path, broker: str, foreign: set[Path]) -> Iterator[Recorder]:
    """Yield the flight records of dead processes that worked for this broker.

    Those for others go into `foreign`, and are not opened again; very old ones are removed, for nothing comes of them
    any more: the leases of these processes have run out, and others have put back what they held.
    """
    for path in sorted(set(directory.glob("*.flight")) - foreign):
        recorder = Recorder.open_stale(path)
        if recorder is None:
            continue
        if recorder.broker == broker:
            yield recorder
        elif time.time() - path.stat().st_mtime > FORGOTTEN:
            recorder.remove()
        else:
            foreign.add(path)
            recorder.close()


class Recovery:
    """Settles for the dead. `hostname` is the worker's name, for the records of lost tasks.

    Messages that `codec` does not let through go back as they are: whoever claims them next refuses them. `executor`
    is one of the app, whose tasks have options about losses.
    """

    def __init__(
        self,
        broker: Broker,
        store: ResultStore | None,
        hostname: str,
        max_losses: int,
        codec: Codec = PLAIN,
        executor: Executor | None = None,
    ) -> None:
        self.broker = broker
        self.store = store
        self.shared_store = store if store is not None and broker.shares(store) else None
        self.codec = codec
        self.losses = Losses(hostname, max_losses, executor, codec)
        #: Called with what has ended in its process's stead, when that is settled.
        self.tell: Callable[[Sequence[Ended]], None] | None = None

    def child(
        self,
        recorder: Recorder,
        death: Death,
        *,
        blame: bool = True,
        over: Mapping[int, Cause] | None = None,
    ) -> Recovered:
        """Settle what a dead child left, by its flight record, and remove that.

        Raises BrokerError or NotYet, to be tried again.

        Without `blame` what ran goes back uncounted. `over` says, by tag, for which tasks it was ended and why: then
        what ran beside them is not to blame either.
        """
        counts = Recovered()
        try:
            outcomes = recorder.outcomes()
        except ValueError as error:
            logger.error(
                "The flight record of %s cannot be read, all it held is suspect: %s", recorder.consumer, error
            )
            return self._end(recorder, self._give_back(self._held(recorder.consumer), recorder.consumer))
        self._store([settlement for settlement in outcomes if not settlement.tag])
        done = [settlement for settlement in outcomes if settlement.tag]
        running = dict(recorder.running())
        for settlement in done:
            running.pop(settlement.tag, None)
        if done:
            refused = self._settle(recorder.consumer, done)
            counts.settled = len(done) - len(refused)
        held = self._held(recorder.consumer)

        def how(delivery: Delivery) -> Settlement:
            if over and delivery.tag in running:
                cause = over.get(delivery.tag)
                return self._ended(delivery, cause, counts) if cause else self._beside(delivery, counts)
            if delivery.tag in running and blame:
                return self._lost(delivery, death, running[delivery.tag], counts)
            counts.returned += 1
            return Settlement(delivery.tag, Action.PUT_BACK)

        self._end_all(recorder.consumer, held, how)
        if over:
            self._show_terminated(over, {delivery.tag for delivery in held})
        return self._end(recorder, counts)

    def _held(self, consumer: str) -> list[Delivery]:
        try:
            return self.broker.held(consumer, LAST_SEQ)
        except LeaseLost:
            return []  # its lease ran out before we came: others have put it back

    def _end(self, recorder: Recorder, counts: Recovered) -> Recovered:
        self.broker.unregister(recorder.consumer)
        recorder.remove()
        return counts

    def consumer(self, dead: str, by: str) -> Recovered:
        """Take over what a consumer with an expired lease held: nobody knows what of it ran.

        If that raises BrokerError or NotYet, `by` may hold it now: `adopted` is to be called later.
        """
        return self._give_back(self.broker.adopt(dead, by), by)

    def adopted(self, by: str) -> Recovered:
        """Give back what an earlier take-over, which was cut short, has left with `by`."""
        return self._give_back(self._held(by), by)

    def _give_back(self, deliveries: list[Delivery], by: str) -> Recovered:
        counts = Recovered()

        def how(delivery: Delivery) -> Settlement:
            message = self._readable(delivery)
            if message is None:
                return Settlement(delivery.tag, Action.PUT_BACK)
            if message.properties.celeriac_suspect:
                # A suspect is claimed alone: it was this one that ran.
                return self._lost(delivery, Death("its worker was lost"), 0.0, counts)
            message.properties.celeriac_suspect = True
            counts.returned += 1
            payload = self.codec.encode(message, delivery.queue)
            return Settlement(delivery.tag, Action.PUT_BACK, payload=payload)

        self._end_all(by, deliveries, how)
        return counts

    def _end_all(
        self, consumer: str, held: Sequence[Delivery], how: Callable[[Delivery], Settlement]
    ) -> None:
        """Settle what a dead process had not, and tell of what that has ended; raises NotYet if some has to wait."""
        settlements, wait = [], False
        # The last one put back is the first to be claimed.
        for delivery in reversed(held):
            try:
                settlements.append(how(delivery))
            except NotYet:
                wait = True
        ended, self.losses.ended = self.losses.ended, []
        if settlements:
            refused = self._settle(consumer, settlements)
            ended = [each for each in ended if each.run.tag not in refused]
            if ended and self.tell is not None:
                self.tell(ended)
        if wait:
            raise NotYet

    def _settle(self, consumer: str, settlements: list[Settlement]) -> set[int]:
        if self.shared_store is None:
            self._store(settlements)
        return self.broker.settle(consumer, settlements, self.shared_store)

    def _store(self, settlements: list[Settlement]) -> None:
        records = [settlement.record for settlement in settlements if settlement.record is not None]
        if self.store is not None and records:
            self.store.store(records)

    def _lost(self, delivery: Delivery, death: Death, start: float, counts: Recovered) -> Settlement:
        """The process died while it ran this, since `start`."""
        message = self._readable(delivery)
        if message is None:
            return Settlement(delivery.tag, Action.PUT_BACK)
        return self._count(self.losses.lost(delivery, message, death, start), counts)

    def _ended(self, delivery: Delivery, cause: Cause, counts: Recovered) -> Settlement:
        """The process was ended for the sake of this one."""
        message = self._readable(delivery)
        if message is None:
            return Settlement(delivery.tag, Action.PUT_BACK)
        if isinstance(cause, Terminated):
            settlement = self.losses.terminated(delivery, message, cause)
        else:
            settlement = self.losses.timed_out(delivery, message, cause)
        return self._count(settlement, counts)

    def _show_terminated(self, over: Mapping[int, Cause], held: set[int]) -> None:
        """Store the end of those that ran at most once: their deliveries had been settled before they ran."""
        result = failure_json(TaskRevokedError("terminated"))
        self._store(
            [
                Settlement(0, record=Record(cause.id, states.REVOKED, result, finished=time.time()))
                for tag, cause in over.items()
                if isinstance(cause, Terminated) and tag not in held
            ]
        )

    @staticmethod
    def _count(settlement: Settlement, counts: Recovered) -> Settlement:
        if settlement.action == Action.DEAD:
            counts.dead += 1
        elif settlement.action == Action.PUT_BACK or settlement.publish:
            counts.rerun += 1
        else:
            counts.ended += 1
        return settlement

    def _beside(self, delivery: Delivery, counts: Recovered) -> Settlement:
        """It ran beside one that was ended, which it may have kept from coming to its end: it is to run alone."""
        counts.returned += 1
        message = self._readable(delivery)
        if message is None:
            return Settlement(delivery.tag, Action.PUT_BACK)
        message.properties.celeriac_suspect = True
        payload = self.codec.encode(message, delivery.queue)
        return Settlement(delivery.tag, Action.PUT_BACK, payload=payload)

    def _readable(self, delivery: Delivery) -> Message | None:
        if delivery.size > len(delivery.payload):
            return None
        try:
            return self.codec.decode(delivery.payload, delivery.queue)
        except MessageError:
            return None
