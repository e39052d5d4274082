"""celeriac on Redis, without Django."""

from bench import arena, tally
from celeriac import Celeriac

from .celeriac_tasks import CeleriacContender

app = Celeriac("bench", broker=arena.REDIS_URL, backend=arena.REDIS_URL if arena.RESULTS else None)


@app.task(name="bench.noop", ignore_result=not arena.RESULTS)
def noop(number: int) -> None:
    tally.tick(number)


@app.task(name="bench.note", ignore_result=True)
def noted(moment: int) -> None:
    tally.note(moment)


def stored() -> int:
    from redis import Redis

    return sum(1 for _ in Redis.from_url(arena.REDIS_URL).scan_iter("celery-task-meta-*", count=5000))


_contender = CeleriacContender(app, noop, noted)
prepare = _contender.prepare
one_by_one = _contender.one_by_one
bulk = _contender.bulk
fill = _contender.fill
note = _contender.note
schedule = _contender.schedule
waiting = _contender.waiting
