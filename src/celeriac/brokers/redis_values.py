"""The broker's values as the scripts in `redis_lua` take them, and what they return as values again.

Called by `celeriac.brokers.redis`; talks to nobody.
"""

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from celeriac.broker import DeadLetter, Delivery, Fired, Firing, Publication, Settlement, run_office
from celeriac.brokers.redis_layout import Layout
from celeriac.redis_client.scripts import Argument
from celeriac.redis_client.store import KeepsOnRedis, record_arguments

#: A batch is published whole up to this size, else in portions.
PORTION_BYTES = 16 * 1024 * 1024
PORTION = 100_000
_LIST = 100_000  # a tag's last five digits are its list

#: Where messages go: queue, priority step, due time (None: ready now).
Target = tuple[str, int, float | None]


def portions(publications: Sequence[Publication]) -> Iterable[Sequence[Publication]]:
    """Cut a very large batch into portions; any other stays whole."""
    if len(publications) == 1:
        return (publications,)
    if len(publications) <= PORTION and sum([len(p.payload) for p in publications]) <= PORTION_BYTES:
        return (publications,)
    cut: list[list[Publication]] = [[]]
    size = 0
    for publication in publications:
        size += len(publication.payload)
        if cut[-1] and (size > PORTION_BYTES or len(cut[-1]) == PORTION):
            cut.append([])
            size = len(publication.payload)
        cut[-1].append(publication)
    return cut


def by_target(publications: Sequence[Publication], layout: Layout) -> dict[Target, list[bytes]]:
    """Return the payloads by where they go; those of one list keep their order."""
    now = time.time()
    groups: dict[Target, list[bytes]] = {}
    steps = layout.step_of
    for publication in publications:
        due = publication.due
        if due is not None and (due <= now or layout.mixed):
            due = None
        target = (publication.queue, steps[max(min(publication.priority, 9), 0)], due)
        group = groups.get(target)
        if group is None:
            groups[target] = [publication.payload]
        else:
            group.append(publication.payload)
    return groups


def target_arguments(target: Target) -> tuple[str, str, Argument]:
    """Return where to put messages, for publish.lua and `send`."""
    queue, step, due = target
    return queue, f"{step:02}", "" if due is None else due


def publication_arguments(publications: Sequence[Publication], layout: Layout) -> list[Argument]:
    """Return what `send` in common.lua is to read of `publications`, one after the other."""
    return [
        argument
        for target, payloads in by_target(publications, layout).items()
        for payload in payloads
        for argument in (*target_arguments(target), payload)
    ]


def revival_arguments(publications: Mapping[str, Publication], layout: Layout) -> list[Argument]:
    """Return what revive.lua is to read of `publications`."""
    args: list[Argument] = []
    for key, publication in publications.items():
        args += [key, *publication_arguments([publication], layout)]
    return args


def once_arguments(
    publications: Mapping[str, Publication], seconds: float, done: Collection[str], layout: Layout
) -> list[Argument]:
    """Return what once.lua is to read."""
    return [seconds, len(done), *done, *revival_arguments(publications, layout)]


def settlement_arguments(
    settlements: Sequence[Settlement], layout: Layout, keeper: KeepsOnRedis | None
) -> list[Argument]:
    """Return what settle.lua is to read of `settlements`; their records only if there is a `keeper`."""
    args: list[Argument] = []
    for settlement in settlements:
        code = int(settlement.action)
        more: list[Argument] = []
        if code > 1:
            more.append((settlement.due or 0.0) if code == 2 else settlement.reason)
        if settlement.payload is not None:
            code += 4
            more.append(settlement.payload)
        if keeper and settlement.record:
            code += 8
            more += record_arguments(settlement.record)
        if settlement.publish:
            code += 16
            more.append(len(settlement.publish))
            more += publication_arguments(settlement.publish, layout)
        if settlement.frees:
            code += 32
            more += map(bytes_of, settlement.frees)
        args += (settlement.tag, code, *more)
    return args


def finish_arguments(settlements: Sequence[Settlement]) -> list[Argument]:
    """Return what finish.lua is to read of settlements that are only done."""
    successes: list[Argument] = []
    others: list[Argument] = []
    for settlement in settlements:
        if settlement.record is None:
            others += (settlement.tag, "", "")
        else:
            key, json, success = record_arguments(settlement.record)
            (successes if success else others).extend((settlement.tag, key, json))
    return [len(successes) // 3, *successes, *others]


def firing_arguments(firings: Sequence[Firing], layout: Layout) -> list[Argument]:
    """Return what fire.lua is to read of `firings`."""
    args: list[Argument] = []
    for firing in firings:
        expected = "" if firing.expected is None else repr(firing.expected)
        hold: tuple[Argument, ...] = ("",)
        if firing.hold and firing.publications:
            office = bytes_of(run_office(firing.entry))
            hold = str(math.ceil(firing.hold * 1000)), office, bytes_of(firing.publications[0].id)
        args += [bytes_of(firing.entry), repr(firing.slot), expected, *hold, len(firing.publications)]
        args += publication_arguments(firing.publications, layout)
    return args


def fired(text: bytes) -> Fired:
    """Return what fire.lua wrote of an entry."""
    slot, count, at = text.split()
    return Fired(float(slot), int(count), float(at))


def bytes_of(id: str) -> bytes:
    """Return a task's id as it is written; whoever sent the task has chosen it."""
    return id.encode("utf-8", "surrogatepass")


def claimed(reply: list[Any], queues: Sequence[str]) -> list[Delivery]:
    """Return the deliveries that claim.lua wrote for `queues`."""
    runs, payloads, cuts, doubts = reply
    sure = not doubts
    deliveries: list[Delivery] = []
    for run in range(0, len(runs), 4):
        place, digits, before, count = runs[run : run + 4]
        queue = queues[int(place)]
        tag = (before + 1) * _LIST + int(digits)
        some = payloads if len(runs) == 4 else payloads[len(deliveries) : len(deliveries) + count]
        tags = range(tag, tag + count * _LIST, _LIST)
        deliveries += [
            Delivery(number, queue, payload, len(payload), sure)
            for number, payload in zip(tags, some, strict=True)
        ]
    for cut in range(0, len(cuts), 2):
        deliveries[cuts[cut]].size = cuts[cut + 1]
    return deliveries


def held(flat: list[Any]) -> list[Delivery]:
    """Return what `held` in common.lua wrote, in the order in which it was handed out."""
    sure = not flat[:1] or not flat[0]
    deliveries = [
        Delivery(int(flat[i]), flat[i + 3].decode(), flat[i + 2], flat[i + 1], sure)
        for i in range(1, len(flat), 4)
    ]
    return sorted(deliveries, key=lambda delivery: delivery.tag)


def letter(key: bytes, text: bytes) -> DeadLetter:
    """Return the dead letter that `bury` in common.lua wrote."""
    queue, reason, died, rest = text.split(b" ", 3)
    end = int(queue) + int(reason)
    return DeadLetter(
        key.decode(),
        rest[: int(queue)].decode(errors="replace"),
        rest[int(queue) : end].decode(errors="replace"),
        float(died),
        rest[end:],
    )


def info(text: bytes) -> dict[str, str]:
    """Return what the command INFO says."""
    lines = text.decode(errors="replace").splitlines()
    return {name: value for name, separator, value in (line.partition(":") for line in lines) if separator}
