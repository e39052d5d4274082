"""The database broker and store sit the exams, on SQLite in a file and on PostgreSQL."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.settings")

from tests.django import databases

databases.set_up()

from celeriac.config import Settings  # noqa: E402
from celeriac.django.broker import DatabaseBroker  # noqa: E402
from celeriac.django.store import DatabaseStore  # noqa: E402
from celeriac.testing.broker_exam import BrokerExam  # noqa: E402
from celeriac.testing.store_exam import StoreExam  # noqa: E402
from tests.servers import PostgresServer  # noqa: E402


@pytest.fixture(scope="module")
def sqlite_alias(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    databases.add("exam", databases.sqlite(tmp_path_factory.mktemp("database") / "exam.sqlite3"))
    yield "exam"
    databases.remove("exam")


@pytest.fixture(scope="module")
def postgres_alias(postgres_server: PostgresServer) -> Iterator[str]:
    databases.add("exam_postgres", postgres_server.django())
    yield "exam_postgres"
    databases.remove("exam_postgres")


class OnDatabase:
    @pytest.fixture
    def alias(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def make_broker(self, alias: str) -> Callable[..., DatabaseBroker]:
        databases.empty(alias)
        return lambda **settings: DatabaseBroker(f"django://{alias}", Settings(**settings))

    @pytest.fixture
    def store(self, alias: str) -> DatabaseStore:
        return DatabaseStore(f"django-db://{alias}")

    @pytest.fixture
    def make_store(self, alias: str) -> Callable[..., Any]:
        databases.empty(alias)
        return lambda **settings: DatabaseStore(f"django-db://{alias}", Settings(**settings))


class _OnSQLite(OnDatabase):
    @pytest.fixture
    def alias(self, sqlite_alias: str) -> str:
        return sqlite_alias


class _OnPostgres(OnDatabase):
    @pytest.fixture
    def alias(self, postgres_alias: str) -> str:
        return postgres_alias


class TestSQLiteBroker(_OnSQLite, BrokerExam):
    """SQLite in a file, each thread with its own connection."""


class TestSQLiteStore(_OnSQLite, StoreExam):
    """SQLite in a file."""


@pytest.mark.postgres
class TestPostgresBroker(_OnPostgres, BrokerExam):
    """PostgreSQL."""


@pytest.mark.postgres
class TestPostgresStore(_OnPostgres, StoreExam):
    """PostgreSQL."""
