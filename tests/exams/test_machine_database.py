"""The database broker agrees with the model, on SQLite and on PostgreSQL."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.settings")

from tests.django import databases

databases.set_up()

from celeriac.config import Settings  # noqa: E402
from celeriac.django.broker import DatabaseBroker  # noqa: E402
from tests.exams import machine  # noqa: E402
from tests.servers import PostgresServer  # noqa: E402


def agrees(alias: str, database: dict[str, Any], examples: int = 60) -> None:
    databases.add(alias, database)

    def open_empty() -> DatabaseBroker:
        databases.empty(alias)
        return DatabaseBroker(f"django://{alias}", Settings())

    try:
        machine.run(open_empty, max_examples=examples, stateful_step_count=30)
    finally:
        databases.remove(alias)


def test_sqlite(tmp_path: Path) -> None:
    agrees("machine", databases.sqlite(tmp_path / "machine.sqlite3"))


@pytest.mark.postgres
def test_postgres(postgres_server: PostgresServer) -> None:
    agrees("machine_postgres", postgres_server.django())
