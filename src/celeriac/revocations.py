"""Which of the messages that were just claimed are of tasks that were revoked.

Asked before anything of them starts, by the worker's fetcher and the test kit. While no task is revoked, brokers say
so with each delivery, and nothing is asked.
"""

from collections.abc import Callable, Iterable

from celeriac.broker import Broker, Delivery
from celeriac.message.message import Message


def revoked_among(
    broker: Broker, deliveries: Iterable[Delivery], decode: Callable[[bytes], Message]
) -> set[str]:
    """Return the ids of the tasks in `deliveries` that were revoked; raises what the broker raises."""
    ids = set()
    for delivery in deliveries:
        if not delivery.sure and delivery.size == len(delivery.payload):
            try:
                ids.add(decode(delivery.payload).headers.id)
            except Exception:
                continue  # whoever takes it says what is wrong with it
    return broker.revoked(ids) if ids else set()
