"""A sender is killed at any moment: of an order and its task in one transaction there are both, or neither.

On brokers in the same database because they are one, on others by the outbox: then workers are killed too, which see to
what the senders have left, and the broker itself.
"""

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import PATIENCE, PROJECT, Kill, Project, account, until, wait
from tests.servers import RedisServer
from tests.size import STRESS, size

KILLS = size(4, 40) * STRESS
#: How many orders there are at least between two kills.
ORDERS = size(15, 40)
PLACES = ["sqlite", "postgres", pytest.param("mariadb", marks=pytest.mark.mariadb)]


class Orders:
    """The project's own table, in the database that its transactions are in."""

    def __init__(self, project: Project) -> None:
        name = project.database["NAME"]
        self.connection: Any
        if "sqlite" in project.database["ENGINE"]:
            self.connection = sqlite3.connect(name, isolation_level=None, timeout=PATIENCE)
        elif "mysql" in project.database["ENGINE"]:
            import pymysql

            words = {"unix_socket": project.database["HOST"], "user": project.database["USER"]}
            self.connection = pymysql.connect(database=name, autocommit=True, **words)
        else:
            import psycopg

            words = {"host": project.database["HOST"], "port": project.database["PORT"], "user": "postgres"}
            self.connection = psycopg.connect(dbname=name, autocommit=True, **words)
        self._ask("CREATE TABLE orders (number varchar(64) PRIMARY KEY)")

    def _ask(self, statement: str) -> Any:
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else ()

    def keys(self) -> list[str]:
        """Return the orders that were committed."""
        return [row[0] for row in self._ask("SELECT number FROM orders")]

    def in_outbox(self) -> int:
        """Return how many tasks the broker does not have yet."""
        ((count,),) = self._ask("SELECT count(*) FROM celeriac_outboxmessage")
        return int(count)

    def send(self, project: Project, name: str) -> float:
        """Have orders taken by a process that is killed; return when, on the monotonic clock."""
        before = len(self.keys())
        producer = subprocess.Popen(
            [sys.executable, str(PROJECT / "producer.py"), name], env=project.environment()
        )
        until(lambda: len(self.keys()) >= before + ORDERS, "there are orders")
        wait(random.random() * 0.3)
        producer.kill()
        producer.wait(PATIENCE)
        return time.monotonic()


def settle(project: Project, orders: Orders, killed: float, kills: list[Kill]) -> None:
    """Wait until all is done, and take the account: no task is lost, none runs whose order is not there."""
    until(lambda: orders.in_outbox() == 0, lambda: f"the outbox is empty: {orders.in_outbox()}")
    project.client.wait_empty()
    keys = orders.keys()
    orders.connection.close()
    account(project.journal, keys, kills)
    assert project.journal.done() == set(keys), "a task without its order"
    last = max(run.end or 0.0 for run in project.journal.runs())
    project.journal.recoveries.append(max(0.0, last - killed))
    print(f"{len(keys)} orders, {KILLS} kills")


@pytest.mark.slow
@pytest.mark.scenario("o")
@pytest.mark.timeout(600 * STRESS)
@pytest.mark.parametrize("place", PLACES)
def test_an_order_and_its_task_are_committed_together(make_project: MakeProject, place: str) -> None:
    project = make_project(place, **PATIENT)
    orders = Orders(project)
    killed = 0.0
    with project.working():
        for number in range(size(1, KILLS) if place == "mariadb" else KILLS):  # all takes its time there
            killed = orders.send(project, f"order-{number}")
        settle(project, orders, killed, [])


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.scenario("o")
@pytest.mark.timeout(size(600, 900) * STRESS)
@pytest.mark.parametrize("place", size(PLACES[:1], PLACES))
def test_they_are_with_an_outbox_too(make_project: MakeProject, redis: RedisServer, place: str) -> None:
    """Also when the worker is killed right after a sender, at work on what that has left; and when Redis is away."""
    words: dict[str, Any] = {"broker_url": redis.url, "result_backend": redis.url, "task_outbox": True}
    project = make_project(place, **words)
    orders = Orders(project)
    worker, kills, killed = project.start(), [], 0.0
    for number in range(KILLS):
        away = number % 4 == 2
        if away:
            redis.kill()
        killed = orders.send(project, f"order-{number}")
        if away:
            assert orders.in_outbox() >= ORDERS
            redis.start()
        if number % size(2, 4) == 1:
            kills.append(worker.kill_tree())
            worker = project.start()
    settle(project, orders, killed, kills)
    assert worker.stop() == 0, worker.log[-3000:]
