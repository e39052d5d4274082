"""Time limits of calls and tasks, whoever sends and whoever works; the two workers must agree on what comes of them."""

from typing import Any

import pytest

from tests.interop.test_celery import SIDES, Fleet, fleet, wait_for

__all__ = ["fleet"]
pytestmark = pytest.mark.redis

SCRIPT = """
tasks = app.tasks

def ended(result):
    try:
        return result.get(timeout=100)
    except Exception as error:
        return type(error).__name__

own = tasks["shop.own"].delay()
for _ in range(5):
    soft = ended(tasks["shop.tidy"].apply_async(("soft",), soft_time_limit=1, time_limit=300))
    if isinstance(soft, list):  # else its process was halted, and the limit came before it had begun
        break
first = [soft, ended(own)]
hard = tasks["shop.linger"].apply_async(("hard",), time_limit=1)
out = [*first, ended(hard), hard.state]
"""


@pytest.mark.parametrize("worker", SIDES)
@pytest.mark.parametrize("producer", SIDES)
def test_limits_hold_and_what_is_told_is_the_same(fleet: Fleet, producer: str, worker: str) -> None:
    with fleet.worker(worker):
        got: list[Any] = fleet.call(producer, SCRIPT)
        told = {
            f"{worker} hard after_return FAILURE TimeLimitExceeded None",
            f"{worker} hard on_failure TimeLimitExceeded ",
        }
        wait_for(lambda: told <= lines(fleet), lambda: f"{fleet.runs()}, {got}")
    assert got == [
        ["SoftTimeLimitExceeded", [300, 1], 1],
        "SoftTimeLimitExceeded",
        "TimeLimitExceeded",
        "FAILURE",
    ]
    # A process that is halted for the whole second is ended before it can say so.
    assert lines(fleet) - {f"{worker} hard runs"} == told
    (limit,) = [line for line in fleet.runs() if "on_failure" in line]
    assert limit.endswith(("(1,)", "(1.0,)"))
    assert set(fleet.runs().values()) == {1}


def lines(fleet: Fleet) -> set[str]:
    """Return what the tasks have noted, without the errors' arguments."""
    return {line.partition("(")[0] for line in fleet.runs()}
