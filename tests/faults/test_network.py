"""The network between a project and its broker fails for a moment: it refuses, swallows, forgets or is silent.

Workers and senders behind the fault are back by themselves when it is over, say so, and account for every task.
"""

import time

import pytest

from tests.faults.load import Gate, accepted, told, wait_told
from tests.faults.network import FAULTS, MakeSides, check, failing, wait_back
from tests.proxy import Fault
from tests.scenarios.harness import account, until


@pytest.mark.slow
@pytest.mark.scenario("e")
@pytest.mark.parametrize("fault", FAULTS)
def test_worker_and_sender_are_back_after_a_fault_of_the_network(make_sides: MakeSides, fault: Fault) -> None:
    """For three seconds, under load, while tasks run: shorter than the lease, so nothing runs twice."""
    sides = make_sides()
    long = ["long-0", "long-1"]
    with sides.far.working("-c", "3") as worker:
        with Gate(sides.near) as gate:
            ids = sides.near.client.send("work_till", [[key, gate.path] for key in long])
            for key in long:
                sides.near.journal.wait_started(key)
            sides.far.client.begin("work", range(100_000), 0.001, pause=0.005)
            sides.near.journal.wait_count(50)
            with failing(sides.proxy, fault, 3.0):
                wait_told(sides.far)
            healed, count = time.monotonic(), len(sides.near.journal.done())
            sides.near.journal.recoveries.append(wait_back(sides, worker, healed))
            print(f"{fault}: back {sides.near.journal.recoveries[-1]:.2f} s after it")
            sides.near.journal.wait_count(count + 50)  # so the sender is back as well
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        told(worker)
        assert not worker.said("Traceback"), worker.log[-6000:]
        assert not worker.said("taken over")
    check(sides, sent, long)
    assert [record["losses"] for record in sides.near.client.records(ids)] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["half-open", "silent"])
def test_connections_that_die_without_a_word_are_replaced(make_sides: MakeSides, fault: Fault) -> None:
    """A firewall has dropped what was open; whoever connects anew gets through at once."""
    sides = make_sides()
    with sides.far.working("-c", "3") as worker:
        with Gate(sides.near) as gate:
            sides.near.client.send("work_till", [["long", gate.path]])
            sides.near.journal.wait_started("long")
            sides.far.client.begin("work", range(100_000), 0.001, pause=0.005)
            sides.near.journal.wait_count(50)
            for _ in range(2):
                with failing(sides.proxy, fault, 0.0):
                    pass
                since, count = time.monotonic(), len(sides.near.journal.done())
                sides.near.journal.wait_count(count + 50)
                print(f"{fault}: 50 more were done {time.monotonic() - since:.2f} s after it")
        sent = sides.far.client.finish(stop=True)
        sides.near.client.wait_empty()
        assert not worker.said("Traceback"), worker.log[-6000:]
        assert not worker.said("taken over")
    check(sides, sent, ["long"])


@pytest.mark.parametrize("fault", FAULTS)
def test_delay_says_while_it_lasts_what_became_of_the_task(make_sides: MakeSides, fault: Fault) -> None:
    sides = make_sides()
    sure, refused, answers = [], [], []

    def failed() -> str:
        """Return what was sent on an open connection. One that was idle for 2 s is asked first, and nothing is sent."""
        sure.append(accepted(sides.far, f"before-{len(sure)}"))
        keys = [f"{name}-{len(sure)}" for name in ("first", "second")]
        with failing(sides.proxy, fault, 0.0):
            answers[:] = [sides.far.client.delay("work", key) for key in keys]
        maybe = [answer["error"]["maybe"] for answer in answers]
        assert not maybe[1], "it could not even connect"
        refused.extend(keys[maybe[0] :])
        return keys[0] if maybe[0] or fault == "refuse" else ""

    first = until(failed, "a task is sent")
    for answer in answers:
        error = answer["error"]
        assert (error["type"], error["code"]) == ("BrokerDown", "E109")
        assert ("may have been queued (id " if error["maybe"] else "NOT queued") in error["text"]
    assert answers[0]["error"]["maybe"] == (fault != "refuse")
    sure.append(accepted(sides.far, "after"))
    with sides.near.working():
        sides.near.client.wait_empty()
    done = sides.near.journal.done()
    assert set(sure) <= done and not done & set(refused)
    # What was sent has arrived, or nothing has. A PostgreSQL that was slow may have heard first that it is called off.
    assert fault == "silent" or first not in done
    assert fault != "silent" or "broker_url" not in sides.near.settings or first in done
    assert account(sides.near.journal, done) == []
