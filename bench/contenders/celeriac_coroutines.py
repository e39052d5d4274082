"""celeriac on Redis: coroutine tasks that wait for a second, as for another service, in one process."""

import asyncio

from bench import arena, tally
from celeriac import Celeriac

from .celeriac_tasks import CeleriacContender

WAIT = 1.0
"""Seconds that each task waits."""

app = Celeriac("bench", broker=arena.REDIS_URL, worker_async_concurrency=10_000)


@app.task(name="bench.wait", ignore_result=True)
async def wait(number: int) -> None:
    tally.begin()
    await asyncio.sleep(WAIT)
    tally.tick(number)


@app.task(name="bench.note", ignore_result=True)
def noted(moment: int) -> None:
    tally.note(moment)


_contender = CeleriacContender(app, wait, noted)
prepare = _contender.prepare
one_by_one = _contender.one_by_one
bulk = _contender.bulk
fill = _contender.fill
note = _contender.note
waiting = _contender.waiting
