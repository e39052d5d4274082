"""Dramatiq on Redis; its prefetch is raised by the worker's environment, see the roster."""

import time
from collections.abc import Iterable, Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench import arena, tally

broker = RedisBroker(url=arena.REDIS_URL)
results = RedisBackend(url=arena.REDIS_URL, use_namespace_prefix_keys=True)
if arena.RESULTS:
    broker.add_middleware(Results(backend=results, store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(number: int) -> None:
    tally.tick(number)


@dramatiq.actor
def noted(moment: int) -> None:
    tally.note(moment)


def prepare() -> None:
    pass


def one_by_one(numbers: Iterable[int]) -> None:
    for number in numbers:
        noop.send(number)


fill = one_by_one


def note(moment: int) -> None:
    noted.send(moment)


def schedule(moments: Sequence[int]) -> None:
    for moment in moments:
        noted.send_with_options(args=(moment,), delay=max(0, (moment - time.time_ns()) // 1_000_000))


def waiting() -> int:
    return int(broker.do_qsize("default"))


def stored() -> int:
    return sum(1 for _ in results.client.scan_iter("dramatiq-results*", count=5000))
