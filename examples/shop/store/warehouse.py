"""The warehouse's API, as the shop's client sees it: it books an order and gives a reference, when it is there.

There is no warehouse. What is imitated is the part that matters to a shop: now and then the other side is away for a
moment. Which orders meet that is fixed by their number, so that the demo's figures can be checked.
"""

TROUBLE_EVERY = 25  # every 25th order finds the warehouse away once,
MORE_TROUBLE_EVERY = 250  # every 250th twice


class Unavailable(Exception):
    """The warehouse did not answer as it should; a later try may well succeed."""


def failures_before(order_id: int) -> int:
    """How many times this order finds the warehouse away."""
    if order_id % MORE_TROUBLE_EVERY == 0:
        return 2
    return 1 if order_id % TROUBLE_EVERY == 0 else 0


def book(order_id: int, *, attempt: int) -> str:
    """Book the order. `attempt` counts from 0."""
    if attempt < failures_before(order_id):
        raise Unavailable(f"503 from the warehouse for order {order_id}: back in a moment")
    return f"WH-{order_id:06d}"
