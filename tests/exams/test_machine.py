"""All brokers agree with the model, whatever is called in whatever order."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase

from celeriac.broker import Broker
from celeriac.brokers.memory import MemoryBroker
from celeriac.config import Settings
from tests.exams import machine
from tests.exams.saboteurs import (
    AdoptsACopy,
    HeldClosesNoDoor,
    KeepsTheOldPayload,
    LastInFirstOut,
    PurgesOnlyWhatIsReady,
)
from tests.servers import RedisServer

_numbers = itertools.count()


def in_memory(keeper: type[MemoryBroker], clock: machine.Clock) -> Callable[[], Broker]:
    return lambda: keeper(f"memory://machine-{next(_numbers)}", clock=clock)


def test_memory() -> None:
    clock = machine.Clock()
    machine.run(in_memory(MemoryBroker, clock), clock, max_examples=150, stateful_step_count=40)


@pytest.mark.redis
def test_redis(redis_server: RedisServer) -> None:
    redis = pytest.importorskip("celeriac.brokers.redis")

    def open_empty() -> Any:
        redis_server.flush()
        return redis.RedisBroker(redis_server.url, Settings())

    machine.run(open_empty, max_examples=100, stateful_step_count=30)


@pytest.mark.parametrize(
    "keeper", [AdoptsACopy, HeldClosesNoDoor, KeepsTheOldPayload, LastInFirstOut, PurgesOnlyWhatIsReady]
)
def test_it_finds_saboteurs(keeper: type[MemoryBroker]) -> None:
    clock = machine.Clock()
    # The same search each time, and no shorter example after the first that is found.
    search = {"max_examples": 500, "stateful_step_count": 60, "derandomize": True, "phases": [Phase.generate]}
    with pytest.raises(AssertionError):
        machine.run(in_memory(keeper, clock), clock, **search)
