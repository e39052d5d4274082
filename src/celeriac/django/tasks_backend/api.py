"""Django's Tasks under one set of names: `django.tasks` of Django 6, or the package `django-tasks` on Django 5.2.

The names are Django's. Importing this raises ImportError where there is neither.
"""

from importlib import import_module
from typing import Any

import django

_PACKAGE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
try:
    _tasks: Any = import_module(_PACKAGE)
except ModuleNotFoundError as error:
    if error.name != _PACKAGE:
        raise
    raise ImportError(
        "Django has tasks of its own from version 6.0 on. On Django 5.2 install the package that has the same: "
        "pip install django-tasks"
    ) from None
_base: Any = import_module(f"{_PACKAGE}.base")
_exceptions: Any = import_module(f"{_PACKAGE}.exceptions")
_signals: Any = import_module(f"{_PACKAGE}.signals")

task_backends: Any = _tasks.task_backends
BaseTaskBackend: Any = import_module(f"{_PACKAGE}.backends.base").BaseTaskBackend

Task: Any = _base.Task
TaskContext: Any = _base.TaskContext
TaskError: Any = _base.TaskError
TaskResult: Any = _base.TaskResult
TaskResultStatus: Any = _base.TaskResultStatus

task_enqueued: Any = _signals.task_enqueued
task_started: Any = _signals.task_started
task_finished: Any = _signals.task_finished

TaskResultDoesNotExist: Any = _exceptions.TaskResultDoesNotExist
# The package has these two under longer names.
InvalidTask: Any = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
InvalidTaskBackend: Any = (
    getattr(_exceptions, "InvalidTaskBackend", None) or _exceptions.InvalidTaskBackendError
)

_json: Any = import_module("django.utils.json" if django.VERSION >= (6, 0) else "django_tasks.utils")
normalize_json: Any = _json.normalize_json
