"""Entries of schedules that fire, and who sees to it."""

import time
from collections.abc import Callable

from celeriac import states
from celeriac.broker import Action, Broker, Fired, Firing, QueueDepth, Settlement, run_office
from celeriac.store import Record, ResultStore
from celeriac.testing.broker_exam.equipment import (
    LEASE,
    LONG,
    NAMES,
    SHORT,
    Consumer,
    Fixtures,
    MakeBroker,
    elsewhere,
    eventually,
    message,
    numbered,
    payloads,
    start,
)


def _fires(firing: Firing) -> Callable[[Broker], set[str]]:
    return lambda other: other.fire([firing])


class FiringChecks(Fixtures):
    """Each slot of an entry fires once, whoever tries."""

    def test_the_clock(self, broker: Broker) -> None:
        before = broker.now()
        assert abs(before - time.time()) < 60
        eventually(lambda: broker.now() > before)

    def test_a_new_entry_is_noted_and_fires_later(self, broker: Broker, make_broker: MakeBroker) -> None:
        assert broker.fired(["a", "b"]) == {}
        assert broker.fired([]) == {}
        assert broker.fire([]) == set()
        assert broker.fire([Firing("a", 100.25, None), Firing("b", 7.0, None)]) == {"a", "b"}
        assert elsewhere(make_broker, lambda other: other.fired(["a", "b", "c"])) == {
            "a": Fired(100.25, 0, 0.0),
            "b": Fired(7.0, 0, 0.0),
        }
        begun = broker.now()
        again = [
            Firing("a", 160.1, 100.25, (message(b"one"), message(b"high", priority=9))),
            Firing("b", 8.0, 7.5, (message(b"never"),)),
            Firing("c", 1.0, None, (message(b"at once"),)),
        ]
        assert broker.fire(again) == {"a", "c"}
        fired = broker.fired(["a", "b", "c"])
        assert (fired["a"].slot, fired["a"].count) == (160.1, 2)
        assert begun - 0.1 <= fired["a"].at <= broker.now() + 0.1
        assert fired["b"] == Fired(7.0, 0, 0.0)
        assert fired["c"].count == 1
        assert payloads(Consumer(broker).drain()) == [b"high", b"one", b"at once"]

    def test_what_was_refused_changes_nothing(self, broker: Broker) -> None:
        broker.fire([Firing("a", 1.0, None), Firing("b", 1.0, None)])
        for wrong in (
            Firing("a", 2.0, None, (message(b"known"),)),
            Firing("a", 2.0, 1.5, (message(b"elsewhere"),)),
            Firing("unknown", 2.0, 1.0, (message(b"unknown"),)),
        ):
            assert broker.fire([wrong, Firing("b", 1.0, 1.0)]) == {"b"}
        assert broker.fired(["a", "unknown"]) == {"a": Fired(1.0, 0, 0.0)}
        assert broker.depths() == {}

    def test_to_several_queues_and_later(self, broker: Broker) -> None:
        due = time.time() + 3600
        publications = (message(b"p", "p"), message(b"later", due=due), message(b"q"))
        broker.fire([Firing("a", 1.0, None, publications)])
        assert broker.depths() == {
            "p": QueueDepth(ready=1),
            "q": QueueDepth(ready=1, scheduled=1),
        }

    def test_entries_of_any_name_and_slots_to_the_last_digit(self, broker: Broker) -> None:
        slots = [0.1 + 0.2, 1_700_000_000.123456, 1e-9, 12345678901.0, -1.5]
        for name in NAMES:
            expected = None
            for slot in slots:
                assert broker.fire([Firing(name, slot, expected, (message(b"x"),))]) == {name}
                expected = slot
        assert {each.slot for each in broker.fired(NAMES).values()} == {slots[-1]}
        assert len(Consumer(broker).drain()) == len(NAMES) * len(slots)

    def test_each_slot_fires_once_whoever_tries(self, broker: Broker, make_broker: MakeBroker) -> None:
        entries, slots = [f"entry-{number}" for number in range(10)], 20
        broker.fire([Firing(entry, 0.0, None) for entry in entries])

        def fire_all(other: Broker) -> int:
            accepted = 0
            for slot in range(1, slots + 1):
                firings = [
                    Firing(entry, float(slot), slot - 1.0, (message(f"{entry} {slot}".encode()),))
                    for entry in entries
                ]
                # The others may be behind.
                while len(done := other.fired(entries)) and min(each.slot for each in done.values()) < slot:
                    accepted += len(other.fire(firings))
            return accepted

        others = [start(make_broker, fire_all) for _ in range(3)]
        assert sum(other.result(LONG) for other in others) == len(entries) * slots
        expected = sorted(f"{entry} {slot}".encode() for entry in entries for slot in range(1, slots + 1))
        assert sorted(payloads(Consumer(broker).drain())) == expected
        assert {each.count for each in broker.fired(entries).values()} == {slots}

    def test_an_entry_that_was_taken_out_is_new_again(self, broker: Broker) -> None:
        broker.fire([Firing("a", 1.0, None), Firing("b", 1.0, None)])
        broker.unschedule([])
        broker.unschedule(["a", "unknown"])
        assert broker.fired(["a", "b"]) == {"b": Fired(1.0, 0, 0.0)}
        assert broker.fire([Firing("a", 5.0, None)]) == {"a"}

    def test_one_holds_an_office(self, broker: Broker, make_broker: MakeBroker) -> None:
        assert broker.elect("beat", "one", LEASE) == "one"
        assert elsewhere(make_broker, lambda other: other.elect("beat", "two", LEASE)) == "one"
        assert broker.elect("beat", "one", SHORT) == "one"
        assert broker.elect("other", "two", LEASE) == "two"
        eventually(lambda: broker.elect("beat", "two", LEASE) == "two")
        assert broker.elect("beat", "one", LEASE) == "two"
        broker.resign("beat", "one")
        assert broker.elect("beat", "one", LEASE) == "two"
        broker.resign("beat", "two")
        assert broker.elect("beat", "one", LEASE) == "one"
        assert broker.elect("other", "one", LEASE) == "two"

    # -- one run at a time

    def test_one_run_of_an_entry_at_a_time(self, broker: Broker, make_broker: MakeBroker) -> None:
        for entry in NAMES:
            office = run_office(entry)
            first, second, third, again = numbered(4)
            broker.fire([Firing(entry, 1.0, None)])
            assert broker.fire([Firing(entry, 2.0, 1.0, (first,), hold=LEASE)]) == {entry}
            assert elsewhere(make_broker, _fires(Firing(entry, 3.0, 2.0, (second,), hold=LEASE))) == {entry}
            fired = broker.fired([entry])[entry]
            assert (fired.slot, fired.count) == (3.0, 1), "it is over, and was not published"
            consumer = Consumer(broker)
            (mine,) = consumer.drain()
            assert mine.payload == first.payload
            consumer.settle(mine, action=Action.PUT_BACK)
            (mine,) = consumer.drain()
            consumer.settle(mine, publish=(again,))
            broker.fire([Firing(entry, 4.0, 3.0, (second,), hold=LEASE)])
            mine, *others = consumer.drain()
            assert not others and mine.payload == again.payload, "a retry goes on to hold it"
            consumer.settle(mine, frees=(office, second.id), publish=(again,))
            broker.fire([Firing(entry, 5.0, 4.0, (second,), hold=LEASE)])
            mine, *others = consumer.drain()
            assert not others and mine.payload == again.payload, "another cannot resign for it"
            assert consumer.settle(mine, frees=(office, first.id)) == set()
            broker.fire([Firing(entry, 6.0, 5.0, (third,), hold=LEASE)])
            assert payloads(consumer.drain()) == [third.payload]
            assert broker.fired([entry])[entry].count == 2
            broker.fire([Firing(entry, 7.0, 6.0, (second,))])
            assert payloads(consumer.drain()) == [second.payload], "who does not ask does not care"

    def test_however_a_run_ends(self, broker: Broker, store: ResultStore | None) -> None:
        consumer, slot, expected = Consumer(broker), 0.0, None
        record = Record("ended", states.SUCCESS, b"1", finished=time.time())
        for ends in ({"action": Action.DEAD, "reason": "poison"}, {"record": record, "store": store}, {}):
            publication, slot = message(b"run"), slot + 1
            beside = message(b"beside")
            broker.publish([beside], LONG)
            broker.fire([Firing("a", slot, expected, (publication,), hold=LEASE)])
            expected = slot
            *_, mine = sorted(consumer.drain(), key=lambda each: each.payload)
            assert mine.payload == b"run", ends
            assert consumer.settle(mine, frees=(run_office("a"), publication.id), **ends) == set()
        broker.fire([Firing("a", 9.0, expected, (message(b"last"),), hold=LEASE)])
        assert broker.fired(["a"])["a"].count == 4

    def test_what_is_refused_holds_and_frees_nothing(self, broker: Broker) -> None:
        first, second = numbered(2)
        broker.fire([Firing("a", 1.0, None)])
        assert broker.fire([Firing("a", 2.0, 1.5, (second,), hold=LEASE)]) == set()
        assert broker.fire([Firing("a", 2.0, 1.0, (first,), hold=LEASE)]) == {"a"}
        assert broker.fired(["a"])["a"].count == 1, "the office was free"
        consumer = Consumer(broker)
        (mine,) = consumer.drain()
        frees = run_office("a"), first.id
        assert broker.settle("nobody", [Settlement(mine.tag, frees=frees)]) == {mine.tag}
        assert broker.settle(consumer.name, [Settlement(mine.tag + 1, frees=frees)]) == {mine.tag + 1}
        assert broker.fire([Firing("a", 3.0, 2.0, (second,), hold=LEASE)]) == {"a"}
        assert broker.fired(["a"])["a"].count == 1, "the office is held"
        assert consumer.settle(mine) == set()

    def test_a_run_that_was_lost_stands_in_the_way_for_a_time(self, broker: Broker) -> None:
        broker.fire([Firing("a", 0.0, None, (message(b"lost"),), hold=SHORT)])
        assert broker.purge(["q"]) == 1
        slots = iter(range(1, 1_000_000))

        def fires() -> bool:
            slot = float(next(slots))
            broker.fire([Firing("a", slot, slot - 1, (message(b"next"),), hold=LEASE)])
            return broker.fired(["a"])["a"].count == 2

        eventually(fires)
        assert payloads(Consumer(broker).drain()) == [b"next"]
