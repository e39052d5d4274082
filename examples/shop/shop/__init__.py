"""The shop's project package. Importing it makes the task app the current one, as Celery's guide has it."""

from .celery import app as celery_app

__all__ = ("celery_app",)
