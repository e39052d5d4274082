"""Publishing inside Django's transactions, and what happens when the database cannot be written to."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, connections, transaction

from celeriac.broker import Publication
from celeriac.brokers.memory import MemoryBroker
from celeriac.django.broker import DatabaseBroker
from celeriac.django.framework import DjangoFramework
from celeriac.django.store import DatabaseStore
from celeriac.errors import BrokerDown, BrokerError, ImproperlyConfigured, NotInstalled, StoreError
from celeriac.message.message import new_id
from celeriac.store import Record
from tests.django import databases


def message(payload: bytes = b"payload", due: float | None = None) -> Publication:
    return Publication(new_id(), "shop.tasks.add", "celery", payload, 0, due)


def waiting(broker: DatabaseBroker) -> int:
    return sum(depth.ready for depth in broker.depths().values())


@pytest.fixture
def other_alias(tmp_path: Path) -> Iterator[str]:
    databases.add("other", databases.sqlite(tmp_path / "other.sqlite3"))
    yield "other"
    databases.remove("other")


class _Oops(Exception):
    pass


class TestAtomic:
    def test_commits_with_the_transaction(self, broker: DatabaseBroker) -> None:
        seen = []
        with transaction.atomic():
            broker.publish([message()], 60)
            look = threading.Thread(target=lambda: (seen.append(waiting(broker)), connections.close_all()))
            look.start()
            look.join()
        assert (seen, waiting(broker)) == ([0], 1)

    def test_rolls_back_with_the_transaction(self, broker: DatabaseBroker) -> None:
        with pytest.raises(_Oops), transaction.atomic():
            broker.publish([message(), message()], 60)
            raise _Oops
        assert waiting(broker) == 0

    def test_rolls_back_with_a_savepoint(self, broker: DatabaseBroker) -> None:
        with transaction.atomic():
            broker.publish([message(b"kept")], 60)
            with pytest.raises(_Oops), transaction.atomic():
                broker.publish([message(b"gone")], 60)
                raise _Oops
        assert waiting(broker) == 1

    def test_without_autocommit(self, broker: DatabaseBroker) -> None:
        transaction.set_autocommit(False)
        try:
            broker.publish([message()], 60)
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        assert waiting(broker) == 0

    def test_what_was_rolled_back_leaves_no_body(self, broker: DatabaseBroker) -> None:
        with pytest.raises(_Oops), transaction.atomic():
            broker.publish([message(), message()], 60)
            raise _Oops
        broker.publish([message(), message()], 60)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM celeriac_body")
            assert cursor.fetchone() == (2,)

    def test_consuming_inside_a_transaction(self, broker: DatabaseBroker, store: DatabaseStore) -> None:
        # As in Django's TestCase, where each test is one transaction.
        with pytest.raises(_Oops), transaction.atomic():
            broker.register("me", 3600)
            broker.publish([message()], 60)
            (delivery,) = broker.claim("me", ["celery"], 10, 1)
            store.store([Record("1", "SUCCESS")])
            assert delivery.payload == b"payload"
            raise _Oops
        assert broker.depths() == {}
        assert store.fetch(["1"]) == {}


class TestDefer:
    """When to publish is decided by the framework."""

    framework = DjangoFramework()

    def defer(self, broker: object) -> tuple[bool, list[str]]:
        done: list[str] = []
        deferred = self.framework.defer(broker, lambda: done.append("published"))  # type: ignore[arg-type]
        return deferred, done

    def test_now_without_a_transaction(self, broker: DatabaseBroker) -> None:
        assert self.defer(broker) == (False, [])
        assert self.defer(MemoryBroker()) == (False, [])

    def test_the_database_broker_takes_part(self, broker: DatabaseBroker) -> None:
        with transaction.atomic():
            assert self.defer(broker) == (False, [])

    def test_others_wait_for_the_commit(self) -> None:
        with transaction.atomic():
            deferred, done = self.defer(MemoryBroker())
            assert (deferred, done) == (True, [])
        assert done == ["published"]

    def test_never_after_a_rollback(self) -> None:
        done: list[str] = []
        with pytest.raises(_Oops), transaction.atomic():
            _, done = self.defer(MemoryBroker())
            raise _Oops
        assert done == []

    def test_another_databases_transaction_is_followed(
        self, broker: DatabaseBroker, other_alias: str
    ) -> None:
        with transaction.atomic(using=other_alias):
            deferred, done = self.defer(broker)
            assert (deferred, done) == (True, [])
        assert done == ["published"]

    def test_the_brokers_own_database_is_asked_first(self, other_alias: str) -> None:
        broker = DatabaseBroker(f"django://{other_alias}")
        with transaction.atomic(), transaction.atomic(using=other_alias):
            assert self.defer(broker) == (False, [])


class TestLocked:
    @pytest.fixture
    def lock(self) -> Iterator[sqlite3.Connection]:
        lock = sqlite3.connect(
            connection.settings_dict["NAME"], isolation_level=None, check_same_thread=False
        )
        lock.execute("BEGIN IMMEDIATE")
        yield lock
        lock.close()

    def test_is_waited_for(self, broker: DatabaseBroker, lock: sqlite3.Connection) -> None:
        timer = threading.Timer(0.3, lambda: lock.execute("COMMIT"))
        timer.start()
        broker.publish([message()], 60)
        timer.join()
        assert waiting(broker) == 1

    def test_is_waited_for_by_atomic(self, broker: DatabaseBroker, lock: sqlite3.Connection) -> None:
        timer = threading.Timer(0.3, lambda: lock.execute("COMMIT"))
        timer.start()
        with transaction.atomic():
            broker.publish([message()], 60)
        timer.join()
        assert waiting(broker) == 1

    def test_no_longer_than_the_timeout(self, broker: DatabaseBroker, lock: sqlite3.Connection) -> None:
        began = time.monotonic()
        with pytest.raises(BrokerDown) as caught:
            broker.publish([message()], 0.3)
        assert 0.3 <= time.monotonic() - began < 30  # the project itself would wait for a minute
        text = str(caught.value)
        assert str(connection.settings_dict["NAME"]) in text
        assert "database is locked" in text
        assert "The task shop.tasks.add was NOT queued." in text
        assert "\n" not in text
        assert not caught.value.maybe_queued
        lock.execute("ROLLBACK")
        assert waiting(broker) == 0

    def test_several_tasks_in_the_text(self, broker: DatabaseBroker, lock: sqlite3.Connection) -> None:
        with pytest.raises(BrokerDown, match="The 2 tasks were NOT queued"):
            broker.publish([message(), message()], 0.05)

    def test_reading_goes_on(self, broker: DatabaseBroker, lock: sqlite3.Connection) -> None:
        assert broker.depths() == {}
        assert broker.expired() == []

    def test_the_projects_own_patience_is_left_as_it_was(
        self, broker: DatabaseBroker, lock: sqlite3.Connection
    ) -> None:
        def patience() -> int:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout")
                value: int = cursor.fetchone()[0]
                return value

        before = patience()
        with pytest.raises(BrokerDown):
            broker.publish([message()], 0.02)
        lock.execute("ROLLBACK")
        broker.publish([message()], 0.02)
        assert patience() == before == 60_000


class TestErrors:
    def test_under_an_event_loop(self, broker: DatabaseBroker, store: DatabaseStore) -> None:
        async def publish() -> None:
            broker.publish([message()], 60)

        async def fetch() -> None:
            store.fetch(["1"])

        with pytest.raises(BrokerError, match="adelay"):
            asyncio.run(publish())
        with pytest.raises(StoreError, match="aget"):
            asyncio.run(fetch())
        assert waiting(broker) == 0

    def test_in_a_thread_beside_an_event_loop(self, broker: DatabaseBroker) -> None:
        async def publish() -> None:
            await asyncio.to_thread(lambda: (broker.publish([message()], 60), connections.close_all()))

        asyncio.run(publish())
        assert waiting(broker) == 1

    def test_tables_are_missing(self, tmp_path: Path) -> None:
        connections.settings["bare"] = connections.configure_settings(
            {"default": databases.sqlite(tmp_path / "bare.sqlite3")}
        )["default"]
        try:
            broker, store = DatabaseBroker("django://bare"), DatabaseStore("django-db://bare")
            text = "The database lacks 1 celeriac migration. Run:  python manage.py migrate --database bare"
            for call in (
                lambda: broker.publish([message()], 60),
                lambda: broker.register("me", 3600),
                lambda: broker.claim("me", ["celery"], 1, 1),
                lambda: store.store([Record("1", "SUCCESS")]),
                lambda: store.fetch(["1"]),
            ):
                with pytest.raises(NotInstalled) as caught:
                    call()
                assert str(caught.value) == text
        finally:
            databases.remove("bare")

    def test_no_such_database(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"DATABASES has no 'shop'. It has: default"):
            DatabaseBroker("django://shop")

    def test_a_database_that_cannot_be_opened(self, tmp_path: Path) -> None:
        connections.settings["nowhere"] = connections.configure_settings(
            {"default": databases.sqlite(tmp_path / "no" / "folder.sqlite3")}
        )["default"]
        try:
            with pytest.raises(BrokerDown, match=r"unable to open database file.*NOT queued"):
                DatabaseBroker("django://nowhere").publish([message()], 60)
        finally:
            databases.remove("nowhere")

    def test_a_database_that_is_not_spoken(self) -> None:
        connections.settings["odd"] = connections.configure_settings(
            {"default": {"ENGINE": "django.db.backends.dummy"}}
        )["default"]
        try:
            with pytest.raises(ImproperlyConfigured, match="SQLite, PostgreSQL and MariaDB"):
                DatabaseBroker("django://odd")
        finally:
            databases.remove("odd")
