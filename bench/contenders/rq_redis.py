"""rq on Redis; only its producers, since its worker forks for every job."""

from collections.abc import Iterable

from redis import Redis
from rq import Queue

from bench import arena, tally

client = Redis.from_url(arena.REDIS_URL)
queue = Queue("bench", connection=client)


def noop(number: int) -> None:
    tally.tick(number)


def prepare() -> None:
    pass


def one_by_one(numbers: Iterable[int]) -> None:
    for number in numbers:
        queue.enqueue(noop, number)


def bulk(numbers: Iterable[int]) -> None:
    queue.enqueue_many([Queue.prepare_data(noop, (number,)) for number in numbers])


fill = bulk


def waiting() -> int:
    return int(queue.count)
