"""The network between a project and its broker fails for a moment: it refuses, swallows, forgets or is silent.

Workers and senders behind the fault are back by themselves when it is over, say so, and account for every task.
"""

import time
from typing import Any

import pytest

from tests.faults.network import BACK_WITHIN, FAULTS, MakeSides, check, failing, told, wait_back
from tests.proxy import Fault
from tests.scenarios.harness import account


@pytest.mark.slow
@pytest.mark.scenario("e")
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
        healed, count = time.monotonic(), len(sides.near.journal.done())
        sides.near.journal.recoveries.append(wait_back(sides, worker, healed))
        print(f"{fault}: back {sides.near.journal.recoveries[-1]:.2f} s after it")
        sides.near.journal.wait_count(count + 50, BACK_WITHIN)  # so the sender is back as well
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        assert told(worker) <= 2, worker.log
        assert not worker.said("Traceback"), worker.log[-6000:]
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
        assert not worker.said("Traceback"), worker.log[-6000:]
        assert not worker.said("taken over")
    assert sent.longest < 3.0
    check(sides, sent, ["long"])


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
