"""The backend for Django's own tasks: TASKS names it, `"BACKEND": "celeriac.django.tasks_backend.CeleriacBackend"`.

For `django.tasks` of Django 6, and for the package `django-tasks`, which has the same on Django 5.2.
"""

from celeriac.django.tasks_backend.backend import CeleriacBackend as CeleriacBackend

__all__ = ["CeleriacBackend"]
