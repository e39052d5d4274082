"""Whether somebody sees to the schedule: the elected beat notes at the broker until when nothing is late.

It lies where the broker keeps how far entries have fired, under a name of its own. Written by beat, read by workers for
their metrics: what is late grows by itself when no beat is there any more.
"""

from celeriac.broker import Broker, Firing

#: The name that it lies under; no entry should have it.
NAME = "celeriac: nothing is late before"


class Pulse:
    """Notes it for one beat."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._noted: float | None = None

    def note(self, until: float) -> None:
        """Note that nothing is late before `until`, by the broker's clock. Raises BrokerError."""
        if self._noted is None:
            self._noted = _noted(self._broker)
        accepted = self._broker.fire([Firing(NAME, until, self._noted)])
        self._noted = until if accepted else None  # else another beat has noted something


def lateness(broker: Broker) -> float | None:
    """Return how late the schedule is, in seconds, None where no beat has ever noted it. Raises BrokerError."""
    until = _noted(broker)
    return None if until is None else max(0.0, broker.now() - until)


def _noted(broker: Broker) -> float | None:
    found = broker.fired([NAME]).get(NAME)
    return None if found is None else found.slot
