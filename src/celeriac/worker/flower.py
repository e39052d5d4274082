"""Flower's names for what a worker counts, so that dashboards made for Flower go on: `worker_flower_metrics`.

Made by `metrics` of the same counts as our own names. Flower counts events; here an event is a run that ended.
"""

from collections import Counter
from collections.abc import Mapping

from celeriac import states
from celeriac.worker.tally import Counts, Key

#: What Celery's workers tell of a run that ended so. Of one that ended otherwise they tell nothing.
EVENTS = {
    states.SUCCESS: "task-succeeded",
    states.FAILURE: "task-failed",
    states.RETRY: "task-retried",
    states.REJECTED: "task-rejected",
    states.REVOKED: "task-revoked",
}


def events(worker: str, runs: Mapping[Key, Counts]) -> dict[tuple[str, ...], float]:
    """Return how often what has happened, by task, type and worker."""
    found: Counter[tuple[str, ...]] = Counter()
    for (task, _, state), counts in runs.items():
        found[task, "task-received", worker] += counts.count
        found[task, "task-started", worker] += sum(counts.runs)
        if state in EVENTS:
            found[task, EVENTS[state], worker] += counts.count
    return {key: count for key, count in found.items() if count}


def runtimes(worker: str, runs: Mapping[Key, Counts]) -> dict[tuple[str, ...], tuple[list[int], float]]:
    """Return how long what took that succeeded, by task and worker: counts by bucket, and seconds in all."""
    found: dict[tuple[str, ...], Counts] = {}
    for (task, _, state), counts in runs.items():
        if state == states.SUCCESS:
            known = found.get((task, worker))
            found[task, worker] = counts if known is None else known.plus(counts)
    return {key: (counts.runs, counts.ran) for key, counts in found.items()}
