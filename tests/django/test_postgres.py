"""The database broker on a PostgreSQL that goes away and comes back."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connections, transaction
from django.db.models.functions import Substr

from celeriac.broker import Action, Publication, Settlement
from celeriac.django import wakeup
from celeriac.django.admin import paging
from celeriac.django.broker import DatabaseBroker
from celeriac.django.models import TaskResult
from celeriac.django.store import DatabaseStore
from celeriac.errors import BrokerDown, StoreError
from celeriac.message.message import new_id
from celeriac.store import Record
from tests.django import databases
from tests.proxy import Proxy
from tests.scenarios.journal import until, wait
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgres


def message() -> Publication:
    return Publication(new_id(), "shop.tasks.add", "celery", b"payload")


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server of this module's own, as it is killed here."""
    with databases.postgres_of_its_own("fragile") as server:
        yield server


@pytest.fixture
def fragile(server: PostgresServer) -> Iterator[DatabaseBroker]:
    databases.empty("fragile")
    broker = DatabaseBroker("django://fragile")
    yield broker
    broker.close()


def test_a_restart_between_two_tasks_is_not_noticed(server: PostgresServer, fragile: DatabaseBroker) -> None:
    fragile.publish([message()], 60)
    server.restart()
    fragile.publish([message()], 60)
    assert fragile.depths()["celery"].ready == 2


def test_down(server: PostgresServer, fragile: DatabaseBroker) -> None:
    store = DatabaseStore("django-db://fragile")
    fragile.register("me", 3600)
    # The server's processes live on for a moment; a new connection finds none.
    connections["fragile"].close()
    server.kill()
    try:
        began = time.monotonic()
        with pytest.raises(BrokerDown, match=r"The task shop\.tasks\.add was NOT queued\.") as caught:
            fragile.publish([message()], 60)
        assert time.monotonic() - began < 30
        assert "\n" not in str(caught.value)
        for call in (
            lambda: fragile.claim("me", ["celery"], 1, 1),
            lambda: fragile.settle("me", [Settlement(1)]),
            lambda: fragile.renew(["me"], 1),
            lambda: fragile.wait(["celery"], 1, 0),
        ):
            with pytest.raises(BrokerDown):
                call()
        with pytest.raises(StoreError):
            store.store([Record("1", "SUCCESS")])
    finally:
        server.start()
    fragile.publish([message()], 60)
    assert fragile.renew(["me"], 60) == set()
    assert len(fragile.claim("me", ["celery"], 1, 1)) == 1
    store.store([Record("1", "SUCCESS")])
    assert store.fetch(["1"])


def test_a_scheduled_message_that_two_make_ready_at_once_is_claimed_by_one(
    server: PostgresServer, fragile: DatabaseBroker
) -> None:
    """The second one finds it due, and by the time that it may change it the first has claimed it."""
    fragile.register("me", 3600)
    due = time.time() + 0.05
    fragile.publish([Publication(new_id(), "shop.tasks.add", "celery", b"payload", due=due)], 60)
    until(lambda: time.time() > due, "it is due")
    assert beside_a_claim(server, lambda: len(fragile.claim("me", ["celery"], 10, 1))) == 0
    assert fragile.depths()["celery"].in_flight == 1


def test_a_purge_leaves_what_is_just_being_claimed(server: PostgresServer, fragile: DatabaseBroker) -> None:
    fragile.publish([message()], 60)
    assert beside_a_claim(server, lambda: fragile.purge(["celery"])) == 0
    assert fragile.depths()["celery"].in_flight == 1


def beside_a_claim(server: PostgresServer, call: Callable[[], int]) -> int:
    """Return what `call` returns, which another's claim of all messages overtakes: it began before, and ends first."""
    import psycopg

    returned: list[int] = []

    def run() -> None:
        returned.append(call())
        connections["fragile"].close()

    with psycopg.connect(server.dsn()) as other:
        other.execute("UPDATE celeriac_message SET state = 2, consumer = 'other'")
        second = threading.Thread(target=run)
        second.start()
        with psycopg.connect(server.dsn(), autocommit=True) as watch:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: returned or watch.execute(waiting).fetchall(), "it has its turn")
        other.commit()
        second.join(60)
    return returned[0]


def test_frozen(server: PostgresServer, fragile: DatabaseBroker) -> None:
    """Nobody answers, and the client library would wait for ever."""
    fragile.publish([message()], 60)
    fragile.register("me", 3600)
    raw = connections["fragile"].connection
    fragile._session._thread.used += 600  # it has just answered, however long the machine stalls
    server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(
            BrokerDown, match=r"no answer within [01]\.\d s\. The task shop\.tasks\.add may"
        ) as caught:
            fragile.publish([message()], 1)
        assert time.monotonic() - began > 0.8
        assert caught.value.maybe_queued
        # Two seconds are the least that libpq gives a connect.
        with pytest.raises(BrokerDown, match="was NOT queued"):
            fragile.publish([message()], 1)
        for call in (
            lambda: fragile.claim("me", ["celery"], 1, 1),
            lambda: fragile.renew(["me"], 1),
            lambda: fragile.wait(["celery"], 600, 0),
        ):
            with pytest.raises(BrokerDown):
                call()
        assert time.monotonic() - began < 120
    finally:
        server.thaw()
    assert raw.closed
    fragile.publish([message()], 60)
    assert fragile.renew(["me"], 60) == set()
    assert len(fragile.claim("me", ["celery"], 9, 1)) >= 2
    # The project's own statements have the project's own patience.
    with connections["fragile"].cursor() as cursor:
        assert "wait" not in vars(connections["fragile"].connection)
        assert "connect_timeout" not in connections["fragile"].settings_dict["OPTIONS"]
        cursor.execute("SELECT 1")


def test_a_connection_that_was_idle_is_tried_first(server: PostgresServer) -> None:
    with Proxy(server.port) as proxy:
        databases.add("behind", server.django() | {"HOST": "127.0.0.1", "PORT": str(proxy.port)})
        broker = DatabaseBroker("django://behind")
        broker.publish([message()], 60)
        assert proxy.fail("silent") == 1
        proxy.heal()
        broker._session._thread.used -= 60  # as if so much time had passed
        began = time.monotonic()
        broker.publish([message()], 60)
        assert time.monotonic() - began < 30
        broker.close()
        databases.remove("behind")


def test_a_connect_has_the_projects_patience_where_it_has_one(
    fragile: DatabaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections["fragile"]
    asked = []

    def note() -> None:
        asked.append(connection.settings_dict["OPTIONS"].get("connect_timeout"))

    monkeypatch.setattr(connection, "ensure_connection", note)
    fragile._session._open(connection, 5.0)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"connect_timeout": 30})
    fragile._session._open(connection, 5.0)
    assert asked == [5, 30]


def await_listener(server: PostgresServer) -> None:
    """Return when somebody listens, and has looked after that: one whose last statement was a look."""
    import psycopg

    sql = (
        "SELECT count(*) FILTER (WHERE query LIKE 'LISTEN%'), count(*) FILTER (WHERE query ~ 'celeriac_message') "
        "FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(server.dsn(), autocommit=True) as watch:
        until(lambda: all(watch.execute(sql).fetchone() or [0]), "somebody listens")


def test_killed_while_somebody_waits(
    server: PostgresServer, fragile: DatabaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "_PULSE", 600.0)
    read, write = os.pipe()
    restarting = threading.Thread(target=lambda: (await_listener(server), server.restart()))
    restarting.start()
    began = time.monotonic()
    with contextlib.suppress(BrokerDown):  # where the server's last word is read first, the wait just ends
        fragile.wait(["celery"], 600, read)
    restarting.join()
    publishing = threading.Thread(
        target=lambda: (
            await_listener(server),
            fragile.publish([message()], 60),
            connections["fragile"].close(),
        )
    )
    publishing.start()
    fragile.wait(["celery"], 600, read)
    assert time.monotonic() - began < 120, "it was not told"
    publishing.join()
    os.close(read)
    os.close(write)


def test_a_late_look_of_one_who_waits_has_time_too(server: PostgresServer, fragile: DatabaseBroker) -> None:
    """An idle consumer looks again and again. What the server has for an answer is not for all looks together."""
    import psycopg

    def lock() -> None:
        await_listener(server)
        wait(5.1)
        with psycopg.connect(server.dsn()) as other, psycopg.connect(server.dsn(), autocommit=True) as watch:
            other.execute("LOCK TABLE celeriac_message")
            looking = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: watch.execute(looking).fetchall(), "it looks")
            wait(0.5)
        fragile.publish([message()], 60)
        connections["fragile"].close()

    locking = threading.Thread(target=lock)
    locking.start()
    read, write = os.pipe()
    fragile.wait(["celery"], 600, read)
    locking.join(60)
    os.close(read)
    os.close(write)


def test_taking_part_in_a_transaction(fragile: DatabaseBroker) -> None:
    with pytest.raises(RuntimeError), transaction.atomic(using="fragile"):
        fragile.publish([message()], 60)
        raise RuntimeError
    assert fragile.depths() == {}
    with transaction.atomic(using="fragile"):
        fragile.publish([message(), message()], 60)
    assert fragile.depths()["celery"].ready == 2


def test_two_that_take_each_other_over(fragile: DatabaseBroker) -> None:
    """Neither may hang: one of them wins."""
    for number in range(10):
        one, two = f"one-{number}", f"two-{number}"
        fragile.register(one, 60)
        fragile.register(two, 60)
        results: list[object] = []

        def adopt(dead: str, by: str, results: list[object] = results) -> None:
            try:
                results.append(DatabaseBroker("django://fragile").adopt(dead, by, expired_only=False))
            except Exception as error:
                results.append(error)
            finally:
                connections["fragile"].close()

        threads = [threading.Thread(target=adopt, args=pair) for pair in ((one, two), (two, one))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(results) == 2
        assert [] in results


def test_the_admins_queries(fragile: DatabaseBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = (("SUCCESS", "shop.a", "celery"), ("FAILURE", "shop.b", "rare"), ("FAILURE", "news", "celery"))
    DatabaseStore("django-db://fragile").store(
        [
            Record(f"{n}", state, name=name, queue=queue)
            for n in range(10)
            for state, name, queue in [kinds[n % 3]]
        ]
    )
    found = paging.values_of(TaskResult, "fragile", ("name", "state"), ("queue",))
    assert found == {
        "name": ["news", "shop.a", "shop.b"],
        "state": ["FAILURE", "SUCCESS"],
        "queue": ["celery", "rare"],
    }
    rows = TaskResult.objects.using("fragile")
    assert paging.newest_of_names(rows.all(), ["shop.a", "shop.b"]).count() == 7
    monkeypatch.setattr(paging, "WINDOW", 2)
    narrowed, partly = paging.narrow(rows.all(), ("state", "name"), {"state": "FAILURE", "queue": "rare"})
    assert (narrowed.count(), partly) == (1, True)
    assert rows.annotate(head=Substr("result", 1, 600)).first().head == "null"  # type: ignore[union-attr]


@pytest.mark.parametrize("odd", ["nul \0", "lone \udc80", "x" * 300, "ünï"])
@pytest.mark.parametrize("alias", ["default", "fragile"])
def test_odd_names_stop_nothing(fragile: DatabaseBroker, alias: str, odd: str) -> None:
    broker = DatabaseBroker(f"django://{alias}")
    broker.publish([Publication(odd, odd, "celery", b"1"), message()], 60)
    broker.register("me", 3600)
    first, second = broker.claim("me", ["celery"], 10, 1)
    retry = Publication(odd, odd, "celery", b"2")
    settlements = [
        Settlement(first.tag, Action.DEAD, reason=odd),
        Settlement(
            second.tag, Action.DONE, publish=(retry,), record=Record(odd, odd, name=odd, queue=odd, args=odd)
        ),
    ]
    assert broker.settle("me", settlements, DatabaseStore(f"django-db://{alias}")) == set()
    assert broker.count_dead_letters() == 1
    assert [delivery.payload for delivery in broker.claim("me", ["celery"], 10, 2)] == [b"2"]
    assert DatabaseStore(f"django-db://{alias}").fetch([odd])[odd].id == odd
    broker.close()


def test_many_results_are_reckoned(fragile: DatabaseBroker) -> None:
    """By what the database knows of itself, which is quick and not exact."""
    store = DatabaseStore(f"django-db://{fragile.alias}")
    store.store([Record(f"many-{n}", "SUCCESS") for n in range(1200)])
    assert 1000 <= store.count() <= 2400
    store.close()
