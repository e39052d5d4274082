"""How a consumer waits for messages: promptly, without a lost wake-up, and without keeping a processor busy."""

import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections, transaction

from celeriac.broker import Publication
from celeriac.django import wakeup
from celeriac.django.broker import DatabaseBroker
from celeriac.message.message import new_id
from tests.django import databases
from tests.servers import MariaDBServer, PostgresServer

#: Far longer than any machine stalls, so that what comes before it came because of what happened.
LONG = 60.0
SOON = 20.0


@pytest.fixture(autouse=True)
def nothing_but_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The looks that no event told of would hide a wake-up that was lost."""
    monkeypatch.setattr(wakeup, "_SAFETY", LONG)
    monkeypatch.setattr(wakeup, "_PULSE", LONG)


def message(queue: str = "celery", due: float | None = None) -> Publication:
    return Publication(new_id(), "shop.tasks.add", queue, b"", 0, due)


@pytest.fixture
def interrupt() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture(scope="module")
def postgres_alias(postgres_server: PostgresServer) -> Iterator[str]:
    databases.add("postgres_wait", postgres_server.django())
    yield "postgres_wait"
    databases.remove("postgres_wait")


@pytest.fixture(scope="module")
def mariadb_alias(mariadb_server: MariaDBServer) -> Iterator[str]:
    databases.add("mariadb_wait", mariadb_server.django("wait"))
    yield "mariadb_wait"
    databases.remove("mariadb_wait")


SERVERS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("postgres", "mariadb")]


@pytest.fixture(params=["events", "polling", *SERVERS])
def alias(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database of each kind of watch."""
    if request.param in ("postgres", "mariadb"):
        name = request.getfixturevalue(f"{request.param}_alias")
        databases.empty(name)
        yield name
        return
    if request.param == "polling":
        monkeypatch.setattr(sys, "platform", "darwin")
    databases.add("wait", databases.sqlite(tmp_path / "wait.sqlite3"))
    yield "wait"
    databases.remove("wait")


@pytest.fixture
def waiting(alias: str) -> Iterator[DatabaseBroker]:
    broker = DatabaseBroker(f"django://{alias}")
    yield broker
    broker.close()


def later(alias: str, *publications: Publication, after: float = 0.1) -> threading.Thread:
    """Publish in another thread, which has a connection of its own."""

    def publish() -> None:
        time.sleep(after)
        DatabaseBroker(f"django://{alias}").publish(publications, 2)
        databases.close(alias)

    thread = threading.Thread(target=publish)
    thread.start()
    return thread


def test_ends_with_a_message(waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]) -> None:
    thread = later(alias, message())
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert 0.05 < time.monotonic() - began < SOON
    thread.join()


def test_returns_at_once_if_there_is_something(
    waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]
) -> None:
    waiting.publish([message()], 2)
    began = time.monotonic()
    waiting.wait(["other", "celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON


def test_other_queues_do_not_end_it(waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]) -> None:
    thread = later(alias, message("other"))
    began = time.monotonic()
    waiting.wait(["celery"], 0.4, interrupt[0])
    assert 0.3 < time.monotonic() - began < SOON
    thread.join()


def test_the_interrupt_ends_it(waiting: DatabaseBroker, interrupt: tuple[int, int]) -> None:
    timer = threading.Timer(0.1, lambda: os.write(interrupt[1], b"x"))
    timer.start()
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON
    assert os.read(interrupt[0], 1) == b"x"
    timer.join()


def test_ends_when_the_next_is_due(waiting: DatabaseBroker, interrupt: tuple[int, int]) -> None:
    waiting.publish([message(due=time.time() + 0.3)], 2)
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert 0.2 < time.monotonic() - began < SOON


def test_a_message_for_later_shortens_a_wait_that_goes_on(
    waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]
) -> None:
    thread = later(alias, message(due=time.time() + 0.4))
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON
    thread.join()


def test_ends_with_the_commit(waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]) -> None:
    def publish() -> None:
        with transaction.atomic(using=alias):
            DatabaseBroker(f"django://{alias}").publish([message()], 2)
            time.sleep(0.3)
        connections[alias].close()

    thread = threading.Thread(target=publish)
    thread.start()
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert 0.2 < time.monotonic() - began < SOON
    thread.join()
    assert waiting.depths()["celery"].ready == 1


def test_no_wake_up_is_lost(waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]) -> None:
    """A consumer that claims and waits in turns, against one that publishes at odd moments."""
    total, seen = 300, 0
    delays: list[float] = []

    def publish() -> None:
        broker = DatabaseBroker(f"django://{alias}")
        for number in range(total):
            broker.publish([Publication(new_id(), "t", "celery", str(time.time()).encode())], 2)
            time.sleep((number % 7) * 0.0007)
        connections[alias].close()

    waiting.register("me", 60)
    thread = threading.Thread(target=publish)
    thread.start()
    number = 0
    deadline = time.monotonic() + 3 * LONG
    while seen < total and time.monotonic() < deadline:
        number += 1
        deliveries = waiting.claim("me", ["celery"], 10, number)
        delays += [time.time() - float(delivery.payload) for delivery in deliveries]
        seen += len(deliveries)
        if not deliveries:
            waiting.wait(["celery"], LONG, interrupt[0])
    thread.join()
    assert seen == total
    assert max(delays) < SOON
    # 1 ms where events tell of a change, 8 where a counter is asked; far more on a busy machine.
    assert statistics.median(delays) < 0.05


def test_costs_next_to_nothing(waiting: DatabaseBroker, interrupt: tuple[int, int]) -> None:
    waiting.wait(["celery"], 0.1, interrupt[0])
    used = time.process_time()
    waiting.wait(["celery"], 1.5, interrupt[0])
    assert time.process_time() - used < 0.06


def test_goes_on_after_the_connection_was_closed(
    waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]
) -> None:
    for _ in range(3):
        waiting.wait(["celery"], 0.02, interrupt[0])
        connections[alias].close()
    thread = later(alias, message())
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON
    thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_linux_tells_of_changes(broker: DatabaseBroker, interrupt: tuple[int, int]) -> None:
    broker.wait(["celery"], 0.01, interrupt[0])
    (watch,) = broker._watches
    assert isinstance(watch, wakeup.Files)


def test_a_database_in_memory(interrupt: tuple[int, int]) -> None:
    databases.add(
        "memory",
        {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": "file:celeriac_wait?mode=memory&cache=shared",
            "OPTIONS": {"uri": True},
        },
    )
    try:
        broker = DatabaseBroker("django://memory")
        assert broker.check() == []
        thread = later("memory", message())
        began = time.monotonic()
        broker.wait(["celery"], LONG, interrupt[0])
        assert time.monotonic() - began < SOON
        thread.join()
        broker.close()
    finally:
        databases.remove("memory")


def test_descriptors_are_given_back(broker: DatabaseBroker, interrupt: tuple[int, int]) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(5):
        broker.wait(["celery"], 0.01, interrupt[0])
        broker.close()
    assert count() <= before
