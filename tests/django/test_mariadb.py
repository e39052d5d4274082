"""What is peculiar to MariaDB: servers and tables that are refused, names byte by byte, isolation, deadlines."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from celeriac.broker import Firing, Publication, Settlement
from celeriac.django import sql
from celeriac.django.broker import DatabaseBroker
from celeriac.django.models import Schedule
from celeriac.django.store import DatabaseStore
from celeriac.errors import BrokerDown, BrokerError, NotInstalled, StoreError
from celeriac.message.message import new_id
from celeriac.store import Record
from tests.django import databases
from tests.scenarios.journal import until
from tests.servers import MariaDBServer

pytestmark = pytest.mark.mariadb
ALIAS = "mariadb"


@pytest.fixture(scope="module", autouse=True)
def database(mariadb_server: MariaDBServer) -> Iterator[None]:
    databases.add(ALIAS, mariadb_server.django("peculiar"))
    yield
    databases.remove(ALIAS)


@pytest.fixture
def there() -> Iterator[DatabaseBroker]:
    databases.empty(ALIAS)
    broker = DatabaseBroker(f"django://{ALIAS}")
    yield broker
    broker.close()


def message(queue: str = "celery", payload: bytes = b"payload") -> Publication:
    return Publication(new_id(), "shop.tasks.add", queue, payload)


def execute(statement: str) -> Any:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_nothing_is_wrong_with_it(there: DatabaseBroker) -> None:
    assert there.check() == []


def test_tables_without_transactions_are_told_of(there: DatabaseBroker) -> None:
    execute("ALTER TABLE celeriac_body ENGINE = Aria")
    try:
        (told,) = there.check()
    finally:
        execute("ALTER TABLE celeriac_body ENGINE = InnoDB")
    assert told.startswith("celeriac_body is a table of Aria, which has no transactions")


def test_packets_that_are_too_small_are_told_of(there: DatabaseBroker) -> None:
    there.max_message_bytes = 40_000_000
    (told,) = there.check()
    assert "max_allowed_packet = 80,000,000" in told


@pytest.mark.parametrize(
    ("maria", "version", "text"), [(True, (10, 5, 9), "MariaDB 10.5.9"), (False, (8, 4, 3), "MySQL 8.4.3")]
)
def test_other_servers_are_refused(
    there: DatabaseBroker, monkeypatch: pytest.MonkeyPatch, maria: bool, version: Any, text: str
) -> None:
    connection: Any = connections[ALIAS]
    connection.__dict__.pop("mysql_server_data", None)
    monkeypatch.setitem(connection.__dict__, "mysql_is_mariadb", maria)
    monkeypatch.setitem(connection.__dict__, "mysql_version", version)
    with pytest.raises(BrokerError, match=f"is {text}. Celeriac .* MariaDB 10.6 or later"):
        there.publish([message()], 60)
    with pytest.raises(StoreError, match=text):
        DatabaseStore(f"django-db://{ALIAS}").fetch(["x"])


def test_names_differ_by_case_and_by_spaces_at_their_end(there: DatabaseBroker) -> None:
    there.publish([message(queue) for queue in ("a", "A", "a ", "ä")], 60)
    assert {queue: depth.ready for queue, depth in there.depths().items()} == {
        "a": 1,
        "A": 1,
        "a ": 1,
        "ä": 1,
    }
    there.register("me", 3600)
    assert [delivery.queue for delivery in there.claim("me", ["a"], 10, 1)] == ["a"]


def test_ids_keys_and_entries_differ_so_too(there: DatabaseBroker) -> None:
    """Whatever the database itself says of its texts: two names are one only where their bytes are."""
    names = ("a", "A", "a ", "ä", "Ä")
    there.publish_once({name: message(payload=name.encode()) for name in names}, 60)
    there.publish_once({name: message() for name in names}, 60)
    there.register("me", 3600)
    assert [delivery.payload.decode() for delivery in there.claim("me", ["celery"], 20, 1)] == list(names)
    assert there.fire([Firing(name, number, None) for number, name in enumerate(names)]) == set(names)
    assert {name: fired.slot for name, fired in there.fired(names).items()} == dict(
        zip(names, range(5), strict=True)
    )
    assert [there.elect(name, name, 60) for name in names] == list(names)
    there.revoke(["a"], 60)
    assert there.revoked(names) == {"a"}
    store = DatabaseStore(f"django-db://{ALIAS}")
    store.store([Record(name, "SUCCESS", name.encode()) for name in names])
    assert [store.fetch(names)[name].result.decode() for name in names] == list(names)
    store.forget(["A"])
    assert set(store.fetch(names)) == set(names) - {"A"}
    store.close()


def test_schedules_of_the_admin_differ_so_too(there: DatabaseBroker) -> None:
    for name in ("report", "Report"):
        Schedule(name=name, task="shop.tasks.add", kind="interval", every=1, unit="days").save(using=ALIAS)
    assert Schedule.objects.using(ALIAS).filter(name="report").count() == 1


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_what_the_project_says_of_isolation_does_not_matter(there: DatabaseBroker, level: str) -> None:
    connection: Any = connections[ALIAS]
    before = connection.settings_dict["OPTIONS"]
    connection.close()
    connection.settings_dict["OPTIONS"] = before | {"isolation_level": level}
    try:
        there.publish([message() for _ in range(3)], 60)
        there.register("me", 3600)
        assert len(there.claim("me", ["celery"], 10, 1)) == 3
        ((seen,),) = execute("SELECT @@tx_isolation")
        assert seen == level.replace(" ", "-").upper()
    finally:
        connection.settings_dict["OPTIONS"] = before
        connection.close()


def test_it_is_part_of_the_open_transaction(there: DatabaseBroker) -> None:
    with pytest.raises(LookupError), transaction.atomic(using=ALIAS):
        there.publish([message()], 60)
        there.publish([message(), message()], 60)
        raise LookupError
    assert there.depths() == {}
    with transaction.atomic(using=ALIAS):
        there.publish([message()], 60)
    assert there.depths()["celery"].ready == 1


def test_a_server_that_falls_silent_is_waited_for_in_vain(mariadb_server: MariaDBServer) -> None:
    broker = DatabaseBroker(f"django://{ALIAS}")
    broker.depths()
    mariadb_server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(BrokerDown, match="NOT queued"):
            broker.publish([message()], 1)
        assert time.monotonic() - began < 60
    finally:
        mariadb_server.thaw()
    broker.publish([message()], 60)
    broker.close()


def test_a_connection_that_has_died_is_replaced(there: DatabaseBroker, mariadb_server: MariaDBServer) -> None:
    there.publish([message()], 60)
    ((number,),) = execute("SELECT connection_id()")
    mariadb_server.execute(f"KILL {number}")
    there.publish([message()], 60)
    assert there.depths()["celery"].ready == 2


def test_what_a_deadlock_has_undone_is_done_again(
    there: DatabaseBroker, mariadb_server: MariaDBServer
) -> None:
    """InnoDB undoes the transaction that has changed less: ours."""
    there.register("me", 3600)
    there.publish([message()], 60)
    (delivery,) = there.claim("me", ["celery"], 1, 1)
    refused: list[set[int]] = []

    def settle() -> None:
        refused.append(DatabaseBroker(f"django://{ALIAS}").settle("me", [Settlement(delivery.tag)]))
        connections[ALIAS].close()

    thread = threading.Thread(target=settle)
    with transaction.atomic(using=ALIAS):
        execute("INSERT INTO celeriac_command (until, payload) SELECT 0, '' FROM seq_1_to_100")
        execute(f"SELECT 1 FROM celeriac_message WHERE id = {delivery.tag} FOR UPDATE")
        thread.start()
        waiting = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
        until(lambda: execute(waiting)[0][1] == "1", "it holds the lease, and waits for the message")
        execute("UPDATE celeriac_consumer SET seq = seq + 1 WHERE name = 'me'")
    thread.join(60)
    assert refused == [set()]
    assert there.depths() == {}


def test_without_tables(mariadb_server: MariaDBServer) -> None:
    connections.settings["bare"] = connections.configure_settings({"default": mariadb_server.django("bare")})[
        "default"
    ]
    try:
        with pytest.raises(NotInstalled, match="migrate --database bare"):
            DatabaseBroker("django://bare").publish([message()], 60)
    finally:
        databases.remove("bare")


def test_a_success_is_kept_beside_all_that_comes_later() -> None:
    store = DatabaseStore(f"django-db://{ALIAS}")
    done = Record(new_id(), "SUCCESS", b"1", name="first")
    store.store([done, Record(done.id, "FAILURE", b"2", name="second")])
    store.store([Record(done.id, "RETRY", b"3", name="third")])
    assert store.fetch([done.id])[done.id] == done


def test_no_statement_is_left_that_it_does_not_understand() -> None:
    found = [name for name, text in sql.statements("mysql").items() if "ON CONFLICT" in text or "{" in text]
    assert found == []


def test_many_results_are_reckoned(there: DatabaseBroker) -> None:
    """By what the database knows of itself, which is quick and not exact."""
    store = DatabaseStore(f"django-db://{ALIAS}")
    store.store([Record(f"many-{n}", "SUCCESS") for n in range(1200)])
    assert 1000 <= store.count() <= 2400
    store.close()
