"""Calls receivers of signals in the process that keeps the worker's leases, and says so if they hold it up.

Used by the supervisor and the solo worker. The receivers are the project's code; while they run, nobody else does
what that process is there for: renew leases, replace children.
"""

import logging
import time
from typing import Any

from celeriac.signals import Signal

logger = logging.getLogger("celeriac.worker")

_PATIENCE = 1.0  # seconds; the shortest lease that makes sense is a few times as long


def tell(signal: Signal, sender: Any, **named: Any) -> None:
    """Send a signal, if anybody listens."""
    if not signal.receivers:
        return
    begun = time.monotonic()
    signal.send(sender, **named)
    took = time.monotonic() - begun
    if took > _PATIENCE:
        logger.warning(
            "The receivers of %s took %.1f s, in which the worker could not look after its processes: "
            "let them be brief, and do the rest in a task.",
            signal.name,
            took,
        )
