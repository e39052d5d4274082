"""Entries of schedules that fire, and who sees to it."""

import time

from celeriac.broker import Broker, Fired, Firing, QueueDepth
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
    payloads,
    start,
)


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
