"""The network between a project and its broker fails: connections are cut, refused, swallowed, forgotten or silent.

The server itself is well all the time, and who is near it sees what becomes of the messages. Workers and senders
behind the fault are back by themselves when it is over, say so, and account for every task.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.faults.test_redis_outages import AWAY
from tests.proxy import Fault, Proxy
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, Sent, Worker, account, until
from tests.servers import PostgresServer, RedisServer

FAULTS: list[Fault] = ["refuse", "blackhole", "half-open", "silent"]
#: Seconds within which all must be at work again once the network is well: what the clients wait for an answer that
#: does not come, and a pause.
BACK_WITHIN = 12.0


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
            near = make_project(request.param, **settings)
            settings = near.settings | {"worker_state_dir": str(tmp_path / "far" / "state")}
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
    """Have `fault` for `seconds`."""
    begun = time.monotonic()
    assert proxy.fail(fault) > 0
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

    begun = until(first, lambda: f"the worker is back:\n{worker.log[-2000:]}", BACK_WITHIN)
    return begun - since


def told(worker: Worker) -> int:
    """Return how often `worker` has said that the other side is away, once it has said as often that it is back.

    Twice for one fault where a process whose call began in it hears of it seconds after the others were back; not at
    all where nobody asked anything meanwhile.
    """
    until(lambda: len(worker.said(AWAY)) == len(worker.said("Back after")), lambda: worker.log[-2000:])
    return len(worker.said(AWAY))


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


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_worker_and_sender_are_back_after_a_fault_of_the_network(make_sides: MakeSides, fault: Fault) -> None:
    """For three seconds, under load, while tasks run: shorter than the lease, so nothing runs twice."""
    sides = make_sides()
    long = ["long-0", "long-1"]
    with sides.far.working("-c", "3") as worker:
        ids = sides.near.client.send("work", [[key, 6.0] for key in long])
        for key in long:
            sides.near.journal.wait_started(key)
        sides.far.client.begin("work", range(100_000), 0.001, pause=0.005)
        sides.near.journal.wait_count(50)
        with failing(sides.proxy, fault, 3.0):
            pass
        healed = time.monotonic()
        print(f"{fault}: back {wait_back(sides, worker, healed):.2f} s after it")
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        assert told(worker) <= 2, worker.log
        assert not worker.said("Traceback")
        assert not worker.said("taken over")
    assert sent.longest < 3.0
    check(sides, sent, long)
    assert [record["losses"] for record in sides.near.client.records(ids)] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["half-open", "silent"])
def test_connections_that_die_without_a_word_are_replaced(make_sides: MakeSides, fault: Fault) -> None:
    """A firewall has dropped what was open; whoever connects anew gets through at once."""
    sides = make_sides()
    with sides.far.working("-c", "3") as worker:
        sides.near.client.send("work", [["long", 6.0]])
        sides.near.journal.wait_started("long")
        sides.far.client.begin("work", range(100_000), 0.001, pause=0.005)
        sides.near.journal.wait_count(50)
        for _ in range(2):
            with failing(sides.proxy, fault, 0.0):
                pass
            since, count = time.monotonic(), len(sides.near.journal.done())
            sides.near.journal.wait_count(count + 50, BACK_WITHIN)
            print(f"{fault}: 50 more were done {time.monotonic() - since:.2f} s after it")
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty(30)
        assert not worker.said("Traceback")
        assert not worker.said("taken over")
    assert sent.longest < 3.0
    check(sides, sent, ["long"])


@pytest.mark.slow
def test_a_worker_of_one_process_is_back_too(make_sides: MakeSides) -> None:
    """The thread that runs its tasks is the one that started it, and has a connection from then."""
    sides = make_sides()
    with sides.far.working("-P", "solo") as worker:
        sides.far.client.begin("work", range(100_000), 0.001, pause=0.005)
        sides.near.journal.wait_count(50)
        with failing(sides.proxy, "silent", 3.0):
            pass
        since, count = time.monotonic(), len(sides.near.journal.done())
        sides.near.journal.wait_count(count + 50, BACK_WITHIN)
        print(f"solo: 50 more were done {time.monotonic() - since:.2f} s after it")
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        assert told(worker) <= 2, worker.log
    check(sides, sent, [])


@pytest.mark.slow
def test_an_idle_worker_notices_that_its_connections_lead_nowhere(make_sides: MakeSides) -> None:
    """It has nothing to send, and would wait for ever for what never comes."""
    sides = make_sides()
    with sides.far.working() as worker:
        sides.near.client.send("work", [["before"]])
        sides.near.client.wait_empty()
        with failing(sides.proxy, "silent", 0.0):
            pass
        since = time.monotonic()
        ids = sides.near.client.send("work", [["after"]])
        seconds = sides.near.journal.wait_started("after", 1, 30).start - since
        sides.near.client.wait_empty()
        print(f"it ran after {seconds:.2f} s")
        assert seconds < 20
        assert not worker.said("taken over")
    assert account(sides.near.journal, ["before", "after"]) == []
    assert [record["state"] for record in sides.near.client.records(ids)] == ["SUCCESS"]


@pytest.mark.slow
@pytest.mark.redis
def test_results_wait_for_a_store_that_does_not_answer(make_project: MakeProject, redis: RedisServer) -> None:
    """The broker is well, on SQLite; each task runs once, and its result is there in the end."""
    with Proxy(redis.port) as proxy:
        project = make_project("sqlite", result_backend=f"redis://127.0.0.1:{proxy.port}/0")
        with project.working() as worker:
            ids = project.client.send("work", [[n, 0.005] for n in range(400)])
            project.journal.wait_count(50)
            with failing(proxy, "silent", 3.0):
                pass
            project.client.wait_empty()
            assert 1 <= told(worker) <= 2, worker.log
        assert account(project.journal, range(400)) == []
        assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.slow
def test_connections_are_cut_again_and_again(make_sides: MakeSides) -> None:
    """Resets in the midst of requests and of answers."""
    sides = make_sides()
    cuts = 20
    with sides.far.working("-c", "3") as worker:
        sides.near.client.send("work", [["long", 4.0]])
        sides.near.journal.wait_started("long")
        sides.far.client.begin("work", range(100_000), 0.0, pause=0.001)
        sides.near.journal.wait_count(50)
        for _ in range(cuts):
            count = len(sides.near.journal.done())
            assert sides.proxy.cut() > 0
            sides.near.journal.wait_count(count + 25)
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        assert len(worker.said(AWAY)) <= cuts, worker.log
        assert not worker.said("Traceback")
    check(sides, sent, ["long"])


LEASE = 3.0


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refuse", "silent"])
def test_a_cut_longer_than_the_lease_repeats_what_ran_and_refuses_the_late_one(
    make_sides: MakeSides, fault: Fault
) -> None:
    sides = make_sides(worker_lease=LEASE)
    journal, client = sides.near.journal, sides.near.client
    with sides.far.working("-n", "far", "-c", "1") as far:
        (task_id,) = client.send("work", [["long", 10.0]])
        first = journal.wait_started("long")
        with sides.near.working("-n", "near", "-c", "1") as near:
            with failing(sides.proxy, fault, 2 * LEASE):
                second = journal.wait_started("long", 2, 3 * LEASE)
            assert near.said("has not been heard of for 3 s")
            until(lambda: journal.of("long")[0].end, "the run behind the cut comes to its end too")
            far.wait_said("taken over")
            # Its outcome is refused, so there is no result until the other has one.
            late = client.ask("records", ids=[task_id])
            assert journal.of("long")[1].end is None, "the test was too slow to see it"
            assert late == [None]
            journal.wait_done(["long"])
            until(lambda: client.ask("records", ids=[task_id])[0], "the second run's result is there")
            assert 1 <= told(far) <= 2, far.log
            # And the other goes on, with a new process.
            sides.near.client.send("work", [[n, 0.05] for n in range(40)])
            client.wait_empty()
            assert {run.pid for n in range(40) for run in journal.of(n)} >= set(far.children())
        assert not far.said("Traceback")
    runs = journal.of("long")
    assert [run.pid for run in runs] == [first.pid, second.pid]
    print(f"{fault}: run again {second.start - first.start:.1f} s after its start, both ran to their end")
    account(journal, range(40))
    (record,) = client.records([task_id])
    assert record["state"] == "SUCCESS"
    assert client.ask("dead_letters") == []


@pytest.mark.parametrize("fault", FAULTS)
def test_delay_says_within_its_deadline_what_became_of_the_task(make_sides: MakeSides, fault: Fault) -> None:
    sides = make_sides()
    sides.far.client.delay("work", "before")
    answers: dict[str, dict[str, Any]] = {}
    with failing(sides.proxy, fault, 0.0):
        for key in ("first", "second"):
            answers[key] = sides.far.client.delay("work", key)
    answers["after"] = sides.far.client.delay("work", "after")
    with sides.near.working():
        sides.near.client.wait_empty()
    told = {}
    for key in ("first", "second"):
        error = answers[key]["error"]
        assert answers[key]["seconds"] < 2.6, answers
        assert (error["type"], error["code"]) == ("BrokerDown", "E109")
        assert ("may have been queued (id " if error["maybe"] else "NOT queued") in error["text"]
        told[key] = error["maybe"]
    # The first was sent on an open connection, the second could not even connect.
    assert told == {"first": fault != "refuse", "second": False}
    assert "id" in answers["after"]
    ran = {"before", "after", *(["first"] if fault == "silent" else [])}
    assert sides.near.journal.done() == ran
    assert account(sides.near.journal, ran) == []
    print({key: (round(answer["seconds"], 2), told.get(key, "accepted")) for key, answer in answers.items()})
