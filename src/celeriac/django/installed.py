"""Whether the tables are there: called when a statement failed for want of one, and before a worker starts."""

import pkgutil
from importlib import import_module

from django.db import connections
from django.db.migrations.loader import MigrationLoader

from celeriac.errors import NotInstalled

APP = "celeriac"


def missing_migrations(alias: str) -> NotInstalled | None:
    """Return the error to raise if the database lacks migrations of ours, else None."""
    lacking = len(_on_disk() - _applied(alias))
    if not lacking:
        return None
    plural = "" if lacking == 1 else "s"
    option = "" if alias == "default" else f" --database {alias}"
    return NotInstalled(
        f"The database lacks {lacking} celeriac migration{plural}. Run:  python manage.py migrate{option}"
    )


def _on_disk() -> set[str]:
    """Return the names of our migrations, from where the project's MIGRATION_MODULES has them.

    A `MigrationLoader` would read those of all apps, which a worker would keep in its memory.
    """
    module, _ = MigrationLoader.migrations_module(APP)
    if module is None:
        return set()
    try:
        package = import_module(module)
    except ModuleNotFoundError:
        return set()  # as `migrate` has it: an app without migrations
    found = pkgutil.iter_modules(package.__path__)
    return {name for _, name, is_package in found if not is_package and name[0] not in "_~"}


def _applied(alias: str) -> set[str]:
    with connections[alias].cursor() as cursor:
        if "django_migrations" not in connections[alias].introspection.table_names(cursor):
            return set()
        cursor.execute("SELECT name FROM django_migrations WHERE app = %s", [APP])
        return {name for (name,) in cursor.fetchall()}
