"""The outbox: what is sent is part of the transaction, comes to the broker once, and waits while that is away."""

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from celeriac import Celeriac, Task, registry
from celeriac.broker import Publication
from celeriac.brokers.memory import MemoryBroker
from celeriac.django.broker import DatabaseBroker
from celeriac.django.models import Office
from celeriac.django.outbox import Outbox
from celeriac.errors import BrokerDown, BrokerError, ImproperlyConfigured, WaitInTransaction
from celeriac.message import protocol
from celeriac.signals import after_task_publish
from tests.django import databases
from tests.servers import MariaDBServer, PostgresServer
from tests.unit.running import until, working

_numbers = itertools.count()


class Frail(MemoryBroker):
    """A memory broker that can be away, be slow, or die after it has published."""

    down = False
    dies = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tried = 0

    def publish_once(self, publications: Mapping[str, Publication], timeout: float, done: Any = ()) -> None:
        self.tried += 1
        if self.down:
            raise BrokerDown("The broker is away")
        super().publish_once(publications, timeout, done)
        if self.dies:
            raise BrokerDown("The broker has died")

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        raise AssertionError("past the outbox")


class Shop:
    """An app whose tasks go through the outbox."""

    def __init__(self) -> None:
        url = f"memory://outbox-{next(_numbers)}"
        self.app = Celeriac("shop", broker=url, backend=url, task_outbox=True)
        self.broker = self.app._broker = Frail(url, self.app.conf)
        self.seq = 0

        @self.app.task(name="shop.note")
        def note(n: int) -> int:
            return n

        self.note: Task[..., int] = note
        outbox = self.app.outbox
        assert isinstance(outbox, Outbox)
        self.outbox = outbox

    def arrived(self) -> list[int]:
        """Return what is at the broker, and take it."""
        self.broker.register("looker", 3600)
        deliveries = self.broker.claim("looker", ["celery"], 1000, self.seq)
        self.seq += 1
        return [
            protocol.serializers.json_loads(protocol.decode(each.payload).body)[0][0] for each in deliveries
        ]

    def another(self) -> Outbox:
        """The outbox as another process has it: a worker, or the next sender."""
        return Outbox(self.broker, 60.0)

    def sweep(self) -> None:
        """What a worker does within four seconds."""
        outbox = self.another()
        outbox.sweep()
        outbox.sweep()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.broker.clear()
    shop.app.close()


class Oops(Exception):
    pass


class TestTransactions:
    def test_it_is_sent_after_the_commit(self, shop: Shop) -> None:
        with transaction.atomic():
            result = shop.note.delay(1)
            assert result.id and shop.arrived() == []
            with pytest.raises(WaitInTransaction):
                result.get(timeout=1)
            assert shop.outbox.waiting() == 1
        assert (shop.arrived(), shop.outbox.waiting()) == ([1], 0)

    def test_a_rollback_leaves_nothing(self, shop: Shop) -> None:
        with pytest.raises(Oops), transaction.atomic():
            shop.note.delay(1)
            raise Oops
        with transaction.atomic():
            shop.note.delay(2)
            with pytest.raises(Oops), transaction.atomic():
                shop.note.delay(3)
                raise Oops
            with transaction.atomic():
                shop.note.delay(4)
        assert (shop.arrived(), shop.outbox.waiting()) == ([2, 4], 0)

    def test_a_savepoint_inside_a_rollback(self, shop: Shop) -> None:
        with pytest.raises(Oops), transaction.atomic():
            with transaction.atomic():
                shop.note.delay(1)
            raise Oops
        shop.sweep()
        assert (shop.arrived(), shop.outbox.waiting()) == ([], 0)

    def test_without_a_transaction(self, shop: Shop) -> None:
        shop.note.delay(1)
        shop.note.delay_on_commit(2)
        assert (shop.arrived(), shop.outbox.waiting()) == ([1, 2], 0)

    def test_publish_on_commit_does_not_matter(self, shop: Shop) -> None:
        shop.app.conf.task_publish_on_commit = False
        with pytest.raises(Oops), transaction.atomic():
            shop.note.delay(1)
            shop.note.delay_on_commit(1)
            raise Oops
        assert shop.arrived() == []

    def test_without_autocommit_workers_see_to_it(self, shop: Shop) -> None:
        transaction.set_autocommit(False)
        try:
            shop.note.delay(1)
            transaction.rollback()
            shop.note.delay(2)
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
        assert shop.arrived() == []
        shop.sweep()
        assert (shop.arrived(), shop.outbox.waiting()) == ([2], 0)

    def test_batches_and_options(self, shop: Shop) -> None:
        with transaction.atomic():
            shop.app.send_many(shop.note.s(n) for n in range(450))
            shop.note.apply_async((7,), countdown=60, priority=9, queue="slow")
            assert shop.broker.depths() == {}
        assert shop.arrived() == list(range(450))
        (depth,) = [shop.broker.depths()["slow"]]
        assert (depth.ready, depth.scheduled) == (0, 1)
        assert shop.outbox.waiting() == 0

    def test_long_names_of_queues_are_not_cut(self, shop: Shop) -> None:
        shop.broker.down = True
        shop.note.apply_async((1,), queue="q" * 300)
        shop.broker.down = False
        shop.sweep()
        assert list(shop.broker.depths()) == ["q" * 300]

    def test_in_few_statements(self, shop: Shop) -> None:
        shop.note.delay(1)
        seen: list[str] = []
        raw: Any = connection.connection
        raw.set_trace_callback(seen.append)
        try:
            with transaction.atomic():
                shop.note.delay(1)
        finally:
            raw.set_trace_callback(None)
        written = [each for each in seen if "outbox" in each]
        assert [each.split()[0] for each in written] == ["INSERT", "DELETE"], seen

    def test_signals_tell_when_the_broker_has_it(self, shop: Shop) -> None:
        told = []

        def listen(sender: str, **_: Any) -> None:
            told.append((sender, shop.broker.depths() != {}))

        after_task_publish.connect(listen)
        try:
            with transaction.atomic():
                shop.note.delay(1)
                assert told == []
        finally:
            after_task_publish.disconnect(listen)
        assert told == [("shop.note", True)]

    def test_under_an_event_loop(self, shop: Shop) -> None:
        async def sends() -> int:
            with pytest.raises(BrokerError, match="adelay"):
                shop.note.delay(1)
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            task_id = (await shop.note.adelay(2)).id
            await asyncio.to_thread(connections.close_all)  # those of the same thread
            return task_id != ""

        assert asyncio.run(sends())
        assert shop.arrived() == [2]


class TestOutages:
    def test_a_broker_that_is_away_loses_nothing(self, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
        shop.broker.down = True
        with caplog.at_level(logging.WARNING, "celeriac"), transaction.atomic():
            for n in range(3):
                shop.note.delay(n)
        shop.outbox._pause_until += 600  # however long the machine stalls
        shop.note.delay(3)
        assert shop.broker.tried == 1, "one attempt: nobody waits for a broker that has just been away"
        told = [each.getMessage() for each in caplog.records]
        assert told == ["The broker is away. What is sent waits in the outbox until it is there."]
        assert (shop.arrived(), shop.outbox.waiting()) == ([], 4)
        with pytest.raises(BrokerDown):
            shop.sweep()
        shop.broker.down = False
        shop.sweep()
        assert (shop.arrived(), shop.outbox.waiting()) == ([0, 1, 2, 3], 0)

    def test_the_next_sender_takes_what_is_left_with_it_and_in_order(self, shop: Shop) -> None:
        shop.broker.down = True
        for n in range(3):
            shop.note.delay(n)
        shop.broker.down = False
        shop.outbox._pause_until = 0.0  # five seconds later
        shop.note.delay(3)
        assert shop.arrived() == [0, 1, 2, 3]
        assert (shop.outbox._behind, shop.outbox.waiting()) == (set(), 0)

    def test_a_sender_that_dies_before_it_has_published(self, shop: Shop) -> None:
        with transaction.atomic():
            shop.note.delay(1)
            connection.run_on_commit.clear()  # it is killed between the commit and what follows
        shop.sweep()
        assert (shop.arrived(), shop.outbox.waiting()) == ([1], 0)

    def test_what_has_just_been_committed_is_its_senders(self, shop: Shop) -> None:
        worker = shop.another()
        worker.sweep()
        with transaction.atomic():
            shop.note.delay(1)
            connection.run_on_commit.clear()
        assert worker.sweep()
        assert shop.broker.tried == 0
        worker.sweep()
        assert shop.arrived() == [1]

    def test_a_relay_that_dies_before_it_has_deleted(self, shop: Shop) -> None:
        shop.broker.dies = True
        shop.note.delay(1)
        assert shop.outbox.waiting() == 1
        shop.broker.dies = False
        shop.sweep()
        shop.sweep()
        assert (shop.arrived(), shop.outbox.waiting()) == ([1], 0)

    def test_two_at_once(self, shop: Shop) -> None:
        shop.broker.down = True
        with transaction.atomic():
            for n in range(300):
                shop.note.delay(n)
        shop.broker.down = False
        start = threading.Barrier(3)

        def relay() -> None:
            start.wait(60)
            shop.sweep()
            connections.close_all()

        threads = [threading.Thread(target=relay) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert (shop.arrived(), shop.outbox.waiting()) == (list(range(300)), 0)

    def test_a_sender_that_was_frozen_for_long(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """A worker has published its row, and the broker has forgotten the key: it must look before it publishes."""
        with transaction.atomic():
            shop.note.delay(1)
            ((_, outgoing, *_),) = connection.run_on_commit
            connection.run_on_commit.clear()
        shop.sweep()
        assert shop.arrived() == [1]
        shop.broker._shelf.fired.clear()
        outgoing.since -= 60
        outgoing()
        assert shop.arrived() == []

    def test_keys_are_forgotten_when_nobody_can_use_them_any_more(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.note.delay(1)
        assert len(shop.broker._shelf.fired) == 1
        shop.outbox._done[0] = (shop.outbox._done[0][0] - 61, shop.outbox._done[0][1])
        shop.note.delay(2)
        assert len(shop.broker._shelf.fired) == 1

    def test_a_worker_relays_and_runs(self, shop: Shop) -> None:
        shop.broker.down = True
        result = shop.note.delay(7)
        shop.broker.down = False
        with working(shop.app):
            assert result.get(timeout=60) == 7
        until(lambda: shop.outbox.waiting() == 0, 60)


class TestPlaces:
    @pytest.fixture
    def other(self, tmp_path: Path) -> Iterator[str]:
        databases.add("other", databases.sqlite(tmp_path / "other.sqlite3"))
        yield "other"
        databases.remove("other")

    @pytest.mark.postgres
    def test_in_postgresql(self, shop: Shop, postgres_server: PostgresServer) -> None:
        with psycopg.connect(postgres_server.dsn(), autocommit=True) as server:
            server.execute("CREATE DATABASE outbox")
        try:
            self.check_on(shop, "postgres_outbox", postgres_server.django("outbox"))
        finally:
            with psycopg.connect(postgres_server.dsn(), autocommit=True) as server:
                server.execute("DROP DATABASE outbox WITH (FORCE)")

    @pytest.mark.mariadb
    def test_in_mariadb(self, shop: Shop, mariadb_server: MariaDBServer) -> None:
        self.check_on(shop, "mariadb_outbox", mariadb_server.django("outbox"))

    def check_on(self, shop: Shop, alias: str, entry: dict[str, Any]) -> None:
        databases.add(alias, entry)
        try:
            self.test_it_follows_the_transaction_of_another_database(shop, alias)
            shop.broker.down = True
            with transaction.atomic(using=alias):
                shop.app.send_many(shop.note.s(n) for n in range(250))
                shop.note.apply_async((250,), countdown=3600, queue="slow")
            assert shop.outbox.waiting() == 251
            shop.broker.down = False
            shop.sweep()
            assert (shop.arrived(), shop.outbox.waiting()) == (list(range(250)), 0)
            assert shop.broker.depths()["slow"].scheduled == 1
        finally:
            databases.remove(alias)

    @pytest.fixture
    def bare(self, tmp_path: Path) -> Iterator[str]:
        entry = databases.sqlite(tmp_path / "bare.sqlite3")
        connections.settings["bare"] = connections.configure_settings({"default": entry})["default"]
        yield "bare"
        databases.remove("bare")

    def test_it_follows_the_transaction_of_another_database(self, shop: Shop, other: str) -> None:
        with pytest.raises(Oops), transaction.atomic(using=other):
            shop.note.delay(1)
            raise Oops
        shop.broker.down = True
        with transaction.atomic(using=other):
            shop.note.delay(2)
        assert shop.outbox.waiting() == 1
        shop.broker.down = False
        shop.sweep()
        assert (shop.arrived(), shop.outbox.waiting()) == ([2], 0)

    def test_a_database_without_our_tables(self, shop: Shop, bare: str) -> None:
        with pytest.raises(Oops), transaction.atomic(using=bare):
            shop.note.delay(1)
            raise Oops
        with transaction.atomic(using=bare):
            shop.note.delay(2)
            assert shop.outbox.waiting() == 0
        assert (shop.arrived(), shop.outbox.waiting()) == ([2], 0)

    def test_a_broker_that_takes_part_needs_none(self) -> None:
        app = Celeriac("own", broker="django://", task_outbox=True, set_as_current=False)
        assert app.outbox is None
        app.close()

    def test_a_database_broker_elsewhere(self, other: str) -> None:
        app = Celeriac("elsewhere", broker="django://other", task_outbox=True, set_as_current=False)
        with transaction.atomic():
            app.send_task("t")
            assert app.broker.depths() == {}
        assert app.broker.depths()["celery"].ready == 1
        with pytest.raises(Oops), transaction.atomic(), transaction.atomic(using=other):
            app.send_task("t")
            assert app.outbox is not None and app.outbox.waiting() == 0
            raise Oops
        assert app.broker.depths()["celery"].ready == 1
        app.close()

    def test_missing_tables_are_told(self, shop: Shop) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE celeriac_outboxmessage RENAME TO elsewhere")
        try:
            with pytest.raises(BrokerError, match=r"NOT queued|migrate"):
                shop.note.delay(1)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE elsewhere RENAME TO celeriac_outboxmessage")


def test_without_django_it_is_refused() -> None:
    kept = registry._framework[:]
    registry._framework.clear()
    app = Celeriac("alone", broker="memory://alone", task_outbox=True, set_as_current=False)
    try:
        with pytest.raises(ImproperlyConfigured, match="no Django database"):
            app.send_task("t")
    finally:
        registry._framework[:] = kept
        app.close()


def test_a_database_broker_remembers_keys_for_a_day() -> None:
    broker = DatabaseBroker("django://")
    broker.publish_once(
        {"a": Publication("1", "t", "q", b"one"), "b": Publication("2", "t", "q", b"two")}, 2.0
    )
    broker.maintain()
    assert Office.objects.count() == 2
    Office.objects.filter(name="once:a").update(until=time.time() - 1)
    broker.maintain()
    assert [each.name for each in Office.objects.all()] == ["once:b"]
    broker.close()


def test_off_it_costs_no_statement() -> None:
    app = Celeriac("off", broker="memory://off", set_as_current=False)
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        app.send_task("t")
    assert not [each for each in queries if "outbox" in each["sql"]]
    app.close()
