"""The signals around publishing tell the same in both libraries; a header set there arrives on both sides' workers."""

from typing import Any

import pytest

from tests.interop.test_celery import ACROSS, SIDES, Fleet, fleet

__all__ = ["fleet"]
pytestmark = pytest.mark.redis

LISTEN = """
from {side} import signals
told = []
def before(sender, headers, body, **more):
    told.append(["before", sender, headers["id"], list(body), headers["x-mine"], sorted(more)])
    headers["traceparent"] = "00-" + headers["id"]
def after(sender, headers, body, **more):
    told.append(["after", sender, headers["traceparent"], list(body), headers["x-mine"], sorted(more)])
signals.before_task_publish.connect(before)
signals.after_task_publish.connect(after, sender="shop.trace")
result = trace.apply_async(headers={{"x-mine": 7}})
"""


@pytest.mark.parametrize("side", SIDES)
def test_what_is_told(fleet: Fleet, side: str) -> None:
    task_id, told = fleet.call(side, LISTEN.format(side=side) + "out = [result.id, told]")
    body: list[Any] = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    before = ["declare", "exchange", "properties", "retry_policy", "routing_key", "signal"]
    after = ["exchange", "routing_key", "signal"]
    assert told == [
        ["before", "shop.trace", task_id, body, 7, before],
        ["after", "shop.trace", f"00-{task_id}", body, 7, after],
    ]


@pytest.mark.parametrize(("producer", "worker"), [*ACROSS, ("celeriac", "celeriac"), ("celery", "celery")])
def test_a_header_for_tracing_arrives_and_stays_in_retries(fleet: Fleet, producer: str, worker: str) -> None:
    with fleet.worker(worker):
        script = LISTEN.format(side=producer) + "out = [result.id, result.get(timeout=100)]"
        task_id, got = fleet.call(producer, script)
    assert got == [f"00-{task_id}", f"00-{task_id}", None]
