"""Databases for tests, added to the running Django: each with our tables, empty for each test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import connections

from celeriac import registry
from tests.servers import PostgresServer

TABLES = (
    "celeriac_message",
    "celeriac_body",
    "celeriac_consumer",
    "celeriac_revocation",
    "celeriac_command",
    "celeriac_schedule",
    "celeriac_scheduleentry",
    "celeriac_schedulepause",
    "celeriac_office",
    "celeriac_outboxmessage",
    "celeriac_taskresult",
)


def set_up() -> None:
    """Start Django without making it this process's framework: other tests know of none."""
    if not django.apps.apps.ready:
        django.setup()
        if "CELERIAC_TEST_SQLITE" not in os.environ:
            default = Path(connections["default"].settings_dict["NAME"])
            for left in default.parent.glob(f"{default.name}*"):
                left.unlink()  # of a process that had the same number, and was killed
        registry._framework.clear()
        registry._default.clear()


def add(alias: str, entry: dict[str, Any]) -> None:
    """Add a database to DATABASES and make our tables in it."""
    connections.settings[alias] = connections.configure_settings({"default": entry})["default"]
    call_command("migrate", "celeriac", database=alias, verbosity=0)


def close(alias: str) -> None:
    """Close this thread's connection, also to a database in memory, where Django's own `close` does nothing."""
    connection: Any = connections[alias]
    if connection.vendor == "sqlite" and connection.is_in_memory_db() and connection.connection is not None:
        connection.connection.close()
        connection.connection = None
    connection.close()


def remove(alias: str) -> None:
    """Take a database out again."""
    close(alias)
    del connections[alias]
    del connections.settings[alias]


def empty(alias: str) -> None:
    """Delete all rows of ours."""
    with connections[alias].cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")


def sqlite(path: Path, **options: Any) -> dict[str, Any]:
    """Return an entry for DATABASES as our system check asks for."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 60,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            **options,
        },
    }


@contextmanager
def postgres_of_its_own(alias: str) -> Iterator[PostgresServer]:
    """Start a PostgreSQL that may be killed, and add it to DATABASES.

    For fixtures that ask for `postgres_server` too, which says whether there is any.
    """
    with PostgresServer(durable=True) as server:
        add(alias, server.django())
        connections[alias].close()
        yield server
        remove(alias)
