"""The tasks of the django-tasks-db contender, in a module that the worker can import by itself."""

from bench import tally

try:
    from django.tasks import task
except ImportError:  # Django 5.2
    from django_tasks import task


@task
def noop(number: int) -> None:
    tally.tick(number)


@task
def noted(moment: int) -> None:
    tally.note(moment)
