"""Celery on Redis: late acknowledgement, so at least once, as celeriac does by default."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from celery import Celery, group
from redis import Redis

from bench import arena, tally

app = Celery("bench", broker=arena.REDIS_URL, backend=arena.REDIS_URL if arena.RESULTS else None)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=not arena.RESULTS,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.noop")
def noop(number: int) -> None:
    tally.tick(number)


@app.task(name="bench.note")
def noted(moment: int) -> None:
    tally.note(moment)


def prepare() -> None:
    pass


def one_by_one(numbers: Iterable[int]) -> None:
    for number in numbers:
        noop.delay(number)


fill = one_by_one


def bulk(numbers: Iterable[int]) -> None:
    group(noop.s(number) for number in numbers).apply_async()


def note(moment: int) -> None:
    noted.delay(moment)


def schedule(moments: Sequence[int]) -> None:
    for moment in moments:
        noted.apply_async((moment,), eta=datetime.fromtimestamp(moment / 1e9, UTC))


def waiting() -> int:
    client = Redis.from_url(arena.REDIS_URL)
    return int(client.llen("celery")) + int(client.hlen("unacked"))


def stored() -> int:
    client = Redis.from_url(arena.REDIS_URL)
    return sum(1 for _ in client.scan_iter("celery-task-meta-*", count=5000))
