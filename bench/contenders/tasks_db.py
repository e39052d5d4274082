"""django-tasks-db: Django's task interface on the database. Results are always stored."""

from collections.abc import Iterable

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django_tasks_db.compat import TaskResultStatus  # noqa: E402
from django_tasks_db.models import DBTaskResult  # noqa: E402

from .tasks_db_app import noop, noted  # noqa: E402


def prepare() -> None:
    call_command("migrate", verbosity=0)


def one_by_one(numbers: Iterable[int]) -> None:
    for number in numbers:
        noop.enqueue(number)


def fill(numbers: Iterable[int]) -> None:
    from django.db import transaction

    with transaction.atomic():
        one_by_one(numbers)


def note(moment: int) -> None:
    noted.enqueue(moment)


def waiting() -> int:
    return int(DBTaskResult.objects.exclude(status=TaskResultStatus.SUCCESSFUL).count())


def stored() -> int:
    return int(DBTaskResult.objects.filter(status=TaskResultStatus.SUCCESSFUL).count())
