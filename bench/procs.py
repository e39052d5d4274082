"""Processes that the bench starts: each in a session of its own, all of which end with the bench.

Also reads what a tree of processes uses: memory (PSS) and CPU time. A tree is a session, so workers that
re-parent or double-fork are still counted and still ended.
"""

import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_running: set["Process"] = set()
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """A measurement that could not be taken; says why, with the end of the process's log."""


class Process:
    """A started program and everything it starts."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path, pipes: bool = False
    ) -> None:
        self.log = log
        self.started = time.monotonic_ns()
        with log.open("ab") as sink:
            self.popen = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else sink,
                stderr=sink,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - only the main thread starts processes
            )
        _running.add(self)

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def tree(self) -> list[int]:
        """The process ids of the whole session."""
        return _session(self.popen.pid)

    def tail(self, lines: int = 12) -> str:
        """The end of what it wrote."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self) -> None:
        """End the session at once; may be called twice."""
        deadline = time.monotonic() + 10
        while (pids := self.tree()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.popen.poll()
            time.sleep(0.005)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(5)
        _running.discard(self)


def stop_all() -> None:
    """End whatever still runs."""
    for process in list(_running):
        process.stop()


atexit.register(stop_all)


def wait_until(reached: Callable[[], bool], what: str, *, seconds: float, every: float = 0.02) -> None:
    """Return once ``reached()`` is true, or fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def memory(pids: Iterable[int]) -> float:
    """The proportional set size of the processes together, in MB of 2**20 bytes."""
    kilobytes = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
                    break
    return kilobytes / 1024


def cpu_seconds(pids: Iterable[int]) -> float:
    """The CPU time used by the processes so far; by the scheduler's nanoseconds where it keeps them."""
    return sum(_cpu(pid) for pid in pids)


def _cpu(pid: int) -> float:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except (OSError, IndexError, ValueError):
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _session(leader: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - thousands of Path objects a second otherwise
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields and int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry))
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
