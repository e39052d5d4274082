"""The system checks that open databases, and are run only for those that `--database` names: tables, and schedules."""

import sys
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.db import router

from celeriac.django.checks.declared import found
from celeriac.django.checks.keepers import aliases_of, opened
from celeriac.django.checks.project import resolved
from celeriac.django.checks.work import check_entry, loaded_app
from celeriac.django.installed import missing_migrations
from celeriac.django.schedule_rules import WRONG
from celeriac.errors import ImproperlyConfigured


def check_tables(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **options: Any
) -> list[checks.CheckMessage]:
    """Whether those of the databases that are our broker or result store have all our migrations."""
    # `migrate` runs the checks of the database that it is about to migrate.
    if not databases or sys.argv[1:2] == ["migrate"]:
        return []
    try:
        ours = aliases_of(opened(resolved().settings)[0])
    except ImproperlyConfigured:
        return []  # said by check_settings
    schedules = router.db_for_read(apps.get_model("celeriac", "Schedule"))
    lacking = {alias: missing_migrations(alias) for alias in {*ours, schedules} if alias in databases}
    messages = [found("E008", str(error)) for error in lacking.values() if error is not None]
    if schedules in lacking and lacking[schedules] is None:
        messages += _check_schedules(schedules)
    return messages


def _check_schedules(alias: str) -> list[checks.CheckMessage]:
    """What is wrong with schedules that are on: when they are due, and what they call."""
    messages: list[checks.CheckMessage] = []
    rows = apps.get_model("celeriac", "Schedule").objects.using(alias).filter(enabled=True, from_code="")
    try:
        tasks = loaded_app().tasks
    except Exception:
        return []
    for row in rows.iterator():
        try:
            entry = row.entry
        except WRONG as error:
            messages.append(found("W012", f"The schedule {row.name!r} in the database is left out: {error}"))
        else:
            messages += check_entry(entry, tasks)
    return messages
