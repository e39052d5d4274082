"""Django's own tasks, for the tests of their backend: defined as a project would, for whichever API there is."""

import asyncio
from typing import Any

import django
from django.db import connection

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task


class Busy(Exception):
    """Somebody is to try again."""


@task
def add(one: int, other: int = 1) -> int:
    return one + other


@task
async def add_async(one: int, other: int = 1) -> int:
    await asyncio.sleep(0)
    return one + other


@task(takes_context=True)
def in_context(context: Any, word: str) -> dict[str, Any]:
    result = context.task_result
    return {
        "word": word,
        "attempt": context.attempt,
        "id": result.id,
        "status": result.status,
        "args": result.args,
        "workers": result.worker_ids,
        "started": result.started_at is not None and result.started_at == result.last_attempted_at,
    }


@task(takes_context=True)
async def in_context_async(context: Any) -> int:
    return int(context.attempt)


@task
def fail(word: str = "oh") -> None:
    raise Busy(word)


@task
async def fail_async() -> None:
    raise ValueError("oh")


@task
def give_back(value: Any) -> Any:
    return value


@task
def give_set() -> Any:
    return {1, 2}


@task
def give_tuple() -> Any:
    return (1, b"two", {"three": (4,)})


@task
def inside_transaction() -> bool:
    return bool(connection.in_atomic_block)


@task
def log_in(user: str, password: str) -> str:
    return user


@task(priority=10, queue_name="letters")
def letter() -> str:
    return "sent"


if django.VERSION >= (6, 1) or django.VERSION < (6, 0):

    @task(takes_context=True, autoretry_for=(Busy,), max_retries=2, default_retry_delay=0, time_limit=60)
    def try_again(context: Any, enough: int) -> int:
        if context.attempt < enough:
            raise Busy(f"attempt {context.attempt}")
        return int(context.attempt)
