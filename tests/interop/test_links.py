"""`link`, `link_error` and children: the same script in all pairs of producer and worker, Celery 5.7 and Celeriac."""

from collections import Counter

import pytest

from tests.interop.test_celery import SIDES, Fleet, fleet

__all__ = ["fleet"]

pytestmark = pytest.mark.redis

SCRIPT = """
by_id, by_error, bound, parent, quiet = (
    app.tasks["shop." + name] for name in ("by_id", "by_error", "bound_errback", "parent", "quiet"))

def all_done(result):
    for child in result.children:
        child.get(timeout=100)
    return [child.get() for child in result.children]

callback = add.s(10)
callback.link(add.s(100))
linked = add.apply_async((1, 2), link=callback)
linked.get(timeout=100)
(child,) = linked.children
child.get(timeout=100)
out = [child.get(), all_done(child)]
fixed = add.apply_async((5, 5), link=[add.si(7, 7)])
fixed.get(timeout=100)
out.append(all_done(fixed))

failed = fail.apply_async(("boom",), task_id="failed", link=add.s(0), link_error=[
    by_id.s(), by_error.s("more"), bound.s(), app.signature("shop.by_id", immutable=True, args=("fixed",))])
failed.get(timeout=100, propagate=False)
kept, quiet = parent.delay(), quiet.delay()
sent = kept.get(timeout=100)
out.append([child.id for child in kept.children] == sent)
quiet.get(timeout=100)
out.append(quiet.children)
"""


@pytest.mark.parametrize("worker", SIDES)
@pytest.mark.parametrize("producer", SIDES)
def test_what_follows_a_task(fleet: Fleet, producer: str, worker: str) -> None:
    with fleet.worker(worker):
        out = fleet.call(producer, SCRIPT)
        expected = {
            "add-1-2": 1,
            "add-3-10": 1,
            "add-13-100": 1,
            "add-5-5": 1,
            "add-7-7": 1,
            "by_id failed": 1,
            "by_id fixed": 1,
            "by_error failed ValueError('boom') True more": 1,
            "bound failed True": 1,
        }
        fleet.wait_for_runs(sum(expected.values()))
    assert out == [13, [113], [14], True, []]
    assert fleet.runs() == Counter({f"{worker} {what}": times for what, times in expected.items()})
