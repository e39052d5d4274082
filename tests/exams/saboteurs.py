"""Keepers that break one promise each. Each is named with the check of the exam that has to notice.

They are honest in everything else, so that an exam which lets one pass has a hole exactly there.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from celeriac import states
from celeriac.broker import (
    Action,
    Broker,
    DeadLetter,
    Delivery,
    Fired,
    Firing,
    Publication,
    QueueDepth,
    Settlement,
    run_office,
)
from celeriac.brokers.memory import MemoryBroker
from celeriac.errors import LeaseLost
from celeriac.store import Record, ResultStore
from celeriac.stores.memory import MemoryStore
from celeriac.waker import Waker


class Sabotage(NamedTuple):
    """A keeper, the check that catches it, and that check's parameters."""

    keeper: type[Any]
    check: str
    parameters: dict[str, Any]


BROKERS: list[Sabotage] = []
STORES: list[Sabotage] = []


def caught_by(check: str, **parameters: Any) -> Any:
    """Enter the class below into the list of saboteurs."""

    def enter(keeper: type[Any]) -> type[Any]:
        (BROKERS if issubclass(keeper, Broker) else STORES).append(Sabotage(keeper, check, parameters))
        return keeper

    return enter


changed = msgspec.structs.replace

#: A saboteur that needs somebody else for its deed waits for them, up to this time.
PATIENCE = 60.0


def await_others(come: Callable[[], Any]) -> None:
    """Wait until others have come to where the sabotage hits them."""
    deadline = time.monotonic() + PATIENCE
    while not come() and time.monotonic() < deadline:
        time.sleep(0.001)


# -- publishing and claiming


@caught_by("test_once_under_each_key")
class PublishesAnyNumberOfTimes(MemoryBroker):
    def publish_once(
        self, publications: Mapping[str, Publication], timeout: float, done: Collection[str] = ()
    ) -> None:
        self.publish(list(publications.values()), timeout)


@caught_by("test_a_key_that_is_done_is_forgotten")
class RemembersKeysForEver(MemoryBroker):
    def publish_once(
        self, publications: Mapping[str, Publication], timeout: float, done: Collection[str] = ()
    ) -> None:
        super().publish_once(publications, timeout)


@caught_by("test_first_in_first_out")
class LosesTheLastOfABatch(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish(publications[:-1] if len(publications) > 1 else publications, timeout)


@caught_by("test_first_in_first_out")
class LastInFirstOut(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish(publications[::-1], timeout)


@caught_by("test_higher_priority_first")
class KnowsNoPriority(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish([changed(each, priority=0) for each in publications], timeout)


@caught_by("test_higher_priority_first")
class LowNumbersFirst(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish([changed(each, priority=-each.priority) for each in publications], timeout)


@caught_by("test_payloads_are_bytes_and_nothing_else", payload=b"\x00\xff\xfe")
class TakesPayloadsForText(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish(
            [changed(each, payload=each.payload.decode(errors="replace").encode()) for each in publications],
            timeout,
        )


@caught_by("test_equal_messages_are_two")
class DropsTwins(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish(list({each.id: each for each in publications}.values()), timeout)


@caught_by("test_a_batch_appears_whole")
class PublishesBitByBit(MemoryBroker):
    """And lets others look at the first half of the first batch."""

    claims: ClassVar[list[str]] = []
    first = True

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        half = len(publications) // 2
        super().publish(publications[:half], timeout)
        if self.first:
            self.first = False
            before = len(self.claims)
            await_others(lambda: len(self.claims) > before + 2)
        super().publish(publications[half:], timeout)

    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        self.claims.append(consumer)
        return super().claim(consumer, queues, limit, seq)


@caught_by("test_not_before_it_is_due")
class CannotWaitForTheDueTime(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish([changed(each, due=None) for each in publications], timeout)


@caught_by("test_each_at_its_own_time")
class ForgetsTheSchedule(MemoryBroker):
    def _promote(self) -> None:
        pass


@caught_by("test_equal_scheduled_messages_are_two")
class SchedulesASet(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish(list({(each.payload, each.due): each for each in publications}.values()), timeout)


@caught_by("test_never_more_than_the_limit")
class LimitsEachQueue(MemoryBroker):
    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        claimed = []
        for number, queue in enumerate(queues):
            claimed += super().claim(consumer, [queue], limit, seq * 100 + number)
        return claimed


@caught_by("test_a_full_queue_does_not_starve_another", queues=("full", "small"))
class ServesInOneOrder(MemoryBroker):
    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        claimed: list[Delivery] = []
        for number, queue in enumerate(queues):
            if len(claimed) < limit:
                claimed += super().claim(consumer, [queue], limit - len(claimed), seq * 100 + number)
        return claimed


@caught_by("test_an_old_number_claims_nothing")
class RepeatsOldClaims(MemoryBroker):
    seq = 1000

    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        self.seq += 1
        return super().claim(consumer, queues, limit, self.seq)


@caught_by("test_held_closes_the_door_behind_earlier_claims")
class HeldClosesNoDoor(MemoryBroker):
    def held(self, consumer: str, seq: int) -> list[Delivery]:
        return super().held(consumer, -1)


@caught_by("test_held_is_what_was_claimed_and_not_settled")
class RemembersNothingHeld(MemoryBroker):
    def held(self, consumer: str, seq: int) -> list[Delivery]:
        super().held(consumer, seq)
        return []


@caught_by("test_without_a_lease")
class ServesAnybody(MemoryBroker):
    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        try:
            return super().claim(consumer, queues, limit, seq)
        except LeaseLost:
            return []


@caught_by("test_many_claimers_each_message_once")
class HandsOutEveryFiftiethTwice(MemoryBroker):
    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        claimed = super().claim(consumer, queues, limit, seq)
        twice = [Publication("", "", each.queue, each.payload) for each in claimed if each.tag % 50 == 0]
        super().publish(twice, 1.0)
        return claimed


# -- settling


class _Settles(MemoryBroker):
    """Changes each settlement before it is carried out."""

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        return super().settle(consumer, [self.change(each) for each in settlements], store)

    def change(self, settlement: Settlement) -> Settlement:
        raise NotImplementedError


@caught_by("test_put_back_goes_before_what_waits")
class PutsBackBehind(_Settles):
    def change(self, settlement: Settlement) -> Settlement:
        return (
            changed(settlement, action=Action.SCHEDULE)
            if settlement.action is Action.PUT_BACK
            else settlement
        )


@caught_by("test_put_back_with_another_payload")
class KeepsTheOldPayload(_Settles):
    def change(self, settlement: Settlement) -> Settlement:
        return changed(settlement, payload=None)


@caught_by("test_schedule_is_not_early")
class SchedulesForNow(_Settles):
    def change(self, settlement: Settlement) -> Settlement:
        return changed(settlement, due=None)


@caught_by("test_dead")
class BuriesWithoutAName(_Settles):
    def change(self, settlement: Settlement) -> Settlement:
        return changed(settlement, reason="")


@caught_by("test_publish_with_a_settlement")
class ForgetsToPublish(_Settles):
    def change(self, settlement: Settlement) -> Settlement:
        return changed(settlement, publish=())


@caught_by("test_a_refused_settlement_publishes_nothing")
class PublishesInAnyCase(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        self.publish([each for settlement in settlements for each in settlement.publish], 1.0)
        return super().settle(consumer, [changed(each, publish=()) for each in settlements], store)


@caught_by("test_publish_however_the_delivery_ends", action=Action.DEAD)
class PublishesForTheLivingOnly(_Settles):
    def change(self, settlement: Settlement) -> Settlement:
        return changed(settlement, publish=()) if settlement.action is Action.DEAD else settlement


@caught_by("test_record_is_not_stored_when_refused")
class StoresInAnyCase(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        if store is not None:
            store.store([each.record for each in settlements if each.record is not None])
        return super().settle(consumer, settlements, store)


@caught_by("test_record_is_stored_when_accepted")
class LosesRecords(_Settles):
    def change(self, settlement: Settlement) -> Settlement:
        return changed(settlement, record=None)


@caught_by("test_shares_no_alien_store")
class SharesWithEverybody(MemoryBroker):
    def shares(self, store: ResultStore) -> bool:
        return True


@caught_by("test_unknown_and_foreign_tags_are_refused")
class SettlesForOthers(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        refused = super().settle(consumer, settlements, store)
        for other in list(self._shelf.consumers):
            refused = super().settle(other, [each for each in settlements if each.tag in refused], store)
        return refused


@caught_by("test_a_tag_settles_once")
class NeverRefuses(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        super().settle(consumer, settlements, store)
        return set()


@caught_by("test_unregister_gives_back_as_it_was")
class TakesItToTheGrave(MemoryBroker):
    def unregister(self, consumer: str) -> None:
        if consumer in self._shelf.consumers:
            self.settle(consumer, [Settlement(each.tag) for each in self.held(consumer, 0)])
        super().unregister(consumer)


# -- leases


@caught_by("test_a_lease_runs_out")
class Immortal(MemoryBroker):
    def expired(self) -> list[str]:
        return []


@caught_by("test_a_lease_runs_out")
class DiesAtOnce(MemoryBroker):
    def expired(self) -> list[str]:
        return list(self._shelf.consumers)


@caught_by("test_renew")
class RenewsNothing(MemoryBroker):
    def renew(self, consumers: Sequence[str], lease: float) -> set[str]:
        return set(consumers) - set(self._shelf.consumers)


@caught_by("test_the_stale_holder_is_refused")
class RaisesTheDead(MemoryBroker):
    def renew(self, consumers: Sequence[str], lease: float) -> set[str]:
        for consumer in super().renew(consumers, lease):
            self.register(consumer, lease)
        return set()


@caught_by("test_a_living_consumer_is_not_adopted")
class AdoptsTheLiving(MemoryBroker):
    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        return super().adopt(dead, by, expired_only=False)


@caught_by("test_adopt", expired_only=False)
class AdoptsOnlyTheExpired(MemoryBroker):
    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        return super().adopt(dead, by)


@caught_by("test_the_stale_holder_is_refused")
class AdoptsACopy(MemoryBroker):
    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        state = self._shelf.consumers.get(dead)
        moved = super().adopt(dead, by, expired_only=expired_only)
        if moved and state is not None:
            self._shelf.consumers[dead] = state
        return moved


@caught_by("test_an_heir_without_a_lease_gets_nothing")
class LeavesToNobody(MemoryBroker):
    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        if by not in self._shelf.consumers:
            self._shelf.consumers.pop(dead, None)
        return super().adopt(dead, by, expired_only=expired_only)


@caught_by("test_what_was_adopted_keeps_its_priority")
class InheritsWithoutPriority(MemoryBroker):
    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        moved = super().adopt(dead, by, expired_only=expired_only)
        held = self._shelf.consumers[by].held
        for tag, (queue, _, payload) in list(held.items()):
            held[tag] = (queue, 0, payload)
        return moved


# -- looking


@caught_by("test_depths")
class CountsNothingScheduled(MemoryBroker):
    def depths(self) -> dict[str, QueueDepth]:
        return {queue: changed(depth, scheduled=0) for queue, depth in super().depths().items()}


@caught_by("test_heads")
class ShowsOneHeadOfAQueue(MemoryBroker):
    def heads(self) -> list[tuple[str, bytes]]:
        return list(dict(super().heads()).items())


@caught_by("test_readers")
class TakesTheDeadForReaders(MemoryBroker):
    def readers(self) -> dict[str, tuple[str, ...]]:
        return {name: each.queues for name, each in self._shelf.consumers.items() if each.queues}


@caught_by("test_readers")
class ForgetsWhoReadsWhat(MemoryBroker):
    def register(self, consumer: str, lease: float, queues: Sequence[str] = ()) -> None:
        super().register(consumer, lease, queues[:1])


@caught_by("test_dead_letters_newest_first_in_pages")
class OldestLettersFirst(MemoryBroker):
    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        return super().dead_letters(10_000)[::-1][offset : offset + limit]


@caught_by("test_revived_letters_are_messages_again")
class RevivesACopy(MemoryBroker):
    def revive(self, publications: Mapping[str, Publication]) -> int:
        letters = list(self._shelf.dead)
        count = super().revive(publications)
        self._shelf.dead[:] = letters
        return count


@caught_by("test_revived_letters_are_messages_again")
class DropsLettersInstead(MemoryBroker):
    def revive(self, publications: Mapping[str, Publication]) -> int:
        before = len(self._shelf.dead)
        self._shelf.dead[:] = [letter for letter in self._shelf.dead if letter.key not in publications]
        return before - len(self._shelf.dead)


@caught_by("test_discarded_letters_are_gone")
class DiscardsNothing(MemoryBroker):
    def discard(self, keys: Collection[str]) -> int:
        return len({letter.key for letter in self._shelf.dead} & set(keys))


@caught_by("test_discarded_letters_are_gone")
class DiscardsTheLiving(MemoryBroker):
    def discard(self, keys: Collection[str]) -> int:
        for state in self._shelf.consumers.values():
            for tag in [tag for tag in state.held if str(tag) in keys]:
                del state.held[tag]
        return super().discard(keys)


@caught_by("test_revoked_ids_are_known")
class RevokesTheFirst(MemoryBroker):
    def revoke(self, ids: Collection[str], seconds: float) -> None:
        super().revoke(list(ids)[:1], seconds)


@caught_by("test_revoked_ids_are_known")
class TakesAllForRevoked(MemoryBroker):
    def revoked(self, ids: Collection[str]) -> set[str]:
        return set(ids) if self._shelf.revoked else set()


@caught_by("test_revoked_until_then")
class RevokesForEver(MemoryBroker):
    def revoke(self, ids: Collection[str], seconds: float) -> None:
        super().revoke(ids, 1e9)


@caught_by("test_revoked_until_then")
class ForgetsAllThatWereRevoked(MemoryBroker):
    def maintain(self) -> None:
        super().maintain()
        self._shelf.revoked.clear()


@caught_by("test_deliveries_are_sure_only_while_none_is_revoked")
class IsAlwaysSure(MemoryBroker):
    def _delivery(self, tag: int, queue: str, payload: bytes) -> Delivery:
        return changed(super()._delivery(tag, queue, payload), sure=True)


@caught_by("test_deliveries_are_sure_only_while_none_is_revoked")
class IsNeverSure(MemoryBroker):
    def _delivery(self, tag: int, queue: str, payload: bytes) -> Delivery:
        return changed(super()._delivery(tag, queue, payload), sure=False)


@caught_by("test_what_is_revoked_before_a_claim_is_never_sure")
class IsSureNowAndThen(MemoryBroker):
    def _delivery(self, tag: int, queue: str, payload: bytes) -> Delivery:
        delivery = super()._delivery(tag, queue, payload)
        return changed(delivery, sure=delivery.sure or tag % 4 == 0)


@caught_by("test_revoking_moves_no_message")
class DropsWhatWaits(MemoryBroker):
    def revoke(self, ids: Collection[str], seconds: float) -> None:
        super().revoke(ids, seconds)
        self._shelf.ready.clear()


@caught_by("test_commands_are_kept_for_all_to_read")
class CommandsAreReadOnce(MemoryBroker):
    def commands(self) -> dict[str, bytes]:
        known = super().commands()
        self._shelf.commands.clear()
        return known


@caught_by("test_what_was_refused_changes_nothing")
class FiresWhateverIsExpected(MemoryBroker):
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        known = self._shelf.fired
        return super().fire(
            [changed(f, expected=known[f.entry].slot if f.entry in known else None) for f in firings]
        )


@caught_by("test_what_was_refused_changes_nothing")
class PublishesWhatWasRefused(MemoryBroker):
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        accepted = super().fire(firings)
        self.publish([p for f in firings if f.entry not in accepted for p in f.publications], 1.0)
        return accepted


@caught_by("test_each_slot_fires_once_whoever_tries")
class LooksBeforeItFires(MemoryBroker):
    """And lets the two others in between."""

    all_look = threading.Barrier(3)
    alone = True

    def fire(self, firings: Sequence[Firing]) -> set[str]:
        known = self.fired([firing.entry for firing in firings])
        fits = [f for f in firings if (known[f.entry].slot if f.entry in known else None) == f.expected]
        if self.alone and firings[0].expected is not None:
            self.alone = False
            self.all_look.wait(PATIENCE)
        for firing in fits:
            self._shelf.fired[firing.entry] = Fired(firing.slot, 1, self._clock())
        self.publish([p for firing in fits for p in firing.publications], 1.0)
        return {firing.entry for firing in fits}


@caught_by("test_a_new_entry_is_noted_and_fires_later")
class ForgetsWhatItPublished(MemoryBroker):
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        return super().fire([changed(firing, publications=()) for firing in firings])


@caught_by("test_entries_of_any_name_and_slots_to_the_last_digit")
class RoundsSlots(MemoryBroker):
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        return super().fire([changed(firing, slot=round(firing.slot, 3)) for firing in firings])


@caught_by("test_one_run_of_an_entry_at_a_time")
class HoldsNothing(MemoryBroker):
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        return super().fire([changed(firing, hold=0.0) for firing in firings])


@caught_by("test_a_run_that_was_lost_stands_in_the_way_for_a_time")
class HoldsForEver(MemoryBroker):
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        return super().fire([changed(firing, hold=firing.hold * 1e9) for firing in firings])


@caught_by("test_what_is_refused_holds_and_frees_nothing")
class HoldsForWhatWasRefused(MemoryBroker):
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        accepted = super().fire(firings)
        for firing in firings:
            if firing.hold and firing.entry not in accepted:
                self.elect(run_office(firing.entry), firing.publications[0].id, firing.hold)
        return accepted


@caught_by("test_one_run_of_an_entry_at_a_time")
@caught_by("test_however_a_run_ends")
class FreesNothing(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        return super().settle(consumer, [changed(each, frees=None) for each in settlements], store)


@caught_by("test_what_is_refused_holds_and_frees_nothing")
class FreesForWhomIsRefused(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        for settlement in settlements:
            if settlement.frees is not None:
                self.resign(*settlement.frees)
        return super().settle(consumer, settlements, store)


@caught_by("test_one_run_of_an_entry_at_a_time")
class FreesWhoeverHolds(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        for settlement in settlements:
            if settlement.frees is not None:
                self._shelf.offices.pop(settlement.frees[0], None)
        return super().settle(consumer, settlements, store)


@caught_by("test_an_entry_that_was_taken_out_is_new_again")
class UnschedulesAll(MemoryBroker):
    def unschedule(self, entries: Collection[str]) -> None:
        self._shelf.fired.clear()


@caught_by("test_one_holds_an_office")
class ElectsWhoComesLast(MemoryBroker):
    def elect(self, office: str, candidate: str, seconds: float) -> str:
        return candidate


@caught_by("test_one_holds_an_office")
class ElectsForEver(MemoryBroker):
    def elect(self, office: str, candidate: str, seconds: float) -> str:
        return super().elect(office, candidate, 1e9)


@caught_by("test_one_holds_an_office")
class AnybodyResignsForHim(MemoryBroker):
    def resign(self, office: str, candidate: str) -> None:
        self._shelf.offices.pop(office, None)


@caught_by("test_what_is_no_dead_letter_is_not_revived")
class RevivesTheLiving(MemoryBroker):
    def revive(self, publications: Mapping[str, Publication]) -> int:
        self.publish(list(publications.values()), 1.0)
        known = {letter.key for letter in self._shelf.dead}
        self._shelf.dead[:] = [letter for letter in self._shelf.dead if letter.key not in publications]
        return len(known & publications.keys())


@caught_by("test_a_letter_is_revived_once")
class RevivesForEverybody(MemoryBroker):
    all_look = threading.Barrier(3)
    alone = True

    def revive(self, publications: Mapping[str, Publication]) -> int:
        known = {letter.key for letter in self._shelf.dead}
        if self.alone:
            self.alone = False
            self.all_look.wait(PATIENCE)
        self.publish([each for key, each in publications.items() if key in known], 1.0)
        self._shelf.dead[:] = [letter for letter in self._shelf.dead if letter.key not in publications]
        return len(known & publications.keys())


@caught_by("test_purge")
class PurgesOnlyWhatIsReady(MemoryBroker):
    def purge(self, queues: Iterable[str]) -> int:
        return sum(len(self._shelf.ready.pop(queue, ())) for queue in queues)


@caught_by("test_too_long_messages_are_handed_out_cut")
class HandsOutAnything(MemoryBroker):
    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        honest, self.max_message_bytes = self.max_message_bytes, 2**40
        try:
            return super().claim(consumer, queues, limit, seq)
        finally:
            self.max_message_bytes = honest


@caught_by("test_a_cut_message_goes_back_whole")
class PutsBackTheCut(MemoryBroker):
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        cut = {each.tag: each.payload for each in self.held(consumer, 0)}
        changes = [changed(each, payload=each.payload or cut.get(each.tag)) for each in settlements]
        return super().settle(consumer, changes, store)


# -- waiting


@caught_by("test_wakes_at_a_publish_from_elsewhere", queues=("q",))
class SleepsThroughPublishes(MemoryBroker):
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        await_others(lambda: self._shelf.waiters)
        waiters, self._shelf.waiters = self._shelf.waiters, set()
        super().publish(publications, timeout)
        self._shelf.waiters = waiters


@caught_by("test_wakes_when_a_dead_letter_is_revived")
class SleepsThroughRevivals(MemoryBroker):
    def revive(self, publications: Mapping[str, Publication]) -> int:
        await_others(lambda: self._shelf.waiters)
        waiters, self._shelf.waiters = self._shelf.waiters, set()
        count = super().revive(publications)
        self._shelf.waiters = waiters
        return count


@caught_by("test_a_publish_between_claim_and_wait_is_not_slept_through")
class WaitsOnlyForWhatIsNew(MemoryBroker):
    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        super().wait(["no such queue"], timeout, interrupt)


@caught_by("test_returns_when_interrupted_before")
class CannotBeInterrupted(MemoryBroker):
    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        never = Waker()
        try:
            super().wait(queues, timeout, never.fileno())
        finally:
            never.close()


@caught_by("test_an_idle_wait_rests")
class NeverRests(MemoryBroker):
    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        return None


@caught_by("test_wakes_when_a_scheduled_message_is_due")
class SleepsThroughDueTimes(MemoryBroker):
    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        honest, self._shelf.scheduled = self._shelf.scheduled, []
        try:
            super().wait(queues, timeout, interrupt)
        finally:
            self._shelf.scheduled = honest


@caught_by("test_wakes_when_a_consumer_gives_back")
class GivesBackQuietly(MemoryBroker):
    def unregister(self, consumer: str) -> None:
        await_others(lambda: self._shelf.waiters)
        waiters, self._shelf.waiters = self._shelf.waiters, set()
        super().unregister(consumer)
        self._shelf.waiters = waiters


# -- result stores


@caught_by("test_a_success_is_never_overwritten", other=states.FAILURE)
class OverwritesASuccess(MemoryStore):
    def store(self, records: Sequence[Record]) -> None:
        self.forget([record.id for record in records])
        super().store(records)


@caught_by("test_all_others_are", first=states.FAILURE, second=states.RETRY)
class ProtectsFailuresToo(MemoryStore):
    def store(self, records: Sequence[Record]) -> None:
        kept = self.fetch([record.id for record in records])
        super().store([each for each in records if each.id not in kept or not kept[each.id].ready])


@caught_by("test_of_two_in_a_batch_the_later", in_order=(states.STARTED, states.FAILURE), kept=1)
class TheFirstOfABatchWins(MemoryStore):
    def store(self, records: Sequence[Record]) -> None:
        super().store(list({record.id: record for record in reversed(records)}.values()))


@caught_by("test_of_two_in_a_batch_the_later", in_order=(states.SUCCESS, states.FAILURE), kept=0)
class LooksNotIntoTheBatch(MemoryStore):
    def store(self, records: Sequence[Record]) -> None:
        super().store(list({record.id: record for record in records}.values()))


@caught_by("test_every_field_survives")
class LosesTheParent(MemoryStore):
    def store(self, records: Sequence[Record]) -> None:
        super().store([changed(record, parent_id=None) for record in records])


@caught_by("test_results_are_kept_byte_by_byte", result=b'{"b":1,"a":2}')
class SortsKeys(MemoryStore):
    def store(self, records: Sequence[Record]) -> None:
        sort = msgspec.json.Encoder(order="sorted").encode
        super().store(
            [changed(record, result=sort(msgspec.json.decode(record.result))) for record in records]
        )


@caught_by("test_unknown_ids_are_left_out")
class InventsRecords(MemoryStore):
    def fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        return {task_id: Record(task_id, states.PENDING) for task_id in ids} | super().fetch(ids)


@caught_by("test_wakes_for_a_record_from_elsewhere", state=states.SUCCESS, timeout=10.0)
class LooksOnlyOnce(MemoryStore):
    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        if (record := super().wait(task_id, 0)) is None:
            time.sleep(min(timeout or 2.0, 2.0))
        return record


@caught_by("test_only_the_end_counts", state=states.STARTED)
class TakesTheBeginningForTheEnd(MemoryStore):
    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        deadline = time.monotonic() + (timeout or 2.0)
        while not (found := self.fetch([task_id])) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found.get(task_id)


@caught_by("test_the_timeout", timeout=0.2)
class HasNoPatience(MemoryStore):
    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        return super().wait(task_id, 0)


@caught_by("test_any_of_many_that_are_there")
class CountsRunningAsReady(MemoryStore):
    def wait_any(self, ids: Collection[str], timeout: float | None) -> dict[str, Record]:
        return self.fetch(list(ids))


@caught_by("test_wakes_for_any_of_many")
class WaitsForTheLast(MemoryStore):
    def wait_any(self, ids: Collection[str], timeout: float | None) -> dict[str, Record]:
        return super().wait_any(list(ids)[-1:], min(timeout or 0, 0.05))


@caught_by("test_none_of_many_in_time", timeout=0.2)
class HasNoPatienceForMany(MemoryStore):
    def wait_any(self, ids: Collection[str], timeout: float | None) -> dict[str, Record]:
        return super().wait_any(ids, 0)


@caught_by("test_forget")
class ForgetsNothing(MemoryStore):
    def forget(self, ids: Collection[str]) -> None:
        pass


@caught_by("test_old_records_go")
class Hoards(MemoryStore):
    def expire(self, limit: int) -> int:
        return 0


@caught_by("test_young_records_stay")
class ThrowsAwayTheYoung(MemoryStore):
    def expire(self, limit: int) -> int:
        self.clear()
        return 0


@caught_by("test_how_many_there_are")
class CountsEachWriting(MemoryStore):
    written = 0

    def store(self, records: Sequence[Record]) -> None:
        self.written += len(records)
        super().store(records)

    def count(self) -> int:
        return self.written
