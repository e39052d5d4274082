"""The database broker under faults: SQLite locked by another program, PostgreSQL killed, cut and frozen, under load."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.load import LEASE, begin_load, check
from tests.scenarios.conftest import MakeProject, psql
from tests.scenarios.harness import Project, account, wait
from tests.servers import PostgresServer
from tests.servers import _running as running
from tests.size import size

AWAY = "The worker waits and goes on when it is back."


@contextmanager
def locked(project: Project, seconds: float | None = None) -> Iterator[None]:
    """Hold SQLite's lock for writers for `seconds`, or the block, from another process's point of view."""
    lock = sqlite3.connect(
        project.database["NAME"], isolation_level=None, check_same_thread=False, timeout=20
    )
    lock.execute("BEGIN IMMEDIATE")
    timer = None if seconds is None else threading.Timer(seconds, lock.execute, ["COMMIT"])
    if timer is not None:
        timer.start()
    try:
        yield
    finally:
        if timer is None:
            lock.execute("COMMIT")
        else:
            timer.join()
        lock.close()


def test_delay_waits_for_a_locked_database(make_project: MakeProject) -> None:
    project = make_project("sqlite", task_publish_timeout=10.0)
    project.client.delay("work", "before")
    with locked(project, 3.0):
        answer = project.client.delay("work", "during")
    assert 2.0 < answer["seconds"] < 5.0
    assert answer["id"]
    with project.working():
        project.client.wait_empty()
    assert account(project.journal, ["before", "during"]) == []


def test_delay_does_not_wait_longer_than_it_may(make_project: MakeProject) -> None:
    project = make_project("sqlite")
    project.client.delay("work", "before")
    with locked(project, 4.0):
        answer = project.client.delay("work", "refused")
    assert 1.9 < answer["seconds"] < 3.0
    error = answer["error"]
    assert (error["code"], error["maybe"]) == ("E109", False)
    assert str(project.database["NAME"]) in error["text"] and "was NOT queued" in error["text"]
    with project.working():
        project.client.wait_empty()
    assert project.journal.done() == {"before"}


@pytest.mark.scenario("e")
@pytest.mark.parametrize(("seconds", "said"), [(3.0, 0), (9.0, 1)])
def test_a_worker_waits_for_a_locked_database(make_project: MakeProject, seconds: float, said: int) -> None:
    """For some seconds without a word, then with one."""
    project = make_project("sqlite", worker_lease=6.0)
    keys = list(range(400))
    ids = project.client.send("work", [[key, 0.01] for key in keys])
    with project.working() as worker, project.working("-n", "second", "-c", "1") as second:
        project.journal.wait_count(100)
        with locked(project, seconds):
            pass
        project.client.wait_empty()
        for one in (worker, second):
            assert len(one.said(AWAY)) == said, one.log
            assert not one.said("has not been heard of")
    assert account(project.journal, keys) == []
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


def test_a_worker_that_starts_waits_for_a_locked_database(make_project: MakeProject) -> None:
    project = make_project("sqlite")
    project.client.send("work", [["one"]])
    with locked(project):
        worker = project.start(ready=False)
        worker.wait_said("The worker starts when it is there.")
    worker.wait_ready()
    project.client.wait_empty()
    assert len(worker.said("The worker starts when it is there.")) == 1
    assert worker.stop() == 0
    assert project.journal.done() == {"one"}


# -- PostgreSQL

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'scenario%'"


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server of these tests' own, whose commits are on disk."""
    yield from running(lambda: PostgresServer(durable=True))


@pytest.fixture
def project(own_postgres: PostgresServer, make_project: MakeProject) -> Project:
    """A project on it."""
    return make_project("postgres", server=own_postgres, worker_lease=LEASE)


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Have all of a server's processes stopped: connections stay open, and nobody answers."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@pytest.mark.postgres
def test_delay_says_within_its_deadline_that_postgres_is_frozen(
    project: Project, own_postgres: PostgresServer
) -> None:
    project.client.delay("work", "before")
    with frozen(own_postgres):
        unsure = project.client.delay("work", "unsure")
        refused = project.client.delay("work", "refused")
    for answer, maybe in ((unsure, True), (refused, False)):
        error = answer["error"]
        assert 1.5 < answer["seconds"] < 2.6
        assert (error["type"], error["code"], error["maybe"]) == ("BrokerDown", "E109", maybe)
        assert str(project.database["NAME"]) in error["text"]
    assert (
        "no answer within 2.0 s. The task jobs.tasks.work may have been queued (id "
        in unsure["error"]["text"]
    )
    assert "The task jobs.tasks.work was NOT queued" in refused["error"]["text"]
    assert "id" in project.client.delay("work", "after")
    with project.working():
        project.client.wait_empty()
    ran = project.journal.done()
    assert {"before", "after"} <= ran <= {"before", "after", "unsure"}
    assert account(project.journal, ran) == []
    print(f"{unsure['seconds']:.2f} s and {refused['seconds']:.2f} s; the unsure one ran: {'unsure' in ran}")


@contextmanager
def table_locked(server: PostgresServer, project: Project, seconds: float) -> Iterator[None]:
    """Hold a lock on our largest table as a migration does, for `seconds`."""
    import psycopg

    with psycopg.connect(server.dsn(project.database["NAME"])) as connection:
        connection.execute("LOCK TABLE celeriac_message IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(seconds, connection.commit)
        timer.start()
        try:
            yield
        finally:
            timer.join()


@pytest.mark.postgres
def test_delay_waits_for_a_locked_table_no_longer_than_it_may(
    project: Project, own_postgres: PostgresServer
) -> None:
    project.client.delay("work", "before")
    with table_locked(own_postgres, project, 1.0):
        waited = project.client.delay("work", "waited")
    with table_locked(own_postgres, project, 3.0):
        refused = project.client.delay("work", "refused")
    assert 0.5 < waited["seconds"] < 2.0 and waited["id"]
    assert 1.0 < refused["seconds"] < 2.6
    error = refused["error"]
    # The server has cancelled the statement, so it is certain.
    assert (error["code"], error["maybe"]) == ("E109", False)
    assert (
        "not done within 2.0 s, and cancelled: perhaps a lock" in error["text"]
        and "was NOT queued" in error["text"]
    )
    with project.working():
        project.client.wait_empty()
    assert project.journal.done() == {"before", "waited"}


@pytest.mark.postgres
@pytest.mark.parametrize(("seconds", "said"), [(3.0, 0), (9.0, 1)])
def test_a_worker_waits_for_a_locked_table(
    own_postgres: PostgresServer, make_project: MakeProject, seconds: float, said: int
) -> None:
    """As on SQLite; and it does not fill the server with statements that wait for the lock."""
    project = make_project("postgres", server=own_postgres, worker_lease=15.0)
    keys = list(range(400))
    ids = project.client.send("work", [[key, 0.01] for key in keys])
    with project.working() as worker, project.working("-n", "second", "-c", "1") as second:
        project.journal.wait_count(100)
        with table_locked(own_postgres, project, seconds):
            pass
        waiting = psql(own_postgres, "SELECT 1 FROM pg_stat_activity WHERE datname LIKE 'scenario%'")
        project.client.wait_empty()
        for one in (worker, second):
            one.wait_said("Back after", times=said)
            assert len(one.said(AWAY)) == len(one.said("Back after")) == said, one.log
            assert not one.said("has not been heard of")
    print(f"{waiting} connections after a lock of {seconds} s")
    assert waiting < 20
    assert account(project.journal, keys) == []
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.slow
@pytest.mark.scenario("d")
@pytest.mark.postgres
def test_postgres_is_killed_and_restarted_under_load(project: Project, own_postgres: PostgresServer) -> None:
    with project.working("-c", "4") as worker:
        begin_load(project, 8.0, 0.005)
        for times in range(1, size(2, 3) + 1):
            own_postgres.restart(down=1.0)
            up = time.monotonic()
            project.journal.wait_count(len(project.journal.done()) + 50)
            resumed = min(run.start for run in project.journal.runs() if run.start > up)
            print(f"resumed {resumed - up:.2f} s after the server")
            project.journal.recoveries.append(resumed - up)
            assert resumed - up < 5
            worker.wait_said("Back after", times=times)
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        assert len(worker.said(AWAY)) == size(2, 3), worker.log
        assert not worker.said("Traceback")
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
@pytest.mark.postgres
def test_all_connections_to_postgres_are_cut_under_load(
    project: Project, own_postgres: PostgresServer
) -> None:
    cuts = 5
    with project.working("-c", "4") as worker:
        begin_load(project, 3.0, 0.005)
        for _ in range(cuts):
            count = len(project.journal.done())
            psql(own_postgres, CUT)
            project.journal.wait_count(count + 40)
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        assert len(worker.said(AWAY)) <= cuts, worker.log
        assert not worker.said("Traceback")
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
@pytest.mark.timeout(size(120, 240))
@pytest.mark.postgres
def test_postgres_is_frozen_for_longer_than_the_lease(project: Project, own_postgres: PostgresServer) -> None:
    with project.working("-c", "3") as worker, project.working("-n", "second", "-c", "1") as second:
        begin_load(project, size(8.0, 36.0), 0.005)
        with frozen(own_postgres):
            wait(size(2 * LEASE, 30.0))
        project.journal.wait_count(len(project.journal.done()) + 50)
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        for one in (worker, second):
            assert len(one.said(AWAY)) <= 1, one.log
            assert not one.said("has not been heard of"), "nobody was dead"
    assert sent.longest < 3.0
    check(project, sent)
