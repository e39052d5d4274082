"""taskiq on Redis streams, acknowledged after the run; its tasks are coroutines, which is its quickest way."""

import asyncio
from collections.abc import Iterable

from redis import Redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench import arena, tally

broker = RedisStreamBroker(arena.REDIS_URL, consumer_id="0", xread_count=1000)
if arena.RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(arena.REDIS_URL, prefix_str="result"))
loop = asyncio.new_event_loop()


@broker.task
async def noop(number: int) -> None:
    tally.tick(number)


@broker.task
async def noted(moment: int) -> None:
    tally.note(moment)


def prepare() -> None:
    loop.run_until_complete(broker.startup())


def one_by_one(numbers: Iterable[int]) -> None:
    async def send() -> None:
        for number in numbers:
            await noop.kiq(number)

    loop.run_until_complete(send())


fill = one_by_one


def note(moment: int) -> None:
    loop.run_until_complete(noted.kiq(moment))


def waiting() -> int:
    """Entries never delivered, and delivered ones not yet acknowledged."""
    client = Redis.from_url(arena.REDIS_URL)
    pending = client.xpending("taskiq", "taskiq")["pending"]
    delivered = client.xinfo_groups("taskiq")[0]["last-delivered-id"]
    return int(pending) + len(client.xrange("taskiq", min=b"(" + delivered))


def stored() -> int:
    client = Redis.from_url(arena.REDIS_URL)
    return sum(1 for _ in client.scan_iter("result*", count=5000))
