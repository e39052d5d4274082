"""Where the scenarios take place: `make_project` makes a project on SQLite, Redis or PostgreSQL."""

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.harness import PATIENCE, PROJECT, Project
from tests.scenarios.small_project import Project as SmallProject
from tests.servers import PostgresServer, RedisServer
from tests.servers import _running as running

MakeProject = Callable[..., Project]


def sqlite(path: Path) -> dict[str, Any]:
    """Return an entry for DATABASES as our system check asks for; who has the lock may be halted for some seconds."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": PATIENCE,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def migrate(project: Project) -> None:
    """Make the tables."""
    command = [sys.executable, str(PROJECT / "manage.py"), "migrate", "-v", "0"]
    subprocess.run(command, env=project.environment(), check=True, timeout=PATIENCE)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with our tables in it."""
    folder = tmp_path_factory.mktemp("template")
    migrate(Project(folder, sqlite(folder / "db.sqlite3")))
    return folder / "db.sqlite3"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a small project with all tables, to be copied."""
    project = SmallProject(tmp_path_factory.mktemp("migrated"))
    project.migrate()
    return project.folder / "db.sqlite3"


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[PostgresServer], dict[str, Any]]:
    """Make a database with our tables in it, a copy of the server's first; return its entry for DATABASES."""

    def make(server: PostgresServer) -> dict[str, Any]:
        if psql(server, "SELECT 1 FROM pg_database WHERE datname = 'scenario_template'") == 0:
            psql(server, "CREATE DATABASE scenario_template")
            migrate(Project(tmp_path_factory.mktemp("template"), server.django("scenario_template")))
        name = f"scenario_{uuid.uuid4().hex}"
        psql(server, f"CREATE DATABASE {name} TEMPLATE scenario_template")
        return server.django(name)

    return make


def psql(server: PostgresServer, statement: str) -> int:
    """Run one statement outside of a transaction; return how many rows it found or changed."""
    import psycopg

    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        return connection.execute(statement).rowcount  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def _durable_redis() -> Iterator[RedisServer]:
    yield from running(lambda: RedisServer(appendonly="yes", appendfsync="always"))


@pytest.fixture
def redis(_durable_redis: RedisServer) -> RedisServer:
    """A Redis that loses nothing when it is killed; empty at the test's start."""
    _durable_redis.thaw()
    if not _durable_redis.is_up():
        _durable_redis.start()
    _durable_redis.flush()
    return _durable_redis


@pytest.fixture
def make_project(
    request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path
) -> Iterator[MakeProject]:
    """Make a project on "sqlite", "redis", "mariadb" or "postgres", its own or a `server`; the rest are settings.

    `folder` is where SQLite's file is to be, instead of the test's own.
    """
    made: list[Project] = []

    def make(
        place: str, server: PostgresServer | None = None, folder: Path | None = None, **settings: Any
    ) -> Project:
        path = (folder or tmp_path) / "db.sqlite3"
        shutil.copyfile(sqlite_template, path)
        database = sqlite(path)
        if place == "redis":
            url = request.getfixturevalue("redis").url
            settings = {"broker_url": url, "result_backend": url} | settings
        elif place == "mariadb":
            database = request.getfixturevalue("mariadb_server").django(f"scenario_{uuid.uuid4().hex}")
            migrate(Project(tmp_path, database))
        elif place == "postgres":
            server = server or request.getfixturevalue("postgres_server")
            database = request.getfixturevalue("new_database")(server)
        made.append(Project(tmp_path, database, **settings))
        return made[-1]

    yield make
    failed = getattr(request.node, "failed", False)
    marker = request.node.get_closest_marker("scenario")
    if marker is not None and made:
        request.node.user_properties.append(("battery", note(marker.args[0], made)))
    for project in made:
        project.close()
        if failed:
            for worker in project.workers:
                lines = [line for line in worker.log.splitlines() if " ✓ " not in line]
                print(f"--- {worker.log_path.name}", *lines[-60:], sep="\n", file=sys.stderr)


def note(scenario: str, projects: list[Project]) -> dict[str, Any]:
    """Return what the battery's table tells of a test that is over, passed or not."""
    fates: dict[str, str] = {}
    recoveries: list[float] = []
    for project in projects:
        fates |= project.journal.fates
        recoveries += project.journal.recoveries or project.journal.reruns
    return {
        "scenario": scenario,
        "fates": list(fates.values()),
        "recoveries": recoveries,
        "stuck": sum(project.stuck() for project in projects),
        "deaths": sum(worker.died for project in projects for worker in project.workers),
    }


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Tell the fixtures whether the test has failed, so that they show the workers' logs."""
    report = yield
    if report.when == "call":
        item.failed = report.failed  # type: ignore[attr-defined]
    return report
