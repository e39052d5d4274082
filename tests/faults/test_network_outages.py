"""The network fails for long, again and again, or unnoticed, and to workers of all kinds.

What ran behind a cut that is longer than the lease runs again elsewhere; nothing else runs twice, nothing is lost.
"""

import time

import pytest

from tests.faults.network import AWAY, BACK_WITHIN, MakeSides, check, failing, told
from tests.proxy import Fault, Proxy
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import account, until
from tests.servers import RedisServer


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
        assert not worker.said("Traceback"), worker.log[-6000:]
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
        assert not far.said("Traceback"), far.log[-6000:]
    runs = journal.of("long")
    assert [run.pid for run in runs] == [first.pid, second.pid]
    print(f"{fault}: run again {second.start - first.start:.1f} s after its start, both ran to their end")
    account(journal, range(40))
    (record,) = client.records([task_id])
    assert record["state"] == "SUCCESS"
    assert client.ask("dead_letters") == []
