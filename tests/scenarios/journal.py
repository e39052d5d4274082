"""What the scenarios' tasks wrote down, and the waiting for it. Used by `harness`, which everybody imports."""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

#: Seconds for what has to come. It costs nothing where it comes.
PATIENCE = 200.0
_Found = TypeVar("_Found")


def until(
    condition: Callable[[], _Found], what: str | Callable[[], str], seconds: float = PATIENCE
) -> _Found:
    """Return what `condition` returns as soon as that is true; fail after `seconds`, saying what did not happen."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        last = time.monotonic() > deadline  # before the look: this process may have been halted
        found = condition()
        if found:
            return found
        if last:
            raise AssertionError(f"Within {seconds:g} s not: {what if isinstance(what, str) else what()}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.02)


def wait(seconds: float) -> None:
    """Wait until a time is over: for faults that last so long, where there is no event to wait for."""
    over = time.monotonic() + seconds
    until(lambda: time.monotonic() >= over, f"{seconds:g} s are over", seconds + PATIENCE)


# -- the journal


class Run(Struct):
    """One run of a task as its journal tells it. Times are monotonic; `end` is None if it did not come to its end."""

    key: str
    pid: int
    losses: int
    retries: int
    start: float
    end: float | None = None


class Kill(Struct):
    """A SIGKILL: it fell between these two moments, on the process `pid` (0: on all that ran tasks).

    `cause` is what the account calls it.
    """

    before: float
    after: float
    cause: str = "killed"
    pid: int = 0

    def hit(self, run: Run, slack: float) -> bool:
        """Whether it may have hit `run`; `slack` is the time between its last line and its being noted as done."""
        if self.pid and run.pid != self.pid:
            return False
        return run.start <= self.after and (run.end is None or run.end + slack >= self.before)


_killed: set[int] = set()


def kill(pid: int, *, children_too: bool = False) -> Kill:
    """SIGKILL to one process; `children_too` says that what its children run is hit as well."""
    _killed.add(pid)
    before = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_running(pid), "a killed process ends")
    return Kill(before, time.monotonic(), pid=0 if children_too else pid)


def is_running(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def was_killed(pid: int) -> bool:
    """Whether `kill` has killed this process."""
    return pid in _killed


class Journal:
    """What the tasks wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._runs: list[Run] = []
        self._going: dict[tuple[str, ...], Run] = {}
        self._read = 0
        #: What became of each task of which account was given, how long recoveries took, as the test says or from
        #: kills to next runs: for the battery's table.
        self.fates: dict[str, str] = {}
        self.recoveries: list[float] = []
        self.reruns: list[float] = []

    def runs(self) -> list[Run]:
        """Return all runs, in the order of their start."""
        with self.path.open() as file:
            file.seek(self._read)
            text = file.read()
        text = text[: text.rfind("\n") + 1]  # the last line may be on its way
        self._read += len(text)  # it is ASCII
        for line in text.splitlines():
            moment, event, *words = line.split()
            if event == "start":
                key, pid, losses, retries = words
                run = self._going[tuple(words)] = Run(key, int(pid), int(losses), int(retries), float(moment))
                self._runs.append(run)
            else:
                self._going.pop(tuple(words)).end = float(moment)
        return self._runs

    def of(self, key: Any) -> list[Run]:
        """Return the runs of one task."""
        return [run for run in self.runs() if run.key == str(key)]

    def by_key(self) -> dict[str, list[Run]]:
        """Return the runs of each task."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs():
            found[run.key].append(run)
        return found

    def done(self) -> set[str]:
        """Return the keys of the tasks that came to their end."""
        return {run.key for run in self.runs() if run.end is not None}

    def running(self) -> list[Run]:
        """Return the runs without an end."""
        return [run for run in self.runs() if run.end is None]

    def wait_started(self, key: Any, times: int = 1, seconds: float = PATIENCE) -> Run:
        """Return the last of `times` runs of a task as soon as it has begun."""

        def begun() -> Run | None:
            runs = self.of(key)
            return runs[times - 1] if len(runs) >= times else None

        return until(begun, f"run {times} of {key} begins", seconds)

    def wait_done(self, keys: Iterable[Any], seconds: float = PATIENCE) -> None:
        """Wait until every task has come to its end."""
        wanted = {str(key) for key in keys}
        until(
            lambda: wanted <= self.done(),
            lambda: (
                f"{len(wanted - self.done())} of {len(wanted)} tasks end: {sorted(wanted - self.done())[:10]}"
            ),
            seconds,
        )

    def wait_count(self, count: int, seconds: float = PATIENCE) -> None:
        """Wait until `count` tasks have come to their end."""
        until(
            lambda: len(self.done()) >= count, lambda: f"{count} tasks end; {len(self.done())} have", seconds
        )
