"""The network fails for long, again and again, or unnoticed, and to workers of all kinds.

What ran behind a cut that is longer than the lease runs again elsewhere; nothing else runs twice, nothing is lost.
"""

import time

import pytest

from tests.faults.load import AWAY, PATIENT, Gate, told
from tests.faults.network import MakeSides, check, failing
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
        sides.near.journal.wait_count(count + 50)
        print(f"solo: 50 more were done {time.monotonic() - since:.2f} s after it")
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        told(worker)
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
        seconds = sides.near.journal.wait_started("after").start - since
        sides.near.client.wait_empty()
        print(f"it ran after {seconds:.2f} s")
        assert not worker.said("taken over")
    assert account(sides.near.journal, ["before", "after"]) == []
    assert [record["state"] for record in sides.near.client.records(ids)] == ["SUCCESS"]


@pytest.mark.slow
@pytest.mark.redis
def test_results_wait_for_a_store_that_does_not_answer(make_project: MakeProject, redis: RedisServer) -> None:
    """The broker is well, on SQLite; each task runs once, and its result is there in the end."""
    with Proxy(redis.port) as proxy:
        project = make_project("sqlite", result_backend=f"redis://127.0.0.1:{proxy.port}/0", **PATIENT)
        with project.working() as worker:
            ids = project.client.send("work", [[n, 0.005] for n in range(200)])
            project.journal.wait_count(50)
            with failing(proxy, "silent", 3.0):
                ids += project.client.send("work", [[n, 0.005] for n in range(200, 400)])
                worker.wait_said(AWAY)
            project.client.wait_empty()
            assert told(worker) >= 1
        assert account(project.journal, range(400)) == []
        assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.slow
def test_connections_are_cut_again_and_again(make_sides: MakeSides) -> None:
    """Resets in the midst of requests and of answers."""
    sides = make_sides()
    cuts = 20
    with sides.far.working("-c", "3") as worker:
        with Gate(sides.near) as gate:
            sides.near.client.send("work_till", [["long", gate.path]])
            sides.near.journal.wait_started("long")
            sides.far.client.begin("work", range(100_000), 0.0, pause=0.001)
            sides.near.journal.wait_count(50)
            for _ in range(cuts):
                count = len(sides.near.journal.done())
                until(sides.proxy.cut, "somebody has connected again")
                sides.near.journal.wait_count(count + 25)
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        assert len(worker.said(AWAY)) <= cuts, worker.log
        assert not worker.said("Traceback"), worker.log[-6000:]
    check(sides, sent, ["long"])


#: Long enough not to run out while a process is held up.
LEASE = 5.0


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refuse", "silent"])
def test_a_cut_longer_than_the_lease_repeats_what_ran_and_refuses_the_late_one(
    make_sides: MakeSides, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = make_sides(worker_lease=LEASE)
    journal, client = sides.near.journal, sides.near.client
    with Gate(sides.near, side="far") as far_gate, Gate(sides.near, side="near") as near_gate:
        monkeypatch.setenv("SCENARIO_SIDE", "far")
        with sides.far.working("-n", "far", "-c", "1") as far:
            (task_id,) = client.send("work_till", [["long", far_gate.path]])
            first = journal.wait_started("long")
            monkeypatch.setenv("SCENARIO_SIDE", "near")
            with sides.near.working("-n", "near", "-c", "1") as near:
                with failing(sides.proxy, fault, LEASE):
                    second = journal.wait_started("long", 2)
                near.wait_said("has not been heard of for 5 s")
                far_gate.open()
                until(lambda: journal.of("long")[0].end, "the run behind the cut comes to its end too")
                far.wait_said("taken over")
                # Its outcome is refused, so there is no result until the other has one.
                assert client.ask("records", ids=[task_id]) == [None]
                near_gate.open()
                journal.wait_done(["long"])
                until(lambda: client.ask("records", ids=[task_id])[0], "the second run's result is there")
                assert told(far) >= 1
                # And the other goes on, with a new process.
                with Gate(sides.near, "both", "far"), Gate(sides.near, "both", "near") as both:
                    client.send("work_till", [[n, both.path] for n in range(2)])
                    for n in range(2):
                        journal.wait_started(n)
                client.wait_empty()
                new = {run.pid for n in range(2) for run in journal.of(n)} - set(near.children())
                assert new == set(far.children()) != {first.pid}
            assert not far.said("Traceback"), far.log[-6000:]
    runs = journal.of("long")
    assert [run.pid for run in runs] == [first.pid, second.pid]
    print(f"{fault}: run again {second.start - first.start:.1f} s after its start, both ran to their end")
    account(journal, range(2))
    (record,) = client.records([task_id])
    assert record["state"] == "SUCCESS"
    assert client.ask("dead_letters") == []
