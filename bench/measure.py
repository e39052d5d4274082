"""The procedures: how each kind of figure is taken. Each gets a stage, or several, and returns metrics by name.

Every drain proves that each task was executed exactly once with its own argument (count and sum), that the
broker is empty afterwards and, where results are asked for, that each is stored; otherwise there is no figure.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from .procs import Failed, cpu_seconds, memory, wait_until
from .roster import environment
from .stage import ROOT, Client, Stage, Workers
from .tally import Tally

Metrics = dict[str, float]
SCHEDULED = 100_000
"""What the growth with scheduled tasks is given for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender in a row, and how much it is given to do.

    ``low`` and ``high`` bound the seconds between two single tasks, ``near`` is how many scheduled ones come due,
    ``linear`` says that the growth with fewer scheduled tasks is to be scaled up.
    """

    contender: str
    count: int = 0
    low: float = 0.008
    high: float = 0.02
    near: int = 0
    linear: bool = False


def one_by_one(stage: Stage, entry: Entry) -> Metrics:
    """Enqueue rate, each call confirmed."""
    with stage.producer() as producer:
        return {"rate": producer.ask("one_by_one", count=entry.count, seconds=120)}


def bulk(stage: Stage, entry: Entry) -> Metrics:
    """Enqueue rate of one batch."""
    with stage.producer() as producer:
        return {"rate": producer.ask("bulk", count=entry.count, seconds=120)}


def drain(stage: Stage, entry: Entry) -> Metrics:
    """Rate at which a full queue is worked off, from the first task body to the last."""
    return _rate(_drain(stage, entry, results=False))


def drain_with_results(stage: Stage, entry: Entry) -> Metrics:
    """The same with every result stored."""
    return _rate(_drain(stage, entry, results=True))


def coroutines(stage: Stage, entry: Entry) -> Metrics:
    """Seconds from the first coroutine's first line to the last one's last."""
    return {"seconds": _drain(stage, entry, results=False).seconds}


def _rate(done: Tally) -> Metrics:
    return {"rate": done.count / done.seconds, "processes": done.processes}


def _drain(stage: Stage, entry: Entry, *, results: bool) -> Tally:
    count = entry.count
    with stage.producer() as producer:
        producer.ask("fill", count=count, seconds=180)
        if (waiting := producer.ask("waiting")) != count:
            raise Failed(f"{count} tasks were sent, {waiting} wait")
        with stage.workers() as workers:
            done = stage.executed(workers, count)
            wait_until(lambda: producer.ask("waiting") == 0, "an empty queue", seconds=20, every=0.2)
            if results:
                wait_until(lambda: producer.ask("stored") == count, "all results", seconds=20, every=0.2)
            done = stage.tally()
    if done.count != count or done.total != count * (count - 1) // 2:
        raise Failed(
            f"{count} tasks were sent, {done.count} executions counted (sum of arguments {done.total})"
        )
    return done


def idle_latency(stage: Stage, entry: Entry) -> Metrics:
    """Milliseconds from just before the call to the task's body, the worker having nothing else to do."""
    with stage.producer() as producer, stage.workers() as workers:
        _warm(stage, producer, workers)
        time.sleep(0.5)
        budget = entry.count * entry.high * 3 + 20
        gap = {"low": entry.low, "high": entry.high}
        producer.ask("idle_latency", samples=entry.count, **gap, budget=budget, seconds=budget + 10)
        samples = [sample / 1e6 for sample in stage.tally(samples=True).samples]
    return {"p50": statistics.median(samples), "p99": _quantile(samples, 0.99)}


def start_and_memory(stage: Stage, entry: Entry) -> Metrics:
    """Seconds from the command to the first task's body, over Django's own set-up; then the idle memory."""
    base = _django_setup()
    with stage.producer() as producer:
        producer.ask("fill", count=entry.count)
    with stage.workers() as workers:
        done = stage.executed(workers, entry.count)
        time.sleep(2)
        workers.check()
        megabytes = memory(workers.pids())
    return {"start": (done.first - workers.started) / 1e9 - base, "memory": megabytes}


def idle_cpu(stages: Sequence[Stage], *, seconds: float) -> dict[str, Metrics | Failed]:
    """Per cent of one core that idle workers use: all contenders' at once, over one stretch of time."""
    found: dict[str, Metrics | Failed] = {}
    with ExitStack() as stack:
        idle: dict[str, Workers] = {}
        for stage in stages:
            name = stage.contender.name
            try:
                producer = stack.enter_context(stage.producer())
                workers = stack.enter_context(stage.workers())
                _warm(stage, producer, workers)
                producer.process.stop()
                idle[name] = workers
            except Failed as failure:
                found[name] = failure
        time.sleep(3)
        before = {name: cpu_seconds(workers.pids()) for name, workers in idle.items()}
        started = time.monotonic()
        time.sleep(seconds)
        for name, workers in idle.items():
            used = cpu_seconds(workers.pids()) - before[name]
            found[name] = {"cpu": 100 * used / (time.monotonic() - started)}
    return found


def scheduled(stage: Stage, entry: Entry) -> Metrics:
    """Tasks scheduled ahead: how the worker grows with them, and how late those that come due are run.

    ``entry.near`` of them come due at 1,500 a second, the others in an hour.
    """
    with stage.producer() as producer, stage.workers() as workers:
        _warm(stage, producer, workers)
        time.sleep(1.5)
        before = memory(workers.pids())
        begin = producer.ask(
            "schedule", near=entry.near, far=entry.count - entry.near, per_second=1500, seconds=180
        )
        time.sleep(max(0.0, begin - time.time() - 0.5))
        workers.check()
        grown = memory(workers.pids())
        done = stage.noted(workers, entry.near, seconds=begin - time.time() + entry.near / 1500 + 60)
        grown = max(grown, memory(workers.pids()))
    late = [sample / 1e9 for sample in done.samples]
    if min(late) < -0.02 and stage.contender.kind == "ours":
        raise Failed(f"a task ran {-min(late):.2f} s before its time")
    growth = (grown - before) * (SCHEDULED / entry.count if entry.linear else 1)
    return {"growth": growth, "late": _quantile(late, 0.99), "earliest": min(late)}


def _warm(stage: Stage, producer: Client, workers: Workers) -> None:
    """Have the worker up and every part of the way used once."""
    producer.ask("fill", count=40)
    stage.executed(workers, 40)


def _django_setup() -> float:
    """Seconds from starting a Python to the end of `import django; django.setup()`; the median of three."""
    argv = [sys.executable, "-c", "import django, time; django.setup(); print(time.monotonic_ns())"]
    taken = []
    for _ in range(3):
        started = time.monotonic_ns()
        done = subprocess.run(
            argv, env=environment(), cwd=ROOT, check=True, timeout=30, stdout=subprocess.PIPE
        )
        taken.append((int(done.stdout) - started) / 1e9)
    return statistics.median(taken)


def _quantile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank quantile."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
