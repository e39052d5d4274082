"""Whether the tables are there: called when a statement failed for want of one, and before a worker starts."""

from django.db import connections
from django.db.migrations.loader import MigrationLoader

from celeriac.errors import NotInstalled

APP = "celeriac"


def missing_migrations(alias: str) -> NotInstalled | None:
    """Return the error to raise if the database lacks migrations of ours, else None."""
    loader = MigrationLoader(connections[alias], ignore_no_migrations=True)
    known = {key for key in loader.disk_migrations if key[0] == APP}
    lacking = len(known - set(loader.applied_migrations))
    if not lacking:
        return None
    plural = "" if lacking == 1 else "s"
    option = "" if alias == "default" else f" --database {alias}"
    return NotInstalled(
        f"The database lacks {lacking} celeriac migration{plural}. Run:  python manage.py migrate{option}"
    )
