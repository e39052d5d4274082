"""The I/O thread of a child: claims batches, settles batches, and is the only one here that talks to the broker.

It keeps about 50 ms of work at hand: one message while tasks are long, hundreds while they are short. What it holds
behind a task that turns out long goes back. When the broker is away it says so once, waits, and afterwards
compares what the broker says it holds with what it knows.
"""

import logging
import time
from collections.abc import Callable, Sequence

from celeriac.broker import Action, Broker, Delivery, Settlement
from celeriac.errors import BrokerError, LeaseLost, MessageError, StoreError
from celeriac.execute import Executor
from celeriac.limits import NO_LIMITS, of_call
from celeriac.message.message import Message
from celeriac.message.moments import parse_time
from celeriac.publishing import published
from celeriac.revocations import revoked_among
from celeriac.run import Run
from celeriac.signals import after_task_publish
from celeriac.store import ResultStore
from celeriac.waker import Waker
from celeriac.worker.appetite import LONG, MOST, Appetite
from celeriac.worker.broker_clock import BrokerClock
from celeriac.worker.lookout import Lookout
from celeriac.worker.pool import Finished, Pool
from celeriac.worker.recorder import FREEZING, STOP, Recorder
from celeriac.worker.recycling import Recycling

logger = logging.getLogger("celeriac.worker")

_LINGER = 0.003  # seconds to let outcomes gather under load
_IDLE = 10.0  # seconds to wait for messages at a time
_OWN_LOOK = 5.0  # seconds until a child looks for itself although another is on lookout
_LONGEST_PAUSE = 2.0  # seconds between attempts to reach the broker


class Fetcher:
    """Moves deliveries between the broker and a pool, under the name of one consumer."""

    def __init__(
        self,
        broker: Broker,
        store: ResultStore | None,
        executor: Executor,
        pool: Pool,
        recorder: Recorder,
        waker: Waker,
        queues: Sequence[str],
        prefetch: int | None,
        publish_timeout: float,
        tell: Callable[[str], None],
        lookout: Lookout | None = None,
    ) -> None:
        self.broker = broker
        self.store = store
        self.shared_store = store if store is not None and broker.shares(store) else None
        self.executor = executor
        self.pool = pool
        self.recorder = recorder
        self.waker = waker
        self.queues = queues
        self.consumer = recorder.consumer
        self.appetite = Appetite(pool, prefetch)
        self.publish_timeout = publish_timeout
        #: Takes what to say of an outage, "" when it is over.
        self.tell = tell
        #: Shared with the other children, None if there are none.
        self.lookout = lookout
        self.seq = 0
        #: What this consumer holds at the broker, as far as it knows.
        self.held: dict[int, Run | None] = {}
        #: Outcomes taken from the pool that the broker or the store has not accepted yet.
        self.unsettled: list[Finished] = []
        #: A suspect: it starts when nothing else is held, and nothing is claimed until it is settled.
        self.alone: Run | None = None
        self.alone_started = False
        #: What is due and expired is reckoned by it; None: by this machine's own clock.
        self.clock: BrokerClock | None = None
        #: Set where the child is to be replaced some time.
        self.recycling: Recycling | None = None
        self.lease_lost = False
        self._away = False
        self._pause = 0.0

    # -- the loop

    def run(self) -> None:
        """Fetch and settle until the supervisor says stop, and everything held is settled or given back."""
        while not self._finished():
            try:
                self._turn()
            except LeaseLost:
                self._lost_lease()
            except (BrokerError, StoreError) as error:
                self._bear(error)
            except Exception as error:
                # Never let the thread die in silence: without it the child would hold its messages for ever.
                logger.exception("The fetcher failed; it goes on in a moment.")
                self._bear(error)
        self._leave()

    @property
    def stopping(self) -> bool:
        """Whether no more work is to be taken."""
        worn_out = self.recycling is not None and self.recycling.worn_out
        return worn_out or self.lease_lost or self.recorder.control == STOP

    def _finished(self) -> bool:
        return self.stopping and not self.held and not self.unsettled and self.pool.idle

    def _turn(self) -> None:
        now = time.monotonic()
        self.recorder.turned(now)
        if self.clock is not None and now >= self.clock.next:
            self.clock.measure(now)
        if self.recorder.cancel:
            self.pool.cancel(self.recorder.cancel)
            self.recorder.cancel = 0
        if self.recorder.freeze and not self._thaw():
            return
        if self._away:
            self._reconcile()
        self.waker.clear()
        settled = self._settle()
        self._at_ease()
        if self.stopping:
            self._give_back()
            if not settled and not self._finished():
                # With nothing held a thread is about to be free, and that wakes nobody.
                self._sleep(1, 0.5 if self.held else 0.005)
            return
        if self.alone is not None and len(self.held) == 1 and not self.alone_started:
            self.alone_started = True
            self.pool.submit(self.alone)
        wanted = self.appetite.wanted() if self.alone is None else 0
        if self.recycling is not None:
            wanted = min(wanted, self.recycling.left(len(self.held)))
        claimed = self._claim(wanted) if wanted > 0 else 0
        if not claimed:
            self._wait(settled, wanted > 0)

    def _wait(self, settled: int, hungry: bool) -> None:
        pool = self.pool
        if self.appetite.running_long() and not pool.inbox.empty():
            self._give_back()
        if settled > 8:
            self._sleep(2, _LINGER)
        elif hungry:
            pool.fetcher_sleeps = 1
            if not pool.outbox:
                seconds = LONG
                if pool.at_rest:
                    seconds = _IDLE
                    self.recorder.turned(0.0)
                self._wait_at_broker(seconds)
            pool.fetcher_sleeps = 0
        else:
            self._sleep(1, LONG)

    def _wait_at_broker(self, seconds: float) -> None:
        lookout = self.lookout
        if lookout is None or self.held or lookout.ours or lookout.wait(self.waker, _OWN_LOOK):
            self.broker.wait(self.queues, seconds, self.waker.fileno())

    def _sleep(self, how: int, seconds: float) -> None:
        self.pool.fetcher_sleeps = how
        if not self.pool.outbox or how == 2:
            self.waker.wait(seconds)
        self.pool.fetcher_sleeps = 0

    # -- claiming

    def _claim(self, wanted: int) -> int:
        self.seq += 1
        deliveries = self.broker.claim(self.consumer, self.queues, wanted, self.seq)
        if self.recorder.freeze:
            self._pass_lookout()
            return len(deliveries)  # they may have gone back already: `_thaw` asks the broker
        if len(deliveries) > 1:
            self._pass_lookout()
        self._take(deliveries)
        self.appetite.had(wanted, [self.held.get(delivery.tag) for delivery in deliveries])
        if len(deliveries) == 1:
            self._pass_lookout()  # it has time until this one runs: two that wake at once hinder each other
        return len(deliveries)

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        revoked = revoked_among(self.broker, deliveries, self.executor.codec.read)
        for delivery in deliveries:
            self._take_one(delivery, revoked)

    def _take_one(self, delivery: Delivery, revoked: set[str]) -> None:
        """Hand a delivery to the pool, or settle it at once if it cannot be run."""
        if delivery.size > len(delivery.payload):
            self._refuse(delivery, f"too large: {delivery.size:,} bytes")
            return
        try:
            message = self.executor.decode(delivery.payload, delivery.queue)
        except Exception as error:
            # Whatever it is: one bad message must not keep the others of its batch from being taken.
            self._refuse(
                delivery, str(error) if isinstance(error, MessageError) else f"unreadable: {error!r}"
            )
            return
        headers = message.headers
        is_revoked = bool(revoked) and headers.id in revoked
        if headers.eta is not None and not is_revoked and self._schedule(delivery, message):
            return
        task = self.executor.tasks.get(headers.task) or self.executor.find(headers.task)
        run = Run(delivery.tag, delivery.queue, message, task)
        run.revoked = is_revoked
        limits = self.executor.limits  # of a task found just now too
        if headers.timelimit != NO_LIMITS or headers.task in limits:
            run.hard, run.soft = of_call(headers.timelimit, limits.get(headers.task, NO_LIMITS))
        self.held[delivery.tag] = run
        if self.alone is not None:
            self._unheld(Settlement(delivery.tag, Action.PUT_BACK))
        elif message.properties.celeriac_suspect:
            self._give_back()
            self.alone, self.alone_started = run, False
        else:
            self.pool.submit(run)

    def _pass_lookout(self) -> None:
        if self.lookout is not None and self.lookout.ours:
            self.lookout.pass_on()

    def _refuse(self, delivery: Delivery, reason: str) -> None:
        logger.error("A message of queue %r was set aside as a dead letter: %s", delivery.queue, reason)
        self._unheld(Settlement(delivery.tag, Action.DEAD, reason=reason))

    def _schedule(self, delivery: Delivery, message: Message) -> bool:
        """Give a message with an eta in the future to the broker's schedule; False where it is to run now."""
        due = parse_time(message.headers.eta or "")
        if message.properties.celeriac_scheduled or due is None or due <= self.executor.clock():
            return False
        message.properties.celeriac_scheduled = True
        payload = self.executor.codec.encode(message, delivery.queue)
        self._unheld(Settlement(delivery.tag, Action.SCHEDULE, payload=payload, due=due))
        return True

    def _unheld(self, settlement: Settlement) -> None:
        """Settle soon what no thread has seen."""
        self.held[settlement.tag] = None
        self.unsettled.append(Finished(settlement))

    # -- settling

    def _settle(self) -> int:
        """Settle all outcomes at hand; return how many. What fails is kept for the next time."""
        outbox = self.pool.outbox
        while outbox and len(self.unsettled) < MOST:
            self.unsettled.append(outbox.popleft())
        batch = self.unsettled
        if not batch:
            return 0
        self.appetite.measure()
        extras = [finished for finished in batch if not finished.settlement.tag]
        if extras:
            self._store_only([finished.settlement for finished in extras])
            for finished in extras:
                finished.settlement = Settlement(0)  # should the rest fail, not once more
        settlements = [finished.settlement for finished in batch if finished.settlement.tag]
        if settlements:
            self._settle_at_broker(settlements)
        self._accepted(batch)
        return len(batch)

    def _settle_at_broker(self, settlements: list[Settlement]) -> None:
        store = self.store
        if store is not None and self.shared_store is None:
            records = [settlement.record for settlement in settlements if settlement.record is not None]
            if records:
                store.store(records)
        refused = self.broker.settle(self.consumer, settlements, self.shared_store)
        for tag in refused:
            run = self.held.get(tag)
            if run is not None:
                run.void = True
                logger.warning(
                    "The broker refused to settle delivery %s: its lease was taken over, it runs again.", tag
                )
        if after_task_publish.receivers:
            retries = [each for each in settlements if each.publish and each.tag not in refused]
            published([publication for retry in retries for publication in retry.publish])

    def _store_only(self, settlements: list[Settlement]) -> None:
        """What has no delivery any more (at most once) or not yet (STARTED): store and publish it by itself."""
        records = [settlement.record for settlement in settlements if settlement.record is not None]
        if records and self.store is not None:
            self.store.store(records)
        for settlement in settlements:
            if settlement.frees is not None:
                self.broker.resign(*settlement.frees)
        publications = [publication for settlement in settlements for publication in settlement.publish]
        if publications:
            self.broker.publish(publications, self.publish_timeout)
            if after_task_publish.receivers:
                published(publications)

    def _accepted(self, batch: list[Finished]) -> None:
        position = ran = 0
        for finished in batch:
            if self.held.pop(finished.settlement.tag, None) is not None:
                ran += 1
            if self.alone is not None and finished.settlement.tag == self.alone.tag:
                self.alone = None
            position = finished.position or position
            if finished.accepted is not None:
                finished.accepted.set()
        self.recorder.settled(position, len(batch))
        if self.recycling is not None:
            self.recycling.count(ran)
        self.unsettled = []

    def _give_back(self) -> None:
        """Put back what has not started."""
        runs = self.pool.take_back()
        if self.alone is not None and not self.alone_started:
            runs.append(self.alone)
            self.alone = None
        for run in reversed(runs):
            self._unheld(Settlement(run.tag, Action.PUT_BACK))

    # -- trouble

    def _bear(self, error: Exception) -> None:
        """The broker or the store cannot be reached: wait, with growing pauses."""
        self._pass_lookout()
        if not self._away:
            self._away = True
            self._pause = 0.05
            self.tell(str(error) or repr(error))
        logger.debug("Away: %s", error)
        self.waker.clear()
        self.waker.wait(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _at_ease(self) -> None:
        if self._away:
            self._away = False
            self.tell("")

    def _reconcile(self) -> None:
        """After an outage compare what the broker says we hold with what we know. It may turn out to last."""
        self.seq += 1
        deliveries = self.broker.held(self.consumer, self.seq)
        ours = {delivery.tag for delivery in deliveries}
        # We have settled these, and only the reply was lost: our lease is still good.
        settled = {finished.settlement.tag for finished in self.unsettled} - ours
        for tag, run in list(self.held.items()):
            if tag not in ours:
                if run is not None and tag not in settled:
                    run.void = True  # the server has forgotten that we claimed it: others will
                del self.held[tag]
        kept = []
        for finished in self.unsettled:
            if finished.settlement.tag in ours or not finished.settlement.tag:
                kept.append(finished)
            elif finished.accepted is not None:
                finished.accepted.set()
        self.unsettled = kept
        if self.alone is not None and self.alone.tag not in self.held:
            self.alone = None
        self._take([delivery for delivery in deliveries if delivery.tag not in self.held])

    def _thaw(self) -> bool:
        """The supervisor has given back what had not started: find out what that was. Return whether it was through."""
        if self.recorder.freeze == FREEZING:
            self.waker.clear()
            if self.recorder.freeze == FREEZING:
                self.waker.wait(_LONGEST_PAUSE)
            return False
        if not self.lease_lost:
            self._reconcile()
        self.pool.thaw()
        return True

    def _lost_lease(self) -> None:
        """Others have what we held. Run nothing more of it; the supervisor starts a new child in this one's place."""
        if not self.lease_lost:
            logger.warning("The lease of this process was taken over; it ends what runs and starts anew.")
        self.lease_lost = True
        self._pass_lookout()
        self._at_ease()
        self.alone = None
        self.pool.take_back()
        for run in self.held.values():
            if run is not None:
                run.void = True
        for finished in (*self.unsettled, *self.pool.outbox):
            if finished.accepted is not None:
                finished.accepted.set()
        self.unsettled = []
        self.pool.outbox.clear()
        self.held.clear()
        self.waker.clear()
        if not self._finished():
            self._sleep(1, 0.2)

    def _leave(self) -> None:
        self._pass_lookout()
        try:
            self.broker.unregister(self.consumer)
        except BrokerError as error:
            # The supervisor does it for us when we are dead.
            logger.debug("Could not say good-bye to the broker: %s", error)
        for _ in range(self.pool.threads):
            self.pool.inbox.put(None)
