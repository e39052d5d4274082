"""Time limits of calls and tasks, whoever sends and whoever works; the two workers must agree on what comes of them."""

from typing import Any

import pytest

from tests.interop.test_celery import SIDES, Fleet, fleet, wait_for

__all__ = ["fleet"]
pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]

SCRIPT = """
tasks = app.tasks

def ended(result):
    try:
        return result.get(timeout=40)
    except Exception as error:
        return type(error).__name__

soft = tasks["shop.tidy"].apply_async(("soft",), soft_time_limit=1, time_limit=30)
own = tasks["shop.own"].delay()
first = [ended(soft), ended(own)]
hard = tasks["shop.linger"].apply_async(("hard",), time_limit=1)
out = [*first, ended(hard), hard.state]
"""


@pytest.mark.parametrize("worker", SIDES)
@pytest.mark.parametrize("producer", SIDES)
def test_limits_hold_and_what_is_told_is_the_same(fleet: Fleet, producer: str, worker: str) -> None:
    with fleet.worker(worker):
        got: list[Any] = fleet.call(producer, SCRIPT)
        told = [
            f"{worker} hard runs",
            f"{worker} hard after_return FAILURE TimeLimitExceeded None",
            f"{worker} hard on_failure TimeLimitExceeded ",
        ]
        wait_for(lambda: len(fleet.runs()) >= len(told), lambda: f"{fleet.runs()}, {got}")
    assert got == [
        ["SoftTimeLimitExceeded", [30, 1], 1],
        "SoftTimeLimitExceeded",
        "TimeLimitExceeded",
        "FAILURE",
    ]
    lines = {line.partition("(")[0] for line in fleet.runs()}
    assert lines == set(told)
    (limit,) = [line for line in fleet.runs() if "on_failure" in line]
    assert limit.endswith(("(1,)", "(1.0,)"))
    assert set(fleet.runs().values()) == {1}
