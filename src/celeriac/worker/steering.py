"""Reads what workers are told, and sees to it that it is done.

Commands are JSON of Celery's form: method, arguments, destination. They lie at the broker for some minutes; the
supervisor looks about once a second, and does each once. What it cannot read, or is not signed where it has to be, it
says, and passes over.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from celeriac.broker import Broker
from celeriac.control import Order

if TYPE_CHECKING:  # who signs nothing does without
    from celeriac.message.signing import Signer

logger = logging.getLogger("celeriac.worker")

#: Seconds between two looks.
LOOK = 1.0
_decode = msgspec.json.Decoder(Order).decode

Method = Callable[[Mapping[str, Any]], None]


class Steering:
    """Calls `methods` for what this worker is told. `next` is when to look again."""

    def __init__(
        self,
        broker: Broker,
        hostname: str,
        methods: Mapping[str, Method],
        clock: Callable[[], float] = time.monotonic,
        signer: "Signer | None" = None,
    ) -> None:
        self.broker = broker
        self.hostname = hostname
        self.methods = methods
        self.signer = signer
        self._clock = clock
        self._done: set[str] | None = None
        self.next = 0.0

    def look(self) -> None:
        """Do what was asked since the last time; raises BrokerError. What was asked before the first is not for it."""
        self.next = self._clock() + LOOK
        commands = self.broker.commands()
        done, self._done = self._done, set(commands)
        if done is None:
            return
        for key, payload in commands.items():
            if key not in done:
                self._do(payload)

    def _do(self, payload: bytes) -> None:
        try:
            order = _decode(payload)
            if order.destination is not None and self.hostname not in order.destination:
                return
            if self.signer is not None:
                order.check(self.signer, self.broker.now())
            method = self.methods.get(order.method)
            if method is None:
                logger.warning("This worker does not know the command %.50r.", order.method)
            else:
                method(order.arguments)
        except Exception as error:
            # Anybody who reaches the broker can write one.
            logger.warning("A command cannot be carried out: %s", error)
