"""Revoked tasks, and what workers are told."""

from collections.abc import Collection

from celeriac.broker import Action, Broker
from celeriac.testing.broker_exam.equipment import (
    LEASE,
    LONG,
    NAMES,
    SHORT,
    SOON,
    Consumer,
    Fixtures,
    MakeBroker,
    elsewhere,
    eventually,
    numbered,
    payloads,
    start,
)


class SteeringChecks(Fixtures):
    """What is said once must reach every worker, also those that are not there yet."""

    def test_revoked_ids_are_known(self, broker: Broker, make_broker: MakeBroker) -> None:
        ids = ("a", "b", "", "x" * 300, "\ud800", "nul\0", *NAMES)
        assert broker.revoked(ids) == set()
        assert broker.revoked([]) == set()
        broker.revoke([], LEASE)
        broker.revoke(ids[1:], LEASE)
        broker.revoke({"b"}, LEASE)
        assert elsewhere(make_broker, lambda other: other.revoked([*ids, "c"])) == set(ids[1:])
        assert broker.revoked(["a", "c"]) == set()

    def test_revoked_until_then(self, broker: Broker) -> None:
        broker.revoke(["ends", "renewed"], SHORT)
        broker.revoke(["stays", "renewed"], LEASE)
        eventually(lambda: "ends" not in broker.revoked(["ends"]))
        broker.maintain()
        assert broker.revoked(["ends", "stays", "renewed"]) == {"stays", "renewed"}

    def test_many_are_revoked(self, broker: Broker) -> None:
        ids = [f"id-{number}" for number in range(20_000)]
        broker.revoke(ids, LEASE)
        assert broker.revoked(ids[:12_000]) == set(ids[:12_000])

    def test_deliveries_are_sure_only_while_none_is_revoked(self, broker: Broker) -> None:
        broker.publish(numbered(8), SOON)
        first, second = Consumer(broker), Consumer(broker)
        assert [delivery.sure for delivery in first.claim(limit=2)] == [True, True]
        broker.revoke(["ends"], SHORT)
        during = [delivery.sure for delivery in second.claim(limit=2)]
        assert during == [False, False] or not broker.revoked(["ends"])
        eventually(lambda: not broker.revoked(["ends"]))
        broker.maintain()
        assert [delivery.sure for delivery in second.claim(limit=2)] == [True, True]
        broker.revoke(["stays"], LEASE)
        assert [delivery.sure for delivery in second.claim(limit=2)] == [False, False]
        assert not any(delivery.sure for delivery in broker.held(first.name, first.seq))
        assert not any(d.sure for d in broker.adopt(first.name, second.name, expired_only=False))

    def test_what_is_revoked_before_a_claim_is_never_sure(
        self, broker: Broker, make_broker: MakeBroker
    ) -> None:
        """A worker claims while another process revokes what waits: it is claimed before, or it is not sure."""
        publications = numbered(60)
        broker.publish(publications, SOON)

        def revoke(other: Broker) -> Collection[str]:
            for publication in reversed(publications):
                other.revoke([publication.id], LEASE)
            return ()

        revoking = start(make_broker, revoke)
        consumer = Consumer(broker)
        ids = {publication.payload: publication.id for publication in publications}
        left, before = len(publications), set[str]()
        while left:
            if left == 5:
                revoking.result(LONG)
            before = broker.revoked(list(ids.values()))
            (delivery,) = consumer.claim(limit=1)
            left -= 1
            assert not (delivery.sure and before)
        assert before == set(ids.values())

    def test_revoking_moves_no_message(self, broker: Broker) -> None:
        publications = numbered(3)
        broker.publish(publications, SOON)
        consumer = Consumer(broker)
        consumer.settle(*consumer.claim(limit=1), action=Action.PUT_BACK)
        broker.revoke([publication.id for publication in publications], LEASE)
        assert payloads(consumer.drain()) == [b"m0", b"m1", b"m2"]

    def test_commands_are_kept_for_all_to_read(self, broker: Broker, make_broker: MakeBroker) -> None:
        assert broker.commands() == {}
        texts = [b"%d" % number for number in range(30)]
        for text in texts:
            broker.command(text)
        broker.command(b"\x00\xff binary")
        broker.maintain()
        known = broker.commands()
        assert list(known.values()) == [*texts, b"\x00\xff binary"]
        assert elsewhere(make_broker, lambda other: other.commands()) == known
        elsewhere(make_broker, lambda other: other.command(b"later"))
        assert list(broker.commands().items())[:-1] == list(known.items())
        assert len(broker.commands()) == 32
