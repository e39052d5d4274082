"""A sender is killed at any moment: of an order and its task in one transaction there are both, or neither."""

import random
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import PROJECT, Project, account, until, wait
from tests.size import STRESS, size

KILLS = size(4, 40) * STRESS


class Orders:
    """The project's own table, in the database that the broker is in."""

    def __init__(self, project: Project) -> None:
        name = project.database["NAME"]
        if "sqlite" in project.database["ENGINE"]:
            self.connection = sqlite3.connect(name, isolation_level=None, timeout=20)
        else:
            import psycopg

            words = {"host": project.database["HOST"], "port": project.database["PORT"], "user": "postgres"}
            self.connection = psycopg.connect(dbname=name, autocommit=True, **words)  # type: ignore[assignment]
        self.connection.execute("CREATE TABLE orders (number text PRIMARY KEY)")

    def keys(self) -> list[str]:
        """Return the orders that were committed."""
        return [row[0] for row in self.connection.execute("SELECT number FROM orders").fetchall()]


@pytest.mark.slow
@pytest.mark.scenario("o")
@pytest.mark.timeout(size(120, 600) * STRESS)
@pytest.mark.parametrize("place", ["sqlite", "postgres"])
def test_an_order_and_its_task_are_committed_together(make_project: MakeProject, place: str) -> None:
    project = make_project(place)
    orders = Orders(project)
    with project.working():
        for number in range(KILLS):
            before = len(orders.keys())
            producer = subprocess.Popen(
                [sys.executable, str(PROJECT / "producer.py"), f"order-{number}"], env=project.environment()
            )
            until(lambda before=before: len(orders.keys()) > before, "there are orders")
            wait(random.random() * 0.3)
            producer.kill()
            producer.wait(20)
            killed = time.monotonic()
        project.client.wait_empty()
    keys = orders.keys()
    orders.connection.close()
    assert account(project.journal, keys) == []
    assert project.journal.done() == set(keys), "a task without its order"
    last = max(run.end or 0.0 for run in project.journal.runs())
    project.journal.recoveries.append(max(0.0, last - killed))
    print(f"{len(keys)} orders, {KILLS} kills")
