"""A web process that takes orders as fast as it can, each in one transaction with its task, until it is killed.

What it does with each is left to chance: commits, rolls back, nests blocks and rolls back some of them, sends one task
or many. Argument: what the orders' keys begin with, which is also what chance is seeded with.
"""

import itertools
import os
import random
import sys
from collections.abc import Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

from django.db import connection, transaction

from celeriac import registry

app = registry.current_app()
app.load_tasks()
task = app.tasks["jobs.tasks.work"]

prefix = sys.argv[1]
chance = random.Random(prefix)
keys = (f"{prefix}-{number}" for number in itertools.count())


class CalledOff(Exception):
    """The customer has thought better of it."""


def take(send: Callable[[str], object] = task.delay) -> None:
    """Take an order."""
    key = next(keys)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (%s)", [key])
    send(key)


def one() -> None:
    """The plain thing."""
    with transaction.atomic():
        take()


def on_commit() -> None:
    """As Celery's guide has it."""
    with transaction.atomic():
        take(task.delay_on_commit)


def many() -> None:
    """Several at once."""
    with transaction.atomic(), app.batch():
        for _ in range(chance.randint(2, 12)):
            take()


def called_off() -> None:
    """One that is rolled back, also with what was kept inside of it."""
    with transaction.atomic():
        take()
        with transaction.atomic():
            take()
        transaction.set_rollback(True)


def in_part() -> None:
    """One that goes through without the part that was rolled back."""
    with transaction.atomic():
        take()
        try:
            with transaction.atomic():
                take()
                with transaction.atomic():
                    take()
                raise CalledOff
        except CalledOff:
            pass
        with transaction.atomic():
            take()


while True:
    chance.choices((one, on_commit, many, called_off, in_part), (4, 1, 1, 2, 2))[0]()
