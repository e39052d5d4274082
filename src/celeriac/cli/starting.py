"""What `celeriac new` and `celeriac demo` write into a project that Django has made: settings and tasks, as text."""

SETTINGS = """

# Background work: everything below is Celeriac's.
INSTALLED_APPS += ["celeriac.django", "{name}"]

# Let web and worker read the SQLite file while one of them writes.
DATABASES["default"]["OPTIONS"] = {{
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}}

# What runs by itself: seconds, or crontab(hour=4) from celeriac.schedules.
CELERY_BEAT_SCHEDULE = {{
{schedule}}}
"""

#: Entries of the schedule, by what they are sent for: name, task, seconds.
NEW_SCHEDULE = (("tick", "tick", 15),)
DEMO_SCHEDULE = (("greet", "greet", 5), ("count", "count", 20), ("shaky", "shaky", 30))

NEW_TASKS = '''\
"""Work for the background: a function with @shared_task above it is sent with .delay() and run by a worker.

    python manage.py shell
    >>> from {name}.tasks import add
    >>> add.delay(2, 3).get(timeout=10)
"""

from celeriac import shared_task


@shared_task
def add(x, y):
    return x + y


@shared_task
def tick():
    """Sent by the schedule in settings.py, so that something is to be seen. Take both out."""
    return "tack"
'''

DEMO_TASKS = '''\
"""Six tasks to look at. Three are sent by the schedule in settings.py; send others from `python manage.py shell`."""

import asyncio
import random
import time

from celeriac import shared_task


@shared_task
def greet(name="whoever looks"):
    return f"Hello, {{name}}"


@shared_task
def add(x, y):
    return x + y


@shared_task(bind=True)
def count(self, to=10):
    """Says how far it is."""
    for done in range(to):
        self.update_state(state="PROGRESS", meta={{"done": done, "of": to}})
        time.sleep(0.2)
    return to


@shared_task(autoretry_for=(ConnectionError,), retry_backoff=1, max_retries=5)
def shaky():
    """Fails now and then, and is tried again."""
    if random.random() < 0.5:
        raise ConnectionError("the other end hung up")
    return "at last"


@shared_task
async def wait_for(seconds=1.0):
    """Hundreds of these run at a time."""
    await asyncio.sleep(seconds)


@shared_task
def fail():
    """Fails for good: its traceback is in the admin."""
    return {{}}["nothing here"]
'''


def settings(name: str, schedule: tuple[tuple[str, str, int], ...]) -> str:
    """Return what is written at the end of settings.py."""
    entries = (
        f'    "{entry}": {{"task": "{name}.tasks.{task}", "schedule": {seconds}}},\n'
        for entry, task, seconds in schedule
    )
    return SETTINGS.format(name=name, schedule="".join(entries))
