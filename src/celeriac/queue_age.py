"""For how long tasks could have started: what they waited that run, and how old the oldest of a queue is that does not.

A message says when it was sent, and when it is due if it was sent for later. Celery's say only the latter.
"""

from celeriac.broker import Broker
from celeriac.errors import MessageError
from celeriac.message import protocol
from celeriac.message.message import Message
from celeriac.message.moments import parse_time


def startable(message: Message) -> float | None:
    """Return since when a task could start, in unix seconds, as far as its message tells."""
    if message.headers.eta:
        return parse_time(message.headers.eta)
    return message.properties.timestamp


def ages(broker: Broker) -> dict[str, float]:
    """Return the age in seconds of the oldest task that is ready, for each queue where that can be told.

    By the broker's clock; looks at the message next in turn of each priority. Raises BrokerDown and BrokerError.
    """
    heads = broker.heads()
    now = broker.now() if heads else 0.0
    oldest: dict[str, float] = {}
    for queue, payload in heads:
        try:
            since = startable(protocol.decode(payload))
        except MessageError:
            continue
        if since is not None:
            oldest[queue] = max(oldest.get(queue, 0.0), now - since)
    return oldest
