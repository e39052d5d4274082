"""Django's own tasks, in a module that no worker imports before it is sent one of them."""

import asyncio
import os
from typing import Any

import django

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task

OPTIONS: Any = {"autoretry_for": (OSError,), "max_retries": 1, "default_retry_delay": 0}
# Django 6.0 takes options of a backend nowhere but in TASKS.
retried = task(takes_context=True, **({} if (6, 0) <= django.VERSION < (6, 1) else OPTIONS))


@task
def write(to: str) -> dict[str, Any]:
    """Return what was written, and where."""
    return {"to": to, "process": os.getpid()}


@task
async def fetch(seconds: float) -> str:
    """Take `seconds` on the event loop."""
    await asyncio.sleep(seconds)
    return "fetched"


@retried
def send(context: Any, address: str) -> list[Any]:
    """Fail at the first attempt."""
    if context.attempt == 1:
        raise OSError(f"no way to {address}")
    return [context.attempt, context.task_result.id]


@task
def lose() -> None:
    """Fail for good."""
    raise LookupError("lost")
