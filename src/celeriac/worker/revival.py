"""Dead letters whose task is known now: they go back to their queues when a worker starts that knows them.

A worker whose code is older than the sender's sets aside what it does not know (`execute`). Its successor, which does,
looks through the dead letters once, when it starts. Called by the caretaker, in steps between its other duties.
"""

import logging
import time
from collections.abc import Callable, Collection

from celeriac.broker import Broker, DeadLetter, Publication
from celeriac.dead_letters import fresh
from celeriac.execute import unknown_task
from celeriac.unpacking import PLAIN, Codec

logger = logging.getLogger("celeriac.worker")

_PAGE = 100  # dead letters to read at a time; each may be large
_STEP = 0.2  # seconds that one step may take, as leases have to be renewed
_LONGEST = 10.0  # seconds of looking in all


class Revival:
    """Puts back the dead letters of `queues` that are there because nobody knew their task, now one of `tasks`."""

    def __init__(
        self,
        broker: Broker,
        tasks: Collection[str],
        queues: Collection[str],
        codec: Codec = PLAIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broker = broker
        self.tasks = tasks
        self.queues = queues
        self.codec = codec
        self._clock = clock
        self._passed = 0
        self._revived = 0
        self._spent = 0.0

    def step(self) -> bool:
        """Look through some more; return whether that was all. Raises BrokerError, to be called again."""
        begun = self._clock()
        while True:
            over = self._page()
            spent = self._clock() - begun
            if over or self._spent + spent > _LONGEST:
                self._tell(over)
                return True
            if spent > _STEP:
                self._spent += spent
                return False

    def _page(self) -> bool:
        letters = self.broker.dead_letters(_PAGE, self._passed)
        # They come newest first, and are to run oldest first.
        publications = {letter.key: again for letter in reversed(letters) if (again := self._again(letter))}
        revived = self.broker.revive(publications) if publications else 0
        self._revived += revived
        self._passed += len(letters) - revived
        return not letters

    def _again(self, letter: DeadLetter) -> Publication | None:
        """Return the message of a fresh run, None where it is not for this worker."""
        if letter.queue not in self.queues:
            return None
        try:
            message = self.codec.decode(letter.payload, letter.queue)
        except Exception:  # whatever it is, it is no reason for a worker not to start
            return None
        task = message.headers.task
        if task not in self.tasks or letter.reason != unknown_task(task):
            return None
        return fresh(letter, message, self.codec, message.headers.retries)

    def _tell(self, over: bool) -> None:
        if self._revived:
            logger.info(
                "%d dead letters go back to their queues: this worker knows their tasks.", self._revived
            )
        if not over:
            logger.info(
                "Of the dead letters the newest %d were looked through for tasks that this worker knows.",
                self._passed + self._revived,
            )
