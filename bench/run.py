"""The order of a run: row by row, in rounds, the contenders of a round one after the other, every second round turned.

So a figure of ours and the peer's figure that it is compared with were taken seconds apart. A contender that fails
is left out of its row, with its error kept for the report; the run goes on.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import measure
from .measure import Entry, Metrics
from .plan import Row
from .procs import Failed
from .redis_server import RedisServer
from .roster import CONTENDERS
from .stage import Stage

IDLE_SECONDS = 10.0


@dataclass(slots=True)
class Series:
    """A contender's figures in one row: by metric, one per round."""

    contender: str
    count: int
    values: dict[str, list[float]] = field(default_factory=dict)
    error: str | None = None

    def add(self, metrics: Metrics) -> None:
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)

    def median(self, metric: str) -> float | None:
        taken = self.values.get(metric)
        return statistics.median(taken) if taken else None


@dataclass(frozen=True, slots=True)
class Options:
    """How much of the plan is run."""

    rounds: int = 3
    quick: bool = False
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement; what the progress display shows."""

    row: Row
    round: int
    contender: str


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told of the run's progress: before each measurement, and of each outcome."""

    before: Callable[[Step], None]
    after: Callable[[Step, str], None]


class Run:
    """Takes all measurements of some rows; ``results`` fills as it goes."""

    def __init__(
        self, rows: Sequence[Row], options: Options, folder: Path, redis: RedisServer | None
    ) -> None:
        self.rows = [_trimmed(row, options) for row in rows]
        self.rounds = options.rounds
        self.folder = folder
        self.redis = redis
        self.results: dict[str, dict[str, Series]] = {}

    def steps(self) -> int:
        """How many times the watcher will be told of an outcome."""
        return sum(len(row.entries) * min(self.rounds, row.rounds) for row in self.rows)

    def take(self, watcher: Watcher) -> None:
        """Measure everything."""
        for row in self.rows:
            self.results[row.name] = {
                entry.contender: Series(entry.contender, entry.count) for entry in row.entries
            }
            for number in range(1, min(self.rounds, row.rounds) + 1):
                if row.procedure is None:
                    self._all_at_once(row, number, watcher)
                else:
                    for entry in row.entries if number % 2 else row.entries[::-1]:
                        self._one(row, number, entry, watcher)

    def _one(self, row: Row, number: int, entry: Entry, watcher: Watcher) -> None:
        step = Step(row, number, entry.contender)
        series = self.results[row.name][entry.contender]
        watcher.before(step)
        if series.error:
            watcher.after(step, "left out")
            return
        assert row.procedure is not None
        started = time.monotonic()
        try:
            self._flush()
            with self._stage(row, number, entry) as stage:
                metrics = row.procedure(stage, entry)
        except Exception as failure:
            series.error = (
                str(failure) if isinstance(failure, Failed) else f"{type(failure).__name__}: {failure}"
            )
            watcher.after(step, f"failed: {series.error}")
        else:
            series.add(metrics)
            watcher.after(step, f"{shown(metrics)}  ({time.monotonic() - started:.0f} s)")

    def _all_at_once(self, row: Row, number: int, watcher: Watcher) -> None:
        watcher.before(Step(row, number, "all at once"))
        self._flush()
        with ExitStack() as stack:
            stages: list[Stage] = []
            found: dict[str, Metrics | Failed] = {}
            for index, entry in enumerate(row.entries):
                try:
                    stages.append(stack.enter_context(self._stage(row, number, entry, index)))
                except Failed as failure:
                    found[entry.contender] = failure
            found |= measure.idle_cpu(stages, seconds=IDLE_SECONDS)
        for name, outcome in found.items():
            series = self.results[row.name][name]
            if isinstance(outcome, Failed):
                series.error = str(outcome)
                watcher.after(Step(row, number, name), f"failed: {outcome}")
            else:
                series.add(outcome)
                watcher.after(Step(row, number, name), shown(outcome))

    def _flush(self) -> None:
        if self.redis is not None:
            self.redis.flush()

    @contextmanager
    def _stage(self, row: Row, number: int, entry: Entry, database: int = 0) -> Iterator[Stage]:
        contender = CONTENDERS[entry.contender]
        if missing := contender.missing():
            raise Failed(f"not installed: {', '.join(missing)}")
        if contender.server == "redis" and self.redis is None:
            raise Failed("there is no redis-server on this machine")
        folder = self.folder / f"{row.name}-{number}-{contender.name}"
        url = self.redis.url(database) if self.redis else ""
        try:
            yield Stage(contender, folder, url, results=row.results, django=row.django)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def shown(metrics: Metrics) -> str:
    """Metrics on one line."""
    return ", ".join(f"{name} {value:,.2f}" for name, value in metrics.items())


def _trimmed(row: Row, options: Options) -> Row:
    """The row as the options want it: with fewer tasks when quick, without peers when told so."""
    entries = []
    for entry in row.entries:
        if not options.peers and CONTENDERS[entry.contender].kind != "ours":
            continue
        if options.quick and entry.count > 10:
            entry = replace(entry, count=max(10, entry.count // 5), near=entry.near // 5)
        entries.append(entry)
    return replace(row, entries=tuple(entries))
