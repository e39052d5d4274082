"""A worker's connections: they outlive their server's restart, return to their pool, and end with the worker.

The tasks run on the memory broker, so that only they use the database, a PostgreSQL of this module's own.
"""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import translation

from celeriac import Celeriac
from celeriac.brokers.memory import MemoryBroker
from celeriac.context import Request
from celeriac.django import around
from celeriac.django.framework import DjangoFramework
from celeriac.django.models import TaskResult
from celeriac.hooks import Hooks
from celeriac.message.message import Headers, Message, Properties
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker
from tests.django import databases
from tests.scenarios.journal import until
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgres
PATIENCE = 60.0
REQUEST = Request(Message(Headers("t", "id"), Properties(), b""), "q", "w")


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server of this module's own, as it is restarted here."""
    with databases.postgres_of_its_own("mortal") as server:
        yield server


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celeriac]:
    app = Celeriac(
        "connections",
        broker="memory://connections",
        backend="memory://connections",
        worker_state_dir=str(tmp_path),
        worker_async_concurrency=1,
    )
    yield app
    assert isinstance(app.broker, MemoryBroker)
    app.broker.clear()
    app.close()


class Working:
    """A worker in a thread, which ends with the block."""

    def __init__(self, app: Celeriac) -> None:
        self.worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.worker.run()
        finally:
            connections.close_all()

    def __enter__(self) -> "Working":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def clients(server: PostgresServer) -> int:
    """Return how many are connected, ourselves left out."""
    with psycopg.connect(server.dsn()) as own:
        row = own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    return 0 if row is None else int(row[0])


def define(app: Celeriac) -> dict[str, Any]:
    @app.task(name="connections.sync")
    def count() -> int:
        return TaskResult.objects.using("mortal").count()

    @app.task(name="connections.async")
    async def acount() -> int:
        return await TaskResult.objects.using("mortal").acount()

    @app.task(name="connections.wrapped")
    async def wrapped() -> int:
        return await sync_to_async(TaskResult.objects.using("mortal").count)()

    return {"sync": count, "async": acount, "wrapped": wrapped}


def test_a_server_that_restarts_between_two_tasks_is_not_noticed(
    server: PostgresServer, app: Celeriac
) -> None:
    tasks = define(app)
    with Working(app):
        for _ in range(2):
            for name, task in tasks.items():
                assert task.delay().get(timeout=PATIENCE) == 0, name
            server.restart()
        for name, task in tasks.items():
            assert task.delay().get(timeout=PATIENCE) == 0, name
        # One for the thread that runs functions, one for the thread beside the loop.
        until(lambda: clients(server) == 2, "no other is open", PATIENCE)
    until(lambda: clients(server) == 0, "nothing is left open", PATIENCE)


def test_a_coroutine_that_broke_its_connection_does_not_break_the_next(
    server: PostgresServer, app: Celeriac
) -> None:
    tasks = define(app)

    @app.task(name="connections.suicide")
    async def suicide() -> None:
        def end() -> None:
            with connections["mortal"].cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        await sync_to_async(end)()

    @app.task(name="connections.manual")
    async def manual() -> None:
        await sync_to_async(lambda: connections["mortal"].set_autocommit(False))()

    with Working(app):
        assert tasks["async"].delay().get(timeout=PATIENCE) == 0
        assert "terminat" in str(suicide.delay().get(timeout=PATIENCE, propagate=False))
        assert tasks["async"].delay().get(timeout=PATIENCE) == 0
        manual.delay().get(timeout=PATIENCE)
        assert tasks["async"].delay().get(timeout=PATIENCE) == 0


def test_a_busy_database_keeps_only_those_waiting_who_want_it(server: PostgresServer, app: Celeriac) -> None:
    app.conf.update(worker_async_concurrency=3)
    tasks = define(app)

    @app.task(name="connections.idle")
    async def idle() -> str:
        await asyncio.sleep(0)
        return "idle"

    with psycopg.connect(server.dsn()) as other, Working(app):
        assert tasks["async"].delay().get(timeout=PATIENCE) == 0
        other.execute("LOCK TABLE celeriac_taskresult")
        blocked = tasks["async"].delay()
        with psycopg.connect(server.dsn(), autocommit=True) as watch:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: watch.execute(waiting).fetchall(), "it waits for the lock", PATIENCE)
        around_known = around.beside_loop._opened.known
        around.beside_loop._opened.known = around_known - 60  # as if so much time had passed
        assert idle.delay().get(timeout=PATIENCE) == "idle"
        assert not blocked.ready()
        other.rollback()
        assert blocked.get(timeout=PATIENCE) == 0


def test_a_language_does_not_go_on_to_the_coroutine_that_waited_for_a_slot(app: Celeriac) -> None:
    @app.task(name="connections.speak")
    async def speak(language: str | None) -> str | None:
        found = translation.get_language()
        if language:
            await asyncio.sleep(0.01)
            translation.activate(language)
        return found

    results = [speak.delay(language) for language in ("fr", None, "de", None)]
    with Working(app):
        assert {result.get(timeout=PATIENCE) for result in results} == {translation.get_language()}


class TestPools:
    @pytest.fixture
    def pooled(self, server: PostgresServer) -> Iterator[Any]:
        pytest.importorskip("psycopg_pool")
        options = {"pool": {"min_size": 1, "max_size": 2, "timeout": PATIENCE}}
        connections.settings["pooled"] = connections.configure_settings(
            {"default": server.django() | {"OPTIONS": options}}
        )["default"]
        connection: Any = connections["pooled"]
        yield connection
        connection.close()
        if "pooled" in connection._connection_pools:
            connection.close_pool()
        databases.remove("pooled")

    def test_each_task_gives_back_what_it_took(self, pooled: Any) -> None:
        hooks = Hooks()
        DjangoFramework().install_hooks(hooks)
        with pooled.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert pooled.connection is not None
        for hook in hooks.after_task:
            hook(REQUEST)
        assert pooled.connection is None
        with pooled.pool.connection(), pooled.pool.connection():  # all that it has
            pass

    def test_a_fork_shares_no_pool(self, pooled: Any) -> None:
        with pooled.cursor() as cursor:
            cursor.execute("SELECT 1")
        DjangoFramework().before_fork()
        assert "pooled" not in pooled._connection_pools
        with pooled.cursor() as cursor:
            cursor.execute("SELECT 1")

    def test_the_broker_gets_over_a_pool_of_dead_connections(
        self, server: PostgresServer, pooled: Any
    ) -> None:
        from celeriac.django.broker import DatabaseBroker

        broker = DatabaseBroker("django://pooled")
        broker.depths()
        with pooled.pool.connection(), pooled.cursor() as cursor:
            cursor.execute("SELECT 1")
        pooled.close()
        broker.depths()
        server.restart()
        assert broker.depths() == {}
        broker.close()


def test_health_checks_are_made_once_for_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for each request, where CONN_HEALTH_CHECKS asks for it."""
    hooks, asked = Hooks(), []
    default_connection: Any = connections["default"]
    default_connection.ensure_connection()
    DjangoFramework().install_hooks(hooks)
    monkeypatch.setattr(default_connection, "health_check_enabled", True)
    monkeypatch.setattr(default_connection, "is_usable", lambda: asked.append(1) or True)
    for _ in range(3):
        for hook in hooks.before_task:
            hook(REQUEST)
        for _ in range(2):
            with default_connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        for hook in hooks.after_task:
            hook(REQUEST)
    assert len(asked) == 2  # a new connection is a healthy one


def test_what_was_active_before_the_task_is_active_after_it() -> None:
    hooks = Hooks()
    DjangoFramework().install_hooks(hooks)
    with translation.override("de"):
        for hook in hooks.before_task:
            hook(REQUEST)
        translation.activate("fr")
        for hook in hooks.after_task:
            hook(REQUEST)
        assert translation.get_language() == "de"
        for hook in hooks.before_task:
            hook(REQUEST)
        translation.deactivate_all()
        for hook in hooks.after_task:
            hook(REQUEST)
        assert translation.get_language() == "de"
