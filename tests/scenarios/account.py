"""The exact account of a scenario: tasks sent = done once + repeated, each with its cause + dead letters.

Whatever is neither is a fault: lost, repeated without a cause, or run twice at a time. Taken from the journal by every
scenario that injects faults; `tests.faults.report` adds up the fates that it notes there.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from msgspec import Struct

from tests.scenarios.journal import Journal, Kill, Run

#: From a task's last line in the journal to its outcome being on record, on a busy machine, ...
SLACK = 0.05
#: ... and for how long its process may be halted between the two.
HALT = 10.0

#: Fates of a task; any other is "repeated: " and a cause.
ONCE, DEAD, LOST, NO_CAUSE, CONCURRENT = "once", "dead letter", "lost", "repeated: no cause", "concurrent"
REPEATED = "repeated: "
FAULTS = (LOST, NO_CAUSE, CONCURRENT)


class Account(Struct):
    """What became of each task, by its key; the runs that a kill has hit, and how many each kill has.

    `again` are the seconds from the kill to the next run of each.
    """

    fates: dict[str, str]
    hit: list[Run]
    victims: list[int]
    again: list[float]

    def of(self, *fates: str) -> list[str]:
        """Return the keys of the tasks that had one of these fates."""
        return sorted(key for key, fate in self.fates.items() if fate in fates)

    def __str__(self) -> str:
        counts = Counter(self.fates.values())
        return f"{len(self.fates)} sent = " + " + ".join(f"{n} {fate}" for fate, n in sorted(counts.items()))


def take_account(
    journal: Journal,
    keys: Iterable[object],
    kills: Sequence[Kill] = (),
    slack: float = SLACK,
    dead: Iterable[object] = (),
) -> Account:
    """Find out what became of every task; `dead` are the keys of those that are dead letters now.

    A run that ended up to `slack` seconds before a kill may have been hit by it; so may the last one of a process,
    for only its next task tells that what came of this one was on record. A cause is good for one more run.
    """
    by_key = journal.by_key()
    starts: dict[int, list[float]] = defaultdict(list)
    for run in journal.runs():
        starts[run.pid].append(run.start)

    def hit(run: Run, kill: Kill) -> bool:
        if kill.hit(run, slack):
            return True
        started = sorted(starts[run.pid])
        went_on = bisect_right(started, run.end or 0.0) < bisect_right(started, kill.before)
        return not went_on and kill.hit(run, HALT)

    aside = {str(key) for key in dead}
    found = Account({}, [], [0] * len(kills), [])
    for key in {str(key) for key in keys}:
        runs = by_key.get(key, [])
        if key in aside:
            found.fates[key] = DEAD
        elif not runs or runs[-1].end is None:
            found.fates[key] = LOST
        else:
            found.fates[key] = _judge(runs, kills, hit, found)
    return found


def _judge(runs: list[Run], kills: Sequence[Kill], hit: Callable[[Run, Kill], bool], found: Account) -> str:
    """Return the fate of a task that came to its end after these runs."""
    fate = ONCE
    for run, again in pairwise(runs):
        if again.retries > run.retries:
            continue  # it has asked for that
        if run.end is not None and again.start < run.end:
            return CONCURRENT
        causes = [n for n, kill in enumerate(kills) if hit(run, kill) and kill.before < again.start]
        if not causes:
            return NO_CAUSE
        found.victims[causes[0]] += 1
        found.hit.append(run)
        found.again.append(again.start - kills[causes[0]].before)
        fate = fate if fate != ONCE else REPEATED + kills[causes[0]].cause
    return fate


def account(
    journal: Journal,
    keys: Iterable[object],
    kills: Sequence[Kill] = (),
    slots: int = 2,
    slack: float = SLACK,
    dead: Iterable[object] = (),
) -> list[Run]:
    """Check that every task was done, and run once unless one of the `kills` hit it; return the runs that were hit.

    No kill may have hit more than `slots` of them, and no run may have begun while an earlier one of its task went on.
    `dead` are dead letters, which need not have come to their end.
    """
    found = take_account(journal, keys, kills, slack, dead)
    journal.fates |= found.fates
    journal.reruns += found.again
    lost = found.of(LOST)
    assert not lost, f"{len(lost)} of {len(found.fates)} tasks were not done: {lost[:10]}"
    for fate in (NO_CAUSE, CONCURRENT):
        for key in found.of(fate):
            raise AssertionError(f"{key} ran twice, {fate}: {journal.by_key()[key]}, kills {kills}")
    assert all(count <= slots for count in found.victims), f"More ran again than had run: {found.victims}"
    return found.hit
