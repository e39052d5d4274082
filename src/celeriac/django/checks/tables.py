"""The system check that opens databases, and is run only for those that `--database` names: are our tables there?"""

import sys
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks

from celeriac.django.checks.declared import found
from celeriac.django.checks.keepers import aliases_of, opened
from celeriac.django.checks.project import resolved
from celeriac.django.installed import missing_migrations
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
    lacking = (missing_migrations(alias) for alias in ours if alias in databases)
    return [found("E008", str(error)) for error in lacking if error is not None]
