"""A project on both sides of a proxy: what the tests of a failing network share.

The server itself is well all the time, and who is near it sees what becomes of the messages.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.faults.load import PATIENT
from tests.proxy import Fault, Proxy
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, Sent, Worker, account, until
from tests.servers import PostgresServer, RedisServer

FAULTS: list[Fault] = ["refuse", "blackhole", "half-open", "silent"]


class Sides(Struct):
    """One project twice: `near` its server, and `far` from it, behind `proxy`. The journal is the same."""

    near: Project
    far: Project
    proxy: Proxy


MakeSides = Any


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.redis),
        pytest.param("postgres", marks=pytest.mark.postgres),
    ]
)
def make_sides(
    request: pytest.FixtureRequest, make_project: MakeProject, tmp_path: Path
) -> Iterator[MakeSides]:
    """Make both sides of a project on Redis or PostgreSQL; arguments are its settings."""
    server: RedisServer | PostgresServer = request.getfixturevalue(
        "redis" if request.param == "redis" else "postgres_server"
    )
    with Proxy(server.port) as proxy:
        made: list[Project] = []

        def make(**settings: Any) -> Sides:
            near = make_project(request.param, **(PATIENT | settings))
            of_far = dict.fromkeys(PATIENT, 2.0) | {"worker_state_dir": str(tmp_path / "far" / "state")}
            settings = near.settings | of_far
            database = near.database
            if request.param == "redis":
                url = f"redis://127.0.0.1:{proxy.port}/0"
                settings |= {"broker_url": url, "result_backend": url}
            else:
                database = database | {"HOST": "127.0.0.1", "PORT": str(proxy.port)}
            (tmp_path / "far").mkdir()
            far = Project(tmp_path / "far", database, **settings)
            far.journal = near.journal
            made.append(far)
            return Sides(near, far, proxy)

        yield make
        for project in made:
            project.close()


@contextmanager
def failing(proxy: Proxy, fault: Fault, seconds: float) -> Iterator[None]:
    """Have `fault` for `seconds`, and until the block is done."""
    begun = time.monotonic()
    until(lambda: proxy.connected, "somebody is connected")
    proxy.fail(fault)
    yield
    until(lambda: time.monotonic() - begun > seconds, "the fault has lasted")
    proxy.heal()


def wait_back(sides: Sides, worker: Worker, since: float) -> float:
    """Wait until `worker` runs tasks that began after `since`; return how many seconds after it the first began."""

    def first() -> float | None:
        children = worker.children()
        return min(
            (run.start for run in sides.near.journal.runs() if run.start > since and run.pid in children),
            default=None,
        )

    begun = until(first, lambda: f"the worker is back:\n{worker.log[-2000:]}")
    return begun - since


def check(sides: Sides, sent: Sent, long: list[str]) -> None:
    """Account for everything once the queues are empty: nothing lost, and nothing twice."""
    done = sides.near.journal.done()
    assert len(sent.accepted) > 50
    assert not done & set(sent.refused), "refused by delay(), and yet run"
    maybe = [key for key in sent.maybe if key in done]
    assert account(sides.near.journal, [*long, *sent.accepted, *maybe]) == []
    assert sides.near.client.ask("dead_letters") == []
    print(
        f"{len(sent.accepted)} accepted and done once, {len(sent.refused)} refused, "
        f"{len(sent.maybe)} unsure of which {len(maybe)} ran once, 0 repeats; "
        f"the longest delay() took {sent.longest:.2f} s"
    )
