"""Giving back for a child that cannot: one whose task lets no other thread of its process run.

A task in C code that keeps the interpreter's lock stops its child's fetcher too, and with it all that was claimed
behind the task. Called by the supervisor about once a second. Whatever the child does meanwhile, no message is both
put back and run:

1. The supervisor sets FREEZING in the flight record: from now on nothing starts.
2. It asks the broker what the child holds, and then reads the record: what is in a slot or in the ring has started.
   The child writes its slot first and looks for the freeze then. The call to the broker lies between the
   supervisor's write and its look, long enough for either to see what the other wrote before.
3. It puts back the rest under the child's name, and sets FROZEN.
4. When the child can move again, its fetcher waits for FROZEN, asks the broker what it still holds, makes void what it
   does not, and thaws (`Fetcher._thaw`, `Pool.thaw`).

Should the broker's answer to step 3 be lost, the child stays in FREEZING until it has been asked again: else a
request that arrives late could put back what the child has been told it still holds.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from celeriac.broker import Action, Broker, Delivery, Settlement
from celeriac.errors import BrokerError, LeaseLost
from celeriac.message import protocol
from celeriac.waker import Waker
from celeriac.worker.outage import Notice
from celeriac.worker.recorder import FREEZING, FROZEN, THAWED, Recorder

logger = logging.getLogger("celeriac.worker")

#: Seconds in which neither the fetcher moved nor a task started.
STUCK_AFTER = 1.0
_NAMED = 3  # tasks to name of those that run in a stuck process


class Watched(Protocol):
    """What is to be known of a child."""

    @property
    def recorder(self) -> Recorder:
        """Its flight record."""

    @property
    def waker(self) -> Waker:
        """Wakes its fetcher."""

    @property
    def notice(self) -> Notice:
        """What it has to say of an outage."""


class StuckChildren:
    """Finds children that cannot move, and gives back what they have not started. `next` is when to look again."""

    def __init__(self, broker: Broker, clock: Callable[[], float] = time.monotonic) -> None:
        self.broker = broker
        self._clock = clock
        self.next = clock() + STUCK_AFTER
        # What is being put back, for each child in FREEZING.
        self._going_back: dict[str, list[Settlement]] = {}

    def look(self, children: Iterable[Watched]) -> None:
        """Give back for those of `children` that are stuck; raises BrokerError, to be called again."""
        now = self._clock()
        self.next = now + STUCK_AFTER
        for child in children:
            recorder = child.recorder
            frozen = recorder.freeze
            if frozen == FREEZING:
                self._put_back(child)
            elif frozen == THAWED and recorder.last_turn:
                since = _still_since(recorder, now)
                if now - since >= STUCK_AFTER:
                    self._freeze(child)
                else:
                    self.next = min(self.next, since + STUCK_AFTER)

    def forget(self, recorder: Recorder) -> None:
        """The child is dead: its record decides what becomes of its messages."""
        self._going_back.pop(recorder.consumer, None)

    def _freeze(self, child: Watched) -> None:
        if child.notice.read():
            return  # it waits for the broker or the store
        recorder = child.recorder
        recorder.freeze = FREEZING
        try:
            # Below any number of its claims: theirs stay valid.
            deliveries = self.broker.held(recorder.consumer, -1)
            started = recorder.started()
        except (BrokerError, ValueError) as error:
            recorder.freeze = FROZEN
            child.waker.poke()
            if isinstance(error, BrokerError) and not isinstance(error, LeaseLost):
                raise
            logger.debug("Nothing goes back for %s: %s", recorder.consumer, error)
            return
        # The last one put back is the first to be claimed.
        self._going_back[recorder.consumer] = [
            Settlement(delivery.tag, Action.PUT_BACK)
            for delivery in reversed(deliveries)
            if delivery.tag not in started
        ]
        running = {tag for tag, _ in recorder.running()}
        self._tell(recorder, [delivery for delivery in deliveries if delivery.tag in running])
        self._put_back(child)

    def _put_back(self, child: Watched) -> None:
        settlements = self._going_back.get(child.recorder.consumer)
        if settlements:
            self.broker.settle(child.recorder.consumer, settlements)
        self._going_back.pop(child.recorder.consumer, None)
        child.recorder.freeze = FROZEN
        child.waker.poke()

    def _tell(self, recorder: Recorder, running: list[Delivery]) -> None:
        count = len(self._going_back[recorder.consumer])
        if count:
            logger.info(
                "Nothing else moves in the process of %s: %d messages behind it go back to their queues.",
                " or ".join(map(_name, running[:_NAMED])) or recorder.consumer, count,
            )  # fmt: skip


def _still_since(recorder: Recorder, now: float) -> float:
    """Return when the fetcher of a child that is not at rest moved, or a task started, last.

    Where no task runs it may hold what it has claimed and not seen: a process can be stopped at any moment.
    """
    turned = recorder.last_turn
    if now - turned < STUCK_AFTER:
        return turned  # most times: there is no need to look into the slots
    return max([turned, *(start for _, start in recorder.running())])


def _name(delivery: Delivery) -> str:
    try:
        headers = protocol.decode(delivery.payload).headers
    except Exception:  # cut, say; it only concerns the log, and the child is frozen
        return "A task"
    return f"{headers.task}[{headers.id}]"
