"""What is measured: the rows, who takes part in each with how many tasks, and the goals that the figures are held to.

The numbers of tasks give each measurement one to three seconds on two ordinary cores; slow contenders get fewer
tasks, since rates are compared, not times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from . import measure
from .measure import Entry, Metrics
from .stage import Stage


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that one of our contenders is to reach."""

    metric: str
    title: str
    unit: str
    target: float
    better: Literal["more", "less"] = "more"
    ours: str = "celeriac-redis"
    over_celery: float | None = None
    over_best: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of measurement, taken for each of its entries."""

    name: str
    title: str
    procedure: Callable[[Stage, Entry], Metrics] | None
    entries: tuple[Entry, ...]
    goals: tuple[Goal, ...]
    results: bool = False
    django: bool = False
    rounds: int = 99
    remark: str = ""
    panels: tuple[tuple[str, str], ...] = ()

    def charted(self) -> tuple[tuple[str, str], ...]:
        """The metrics to draw, each with its title; the first goal's under the row's own if not told."""
        return self.panels or ((self.goals[0].metric, self.title.replace("`", "")),)


_DRAIN_UNIT = "tasks/s"

ROWS = (
    Row(
        "redis-delay",
        "Redis: `delay()` one by one, confirmed",
        measure.one_by_one,
        (
            Entry("celeriac-redis", 15_000),
            Entry("celery", 3_000),
            Entry("dramatiq", 6_000),
            Entry("taskiq", 4_000),
            Entry("huey-redis", 8_000),
            Entry("rq", 2_500),
            Entry("bare-redis", 20_000),
        ),
        (Goal("rate", "Redis: `delay()` one by one, confirmed", _DRAIN_UNIT, 10_000, over_celery=4.5),),
    ),
    Row(
        "redis-bulk",
        "Redis: many at once",
        measure.bulk,
        (Entry("celeriac-redis", 100_000), Entry("celery", 3_000), Entry("rq", 10_000)),
        (Goal("rate", "Redis: `send_many`", _DRAIN_UNIT, 80_000),),
    ),
    Row(
        "redis-drain",
        "Redis: drain, no results",
        measure.drain,
        (
            Entry("celeriac-redis", 200_000),
            Entry("celery", 2_000),
            Entry("celery-solo", 3_000),
            Entry("dramatiq", 8_000),
            Entry("taskiq", 6_000),
        ),
        (
            Goal(
                "rate",
                "Redis: drain, at least once, no results",
                _DRAIN_UNIT,
                80_000,
                over_celery=60,
                over_best=9,
            ),
        ),
    ),
    Row(
        "redis-drain-results",
        "Redis: drain, results on Redis",
        measure.drain_with_results,
        (
            Entry("celeriac-redis", 100_000),
            Entry("celery", 1_500),
            Entry("dramatiq", 4_000),
            Entry("taskiq", 3_000),
            Entry("huey-redis", 5_000),
        ),
        (Goal("rate", "Redis: drain, results stored on Redis", _DRAIN_UNIT, 40_000, over_celery=40),),
        results=True,
    ),
    Row(
        "redis-latency",
        "Redis: idle latency, enqueue to task body",
        measure.idle_latency,
        (
            Entry("celeriac-redis", 200),
            Entry("celery", 200),
            Entry("dramatiq", 200),
            Entry("taskiq", 200),
            Entry("huey-redis", 200),
        ),
        (
            Goal("p50", "Redis: idle latency p50", "ms", 0.5, "less"),
            Goal("p99", "Redis: idle latency p99", "ms", 1.0, "less"),
        ),
    ),
    Row(
        "redis-coroutines",
        "Redis: 10,000 coroutine tasks that wait for a second, one process",
        measure.coroutines,
        (Entry("celeriac-coroutines", 10_000),),
        (
            Goal(
                "seconds",
                "10,000 coroutine tasks that wait for a second: all done",
                "s",
                3,
                "less",
                ours="celeriac-coroutines",
            ),
        ),
        remark="From the first line of the first to the last line of the last, with a full queue and a cold worker. "
        "No peer is measured: what they can do here is set by how much they take at a time.",
    ),
    Row(
        "sqlite-delay",
        "SQLite: `delay()` one by one, its own transaction",
        measure.one_by_one,
        (
            Entry("celeriac-sqlite", 10_000),
            Entry("huey-sqlite", 8_000),
            Entry("tasks-db", 4_000),
            Entry("bare-sqlite", 20_000),
        ),
        (Goal("rate", "SQLite: `delay()` through Django", _DRAIN_UNIT, 6_000, ours="celeriac-sqlite"),),
    ),
    Row(
        "sqlite-drain",
        "SQLite: drain, no results",
        measure.drain,
        (Entry("celeriac-sqlite", 120_000), Entry("huey-sqlite", 8_000), Entry("tasks-db", 500)),
        (
            Goal(
                "rate",
                "SQLite: drain, at least once, no results",
                _DRAIN_UNIT,
                60_000,
                ours="celeriac-sqlite",
            ),
        ),
    ),
    Row(
        "sqlite-drain-results",
        "SQLite: drain, results in the database",
        measure.drain_with_results,
        (Entry("celeriac-sqlite", 60_000), Entry("huey-sqlite", 5_000), Entry("tasks-db", 500)),
        (
            Goal(
                "rate", "SQLite: drain, results in the database", _DRAIN_UNIT, 20_000, ours="celeriac-sqlite"
            ),
        ),
        results=True,
    ),
    Row(
        "sqlite-latency",
        "SQLite: idle latency, enqueue to task body",
        measure.idle_latency,
        (
            Entry("celeriac-sqlite", 30, 0.05, 0.2),
            Entry("huey-sqlite", 30, 0.05, 0.2),
            Entry("tasks-db", 10, 0.2, 1.2),
        ),
        (Goal("p50", "SQLite: idle latency p50", "ms", 10, "less", ours="celeriac-sqlite"),),
    ),
    Row(
        "start",
        "Start-up and memory of an idle worker, Django loaded",
        measure.start_and_memory,
        (
            Entry("celeriac-sqlite", 1),
            Entry("celeriac-django-redis", 1),
            Entry("celery", 1),
            Entry("dramatiq", 1),
            Entry("taskiq", 1),
            Entry("huey-redis", 1),
            Entry("huey-sqlite", 1),
        ),
        (
            Goal("start", "worker start to first task, SQLite", "s", 0.4, "less", ours="celeriac-sqlite"),
            Goal(
                "start", "worker start to first task, Redis", "s", 0.4, "less", ours="celeriac-django-redis"
            ),
            Goal("memory", "idle worker, 2 processes, SQLite", "MB", 55, "less", ours="celeriac-sqlite"),
            Goal("memory", "idle worker, 2 processes, Redis", "MB", 55, "less", ours="celeriac-django-redis"),
        ),
        django=True,
        panels=(("start", "Worker start to first task"), ("memory", "Memory of an idle worker")),
        remark="Everybody loads the same minimal Django project; the time for that alone is taken off. Memory is the "
        "proportional set size of all the worker's processes.",
    ),
    Row(
        "idle",
        "CPU of an idle worker",
        None,
        (
            Entry("celeriac-sqlite"),
            Entry("celeriac-redis"),
            Entry("celeriac-django-redis"),
            Entry("celery"),
            Entry("dramatiq"),
            Entry("taskiq"),
            Entry("huey-redis"),
            Entry("huey-sqlite"),
            Entry("tasks-db"),
        ),
        (
            Goal("cpu", "idle CPU, 2 processes, SQLite", "% of a core", 0.5, "less", ours="celeriac-sqlite"),
            Goal("cpu", "idle CPU, 2 processes, Redis", "% of a core", 0.5, "less", ours="celeriac-redis"),
        ),
        rounds=2,
        remark="All workers at once over ten seconds; the server's own CPU is not counted.",
    ),
    Row(
        "scheduled",
        "Scheduled ahead, 1,500 due a second",
        measure.scheduled,
        (
            Entry("celeriac-redis", 100_000, near=15_000),
            Entry("celeriac-sqlite", 100_000, near=15_000),
            Entry("celery", 10_000, near=7_500, linear=True),
            Entry("dramatiq", 12_000, near=6_000),
            Entry("huey-redis", 20_000, near=7_500),
        ),
        (
            Goal("growth", "100,000 scheduled: the worker's growth, Redis", "MB", 5, "less"),
            Goal("late", "100,000 scheduled: lateness p99, Redis", "s", 0.3, "less"),
            Goal(
                "growth",
                "100,000 scheduled: the worker's growth, SQLite",
                "MB",
                5,
                "less",
                ours="celeriac-sqlite",
            ),
            Goal("late", "100,000 scheduled: lateness p99, SQLite", "s", 0.3, "less", ours="celeriac-sqlite"),
        ),
        rounds=1,
        panels=(("growth", "100,000 scheduled: the worker's growth"), ("late", "Scheduled: lateness p99")),
        remark="Of the tasks some come due while it is measured, ten seconds' worth at full length; the others in an "
        "hour. Slower peers get fewer. Celery's growth, which is in proportion, is given for 100,000; its lateness, "
        "which grows with the number too, is not.",
    ),
)

BY_NAME = {row.name: row for row in ROWS}
