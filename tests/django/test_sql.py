"""That the statements use the indexes, and how many there are in a call."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from celeriac.broker import Action, Publication, Settlement
from celeriac.django import sql
from celeriac.django.broker import DatabaseBroker
from celeriac.django.store import DatabaseStore
from celeriac.message.message import new_id
from celeriac.store import Record

PLANS = {
    "claimable": ((1, "q", 10), "USING INDEX celeriac_ready"),
    "look": (("me", '["a", "b"]'), "INDEX celeriac_ready"),
    "outlook": (('["a", "b"]',), "INDEX celeriac_scheduled"),
    "promote": ((10,), "INDEX celeriac_scheduled"),
    "held": ((1, "me"), "INDEX celeriac_in_flight"),
    "give_back_all": (("me",), "INDEX celeriac_in_flight"),
    "move_held": (("me", "you"), "INDEX celeriac_in_flight"),
    "dead_letters": ((10, 0), "INDEX celeriac_dead"),
    "count_dead_letters": ((), "INDEX celeriac_dead"),
    "depths": ((), "INDEX celeriac_in_flight"),
    "delete_held": (("[1]", "me"), "(consumer=? AND rowid=?)"),
    "delete_bodies": (("[1]",), "USING INTEGER PRIMARY KEY"),
    "fetch": (('["1"]',), "USING INDEX sqlite_autoindex_celeriac_taskresult"),
    "expire": ((1.0, 10), "INDEX celeriac_result_finished"),
}


@pytest.mark.parametrize("name", PLANS)
def test_statements_use_their_index(name: str) -> None:
    parameters, expected = PLANS[name]
    connection.ensure_connection()
    raw: Any = connection.connection
    rows = raw.execute(f"EXPLAIN QUERY PLAN {sql.statements('sqlite')[name]}", parameters).fetchall()
    plan = "\n".join(row[3] for row in rows)
    assert expected in plan
    # Nothing walks through a table: only through an index, a list given as a parameter, or a finished sub-select.
    scans = [line for line in plan.splitlines() if line.startswith("SCAN celeriac") and "INDEX" not in line]
    assert not scans


def test_both_databases_have_all_common_statements() -> None:
    sqlite, postgres = sql.statements("sqlite"), sql.statements("postgresql")
    assert sqlite.keys() - postgres.keys() == {
        "publish_message",
        "publish_body",
        "publish_messages",
        "publish_bodies",
        "claimable",
        "next_message",
    }
    assert postgres.keys() - sqlite.keys() == {"publish", "notify", "hold_lease"}
    for statement in [*sqlite.values(), *postgres.values()]:
        assert "{" not in statement
    assert all("%s" not in statement for statement in sqlite.values())


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that reach SQLite from this thread."""
    connection.ensure_connection()
    seen: list[str] = []
    connection.connection.set_trace_callback(seen.append)
    try:
        yield seen
    finally:
        connection.connection.set_trace_callback(None)


def without_pragmas(seen: list[str]) -> list[str]:
    return [line for line in seen if not line.startswith(("PRAGMA", "--"))]


class TestCounts:
    def test_publish(self, broker: DatabaseBroker) -> None:
        with statements() as seen:
            broker.publish([Publication(new_id(), "t", "celery", b"")], 60)
        assert len(without_pragmas(seen)) == 4  # BEGIN, a message, its body, COMMIT

    def test_claim(self, broker: DatabaseBroker) -> None:
        broker.register("me", 3600)
        broker.publish([Publication(new_id(), "t", "celery", b"") for _ in range(100)], 60)
        with statements() as seen:
            assert len(broker.claim("me", ["celery"], 100, 1)) == 100
        # A look, BEGIN, the claim's number, what is due, the messages, their new holder, COMMIT.
        assert len(without_pragmas(seen)) == 7

    def test_claim_nothing(self, broker: DatabaseBroker) -> None:
        broker.register("me", 3600)
        with statements() as seen:
            assert broker.claim("me", ["celery"], 100, 1) == []
        assert len(without_pragmas(seen)) == 1

    def test_settle(self, broker: DatabaseBroker, store: DatabaseStore) -> None:
        broker.register("me", 3600)
        broker.publish([Publication(new_id(), "t", "celery", b"") for _ in range(100)], 60)
        deliveries = broker.claim("me", ["celery"], 100, 1)
        settlements = [
            Settlement(delivery.tag, Action.DONE, record=Record(new_id(), "SUCCESS"))
            for delivery in deliveries
        ]
        with statements() as seen:
            assert broker.settle("me", settlements, store) == set()
        # BEGIN, messages, bodies, COMMIT; one statement run again for each result.
        assert len(without_pragmas(seen)) == 4 + 100


def test_many_results_are_reckoned(store: DatabaseStore) -> None:
    """By what the database knows of itself, which is quick and not exact."""
    store.store([Record(f"many-{n}", "SUCCESS") for n in range(1200)])
    assert 1000 <= store.count() <= 2400
