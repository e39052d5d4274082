"""System checks of Django's own tasks, where TASKS has them run by Celeriac."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks

from celeriac.django.checks.declared import found
from celeriac.django.checks.project import resolved
from celeriac.django.framework import DjangoFramework
from celeriac.errors import ImproperlyConfigured


def check_django_tasks(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[checks.CheckMessage]:
    """Whether what they are promised holds: their results can be asked for."""
    if not DjangoFramework().finds_tasks():
        return []
    try:
        backend = resolved().settings.result_backend
    except ImproperlyConfigured:
        return []  # said by check_settings
    if backend is None or backend.startswith("disabled"):
        return [found("W011", "TASKS names Celeriac's backend, and result_backend is disabled.")]
    return []
