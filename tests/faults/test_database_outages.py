"""The database broker under faults: SQLite locked by another program, PostgreSQL killed, cut and frozen, under load."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.faults.load import AWAY, accepted, check, load, resumed, told, wait_told
from tests.scenarios.conftest import MakeProject, psql
from tests.scenarios.harness import Project, Worker, account, until, wait
from tests.servers import PostgresServer
from tests.servers import _running as running
from tests.size import size

#: Half of it is what all have, after an outage, to say that they live: more than any of them is held up for.
LEASE = 8.0
#: How long a lock is held of which nobody says a word; and how long a worker waits for one until it does.
SHORT, WORD = 1.0, 4.5


@contextmanager
def locked(project: Project) -> Iterator[None]:
    """Hold SQLite's lock for writers, from another process's point of view."""
    lock = sqlite3.connect(project.database["NAME"], isolation_level=None, timeout=60)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("COMMIT")
        lock.close()


def wait_for_a_lock(workers: list[Worker], lock: AbstractContextManager[None], long: bool) -> None:
    """Hold a lock for a moment, of which the workers say nothing, or until each has said one word of it."""
    begun = time.monotonic()
    with lock:
        if long:
            for one in workers:
                one.wait_said(AWAY)
        wait((LEASE + 0.5 if long else SHORT) - (time.monotonic() - begun))
    held = time.monotonic() - begun
    for one in workers:
        one.wait_said("Back after", times=int(long))
    # It takes a machine that stands still to hold it for so long, and then a word may be said.
    assert long or held > WORD or not any(one.said(AWAY) for one in workers)


def test_delay_waits_for_a_locked_database(make_project: MakeProject) -> None:
    project = make_project("sqlite", task_publish_timeout=600.0)
    project.client.delay("work", "before")
    with locked(project):
        project.client.begin("work", ["during"])
        wait(SHORT)
        assert sum(project.client.ask("so_far").values()) == 0, "it waits"
    assert project.client.finish().accepted == ["during"], "and not for as long as it may"
    with project.working():
        project.client.wait_empty()
    assert account(project.journal, ["before", "during"]) == []


def test_delay_does_not_wait_longer_than_it_may(make_project: MakeProject) -> None:
    project = make_project("sqlite")
    project.database["OPTIONS"]["timeout"] = 600  # the project's own patience is another matter
    before = accepted(project, "before")
    with locked(project):
        answer = project.client.delay("work", "refused")
    assert answer["seconds"] > 1.9
    error = answer["error"]
    assert (error["code"], error["maybe"]) == ("E109", False)
    assert str(project.database["NAME"]) in error["text"] and "was NOT queued" in error["text"]
    with project.working():
        project.client.wait_empty()
    assert project.journal.done() == {before}


@pytest.mark.scenario("e")
@pytest.mark.parametrize("long", [False, True])
def test_a_worker_waits_for_a_locked_database(make_project: MakeProject, long: bool) -> None:
    """For some seconds without a word, then with one."""
    project = make_project("sqlite", worker_lease=LEASE, task_publish_timeout=60.0)
    keys = list(range(400))
    ids = project.client.send("work", [[key, 0.01] for key in keys])
    with project.working() as worker, project.working("-n", "second", "-c", "1") as second:
        project.journal.wait_count(100)
        wait_for_a_lock([worker, second], locked(project), long)
        project.client.wait_empty()
        for one in (worker, second):
            told(one)
            assert not one.said("has not been heard of")
    assert account(project.journal, keys) == []
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


def test_a_worker_that_starts_waits_for_a_locked_database(make_project: MakeProject) -> None:
    project = make_project("sqlite", task_publish_timeout=60.0)
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
    return make_project("postgres", server=own_postgres)


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Have all of a server's processes stopped: connections stay open, and nobody answers."""
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@pytest.mark.postgres
def test_delay_says_while_postgres_is_frozen_that_it_does_not_answer(
    project: Project, own_postgres: PostgresServer
) -> None:
    before, refused, answers = [], [], []

    def unsure() -> str:
        """Return what may have been queued. A connection that was idle for 2 s is asked first, and then it is sure."""
        before.append(accepted(project, f"before-{len(before)}"))
        keys = [f"{name}-{len(before)}" for name in ("unsure", "refused")]
        with frozen(own_postgres):
            answers[:] = [project.client.delay("work", key) for key in keys]
        assert all(answer["seconds"] > 1.5 for answer in answers)
        maybe = [answer["error"]["maybe"] for answer in answers]
        assert not maybe[1], "there is no connection to send it on"
        refused.extend(keys[maybe[0] :])
        return keys[0] if maybe[0] else ""

    key = until(unsure, "it cannot tell")
    texts = []
    for answer in answers:
        error = answer["error"]
        assert (error["type"], error["code"]) == ("BrokerDown", "E109")
        assert str(project.database["NAME"]) in error["text"]
        texts.append(error["text"])
    assert re.search(
        r"no answer within \d\.\d s\. The task jobs.tasks.work may have been queued \(id ", texts[0]
    )
    assert "The task jobs.tasks.work was NOT queued" in texts[1]
    before.append(accepted(project, "after"))
    with project.working():
        project.client.wait_empty()
    ran = project.journal.done()
    assert set(before) <= ran and not ran & set(refused)
    assert account(project.journal, ran) == []
    print(f"the unsure one ran: {key in ran}")


@contextmanager
def table_locked(server: PostgresServer, project: Project) -> Iterator[None]:
    """Hold a lock on our largest table as a migration does."""
    import psycopg

    with psycopg.connect(server.dsn(project.database["NAME"])) as connection:
        connection.execute("LOCK TABLE celeriac_message IN ACCESS EXCLUSIVE MODE")
        yield


def connections(server: PostgresServer, project: Project, kind: str) -> int:
    """Return how many connections to the project's database there are, of those that `kind` tells."""
    name = project.database["NAME"]
    return psql(server, f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND {kind}")


@pytest.mark.postgres
def test_delay_waits_for_a_locked_table(own_postgres: PostgresServer, make_project: MakeProject) -> None:
    project = make_project("postgres", server=own_postgres, task_publish_timeout=600.0)
    project.client.delay("work", "before")
    with table_locked(own_postgres, project):
        project.client.begin("work", ["waited"])
        until(lambda: connections(own_postgres, project, "wait_event_type = 'Lock'"), "delay() waits")
    assert project.client.finish().accepted == ["waited"], "and not for as long as it may"
    with project.working():
        project.client.wait_empty()
    assert project.journal.done() == {"before", "waited"}


@pytest.mark.postgres
def test_delay_waits_for_a_locked_table_no_longer_than_it_may(
    project: Project, own_postgres: PostgresServer
) -> None:
    before = accepted(project, "before")
    answers: dict[str, dict[str, Any]] = {}

    def sure() -> dict[str, Any] | None:
        """Return the answer if the server has cancelled the statement in the moment it has for that: it is certain."""
        key = f"refused-{len(answers)}"
        answers[key] = project.client.delay("work", key)
        return None if answers[key]["error"]["maybe"] else answers[key]

    with table_locked(own_postgres, project):
        refused = until(sure, lambda: f"the server cancels it: {answers}")
    error = refused["error"]
    assert refused["seconds"] > 1.0
    assert error["code"] == "E109"
    assert re.search(r"not done within \d\.\d s, and cancelled: perhaps a lock", error["text"])
    assert "was NOT queued" in error["text"]
    with project.working():
        project.client.wait_empty()
    ran = project.journal.done()
    assert before in ran
    assert not ran & {key for key, answer in answers.items() if not answer["error"]["maybe"]}


@pytest.mark.postgres
@pytest.mark.parametrize("long", [False, True])
def test_a_worker_waits_for_a_locked_table(
    own_postgres: PostgresServer, make_project: MakeProject, long: bool
) -> None:
    """As on SQLite; and it does not fill the server with statements that wait for the lock."""
    project = make_project("postgres", server=own_postgres, task_publish_timeout=60.0)
    keys = list(range(400))
    ids = project.client.send("work", [[key, 0.01] for key in keys])
    with project.working() as worker, project.working("-n", "second", "-c", "1") as second:
        project.journal.wait_count(100)
        wait_for_a_lock([worker, second], table_locked(own_postgres, project), long)
        open_ones = connections(own_postgres, project, "true")
        project.client.wait_empty()
        for one in (worker, second):
            told(one)
            assert not one.said("has not been heard of")
    print(f"{open_ones} connections after a lock")
    assert open_ones < 20
    assert account(project.journal, keys) == []
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.slow
@pytest.mark.scenario("d")
@pytest.mark.postgres
def test_postgres_is_killed_and_restarted_under_load(
    own_postgres: PostgresServer, make_project: MakeProject
) -> None:
    project = make_project("postgres", server=own_postgres, task_publish_timeout=60.0)
    with project.working("-c", "4") as worker:
        with load(project, 0.005) as end:
            for times in range(1, size(2, 3) + 1):
                own_postgres.kill()
                worker.wait_said(AWAY, times=times)
                wait_told(project)
                own_postgres.start()
                project.journal.recoveries.append(resumed(project, "the server"))
                worker.wait_said("Back after", times=times)
            sent = end()
        project.client.wait_empty()
        assert told(worker, size(2, 3)) >= size(2, 3)
        assert not worker.said("Traceback")
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
@pytest.mark.postgres
def test_all_connections_to_postgres_are_cut_under_load(
    own_postgres: PostgresServer, make_project: MakeProject
) -> None:
    project = make_project("postgres", server=own_postgres, task_publish_timeout=60.0)
    cuts = 5
    with project.working("-c", "4") as worker:
        with load(project, 0.005) as end:
            for _ in range(cuts):
                count = len(project.journal.done())
                psql(own_postgres, CUT)
                project.journal.wait_count(count + 40)
            sent = end()
        project.client.wait_empty()
        assert len(worker.said(AWAY)) <= cuts, worker.log
        assert not worker.said("Traceback")
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
@pytest.mark.postgres
def test_postgres_is_frozen_for_longer_than_the_lease(
    own_postgres: PostgresServer, make_project: MakeProject
) -> None:
    project = make_project("postgres", server=own_postgres, worker_lease=LEASE)
    with project.working("-c", "3") as worker, project.working("-n", "second", "-c", "1") as second:
        with load(project, 0.005) as end:
            with frozen(own_postgres):
                begun = time.monotonic()
                wait_told(project)
                wait(size(LEASE + 0.5, 30.0) - (time.monotonic() - begun))
            resumed(project, "the thaw")
            sent = end()
        project.client.wait_empty()
        for one in (worker, second):
            told(one)
            assert not one.said("has not been heard of"), "nobody was dead"
    check(project, sent)
