"""How a consumer waits for messages: promptly, without a lost wake-up, and without keeping a processor busy."""

import os
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
LONG = 600.0
SOON = 60.0


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
        DatabaseBroker(f"django://{alias}").publish(publications, 60)
        databases.close(alias)

    thread = threading.Thread(target=publish)
    thread.start()
    return thread


def test_ends_with_a_message(waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]) -> None:
    thread = later(alias, message())
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON
    assert waiting.depths()["celery"].ready == 1, "not before there was one"
    thread.join()


def test_returns_at_once_if_there_is_something(
    waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]
) -> None:
    waiting.publish([message()], 60)
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
    due = time.time() + 0.3
    waiting.publish([message(due=due)], 60)
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON
    assert time.time() > due - 0.1


def test_a_message_for_later_shortens_a_wait_that_goes_on(
    waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]
) -> None:
    due = time.time() + 0.4
    thread = later(alias, message(due=due))
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON
    assert time.time() > due - 0.1
    thread.join()


def test_ends_with_the_commit(waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]) -> None:
    written, committing = threading.Event(), threading.Event()

    def publish() -> None:
        with transaction.atomic(using=alias):
            DatabaseBroker(f"django://{alias}").publish([message()], 60)
            written.set()
            time.sleep(0.3)
            committing.set()
        connections[alias].close()

    thread = threading.Thread(target=publish)
    thread.start()
    assert written.wait(SOON)
    began = time.monotonic()
    waiting.wait(["celery"], LONG, interrupt[0])
    assert committing.is_set()
    assert time.monotonic() - began < SOON
    thread.join()
    assert waiting.depths()["celery"].ready == 1


def test_no_wake_up_is_lost(waiting: DatabaseBroker, alias: str, interrupt: tuple[int, int]) -> None:
    """A consumer that claims and waits in turns, against one that publishes at odd moments."""
    total, seen = 300, 0
    delays: list[float] = []

    def publish() -> None:
        broker = DatabaseBroker(f"django://{alias}")
        for number in range(total):
            broker.publish([Publication(new_id(), "t", "celery", str(time.time()).encode())], 60)
            time.sleep((number % 7) * 0.0007)
        connections[alias].close()

    waiting.register("me", 3600)
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
    assert max(delays) < SOON, "bench/ measures how soon it is"


def test_costs_next_to_nothing(
    waiting: DatabaseBroker, interrupt: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting.wait(["celery"], 0.1, interrupt[0])
    rests, rest = [], wakeup.readable

    def note(descriptors: list[int], seconds: float) -> list[int]:
        rests.append(seconds)
        return rest(descriptors, seconds)

    monkeypatch.setattr(wakeup, "readable", note)
    used = time.thread_time()
    waiting.wait(["celery"], 1.5, interrupt[0])
    looks = [seconds for seconds in rests if seconds]
    assert 1 <= len(looks) <= 1.5 / wakeup._POLL + 5
    assert time.thread_time() - used < 0.75, "0.01 where nothing else disturbs; it keeps no processor busy"


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


@pytest.fixture
def in_memory() -> Iterator[DatabaseBroker]:
    """A database whose connections share a cache, as Django's test runner makes it."""
    name = "file:celeriac_wait?mode=memory&cache=shared"
    databases.add("memory", {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": {"uri": True}})
    broker = DatabaseBroker("django://memory")
    yield broker
    broker.close()
    databases.remove("memory")


def test_a_database_in_memory(in_memory: DatabaseBroker, interrupt: tuple[int, int]) -> None:
    assert in_memory.check() == []
    thread = later("memory", message())
    began = time.monotonic()
    in_memory.wait(["celery"], LONG, interrupt[0])
    assert time.monotonic() - began < SOON
    thread.join()


def test_in_memory_who_looks_waits_for_who_writes(in_memory: DatabaseBroker) -> None:
    """A look at a table that somebody is writing to is refused there, and not only told what was before."""
    looking, seen = threading.Event(), []

    def look() -> None:
        looking.set()
        seen.append(in_memory.depths()["celery"].ready)
        databases.close("memory")

    thread = threading.Thread(target=look)
    with transaction.atomic(using="memory"):
        in_memory.publish([message()], 60)
        thread.start()
        assert looking.wait(SOON)
        time.sleep(0.1)  # it has looked by then; if it has not, the test is milder
    thread.join(SOON)
    assert seen == [1]


def test_descriptors_are_given_back(broker: DatabaseBroker, interrupt: tuple[int, int]) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(5):
        broker.wait(["celery"], 0.01, interrupt[0])
        broker.close()
    assert count() <= before
