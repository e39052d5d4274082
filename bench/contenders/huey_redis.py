"""huey on Redis. It takes a task off the list before it runs it: at most once."""

from huey import RedisHuey

from bench import arena

from .huey_tasks import HueyContender

huey = RedisHuey("bench", url=arena.REDIS_URL, results=arena.RESULTS, store_none=True)
_contender = HueyContender(huey)
prepare = _contender.prepare
one_by_one = _contender.one_by_one
fill = _contender.fill
note = _contender.note
schedule = _contender.schedule
waiting = _contender.waiting
stored = _contender.stored
