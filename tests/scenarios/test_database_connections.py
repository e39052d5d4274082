"""Connections of whole workers on PostgreSQL: with one of Django's pools, in forked processes and on many threads."""

import pytest

from tests.scenarios.conftest import psql
from tests.scenarios.journal import until
from tests.scenarios.small_project import SETTINGS, Project
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgres

TASKS = """\
from celeriac import shared_task
from celeriac.django.models import TaskResult
from django.db import connection


@shared_task
def look():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


@shared_task
async def alook():
    return await TaskResult.objects.acount()
"""
SEND = """\
import json
from celeriac import ResultSet, current_app
from shop.tasks import alook, look

app = current_app()
results = ResultSet(app.send_many([*(look.s() for _ in range(40)), *(alook.s() for _ in range(10))]))
print(json.dumps(results.get(timeout=60)))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Project:
    """A project whose default database has a pool that is smaller than the worker."""
    pytest.importorskip("psycopg_pool")
    made = Project(tmp_path_factory.mktemp("pool"))
    psql(postgres_server, "DROP DATABASE IF EXISTS connections WITH (FORCE)")
    psql(postgres_server, "CREATE DATABASE connections")
    pool = {"OPTIONS": {"pool": {"min_size": 2, "max_size": 4, "timeout": 60}}}
    made.write(
        "proj/settings.py",
        SETTINGS.replace("DEBUG = True", "DEBUG = False")
        + f"DATABASES = {{'default': {postgres_server.django('connections') | pool!r}}}\n",
    )
    made.write("shop/tasks.py", TASKS)
    made.migrate()
    return made


@pytest.mark.parametrize("words", [["-c", "2"], ["-P", "threads", "-c", "8"]], ids=["prefork", "threads"])
def test_a_pool(project: Project, postgres_server: PostgresServer, words: list[str]) -> None:
    with project.worker(*words):
        done = project.python(SEND)
        assert done.returncode == 0, done.stderr
        # Somebody ends all connections, as a restart does; nobody notices.
        psql(
            postgres_server,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'connections'",
        )
        done = project.python(SEND)
        assert done.returncode == 0, done.stderr
    log = (project.folder / "worker.log").read_text()
    assert "Traceback" not in log, log
    remaining = "SELECT 1 FROM pg_stat_activity WHERE datname = 'connections'"
    until(lambda: psql(postgres_server, remaining) == 0, "the worker has left")
