"""When a child has done its part: after so many tasks, or as soon as it holds so much memory.

Asked between tasks; a child that is worn out starts nothing more, ends what runs and exits, and the supervisor starts
another in its place. It claims no more than it may still run, so that it never runs one too many.
"""

import logging
import os
import resource
import sys
from pathlib import Path

from celeriac.config import Settings

logger = logging.getLogger("celeriac.worker")

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Recycling:
    """Counts what a child runs. `tasks` and `memory` (KiB, resident) are the limits, None for none."""

    def __init__(self, tasks: int | None, memory: int | None) -> None:
        self.tasks = tasks
        self.memory = memory
        self.ran = 0
        self.worn_out = False
        held = 0 if memory is None else resident()
        if memory is not None and held > memory:
            logger.warning(
                "worker_max_memory_per_child is %s KiB, and a process that has run nothing yet holds %s: each is "
                "replaced after one task. Set it higher.",
                f"{memory:,}", f"{held:,}",
            )  # fmt: skip

    def left(self, held: int) -> int:
        """Return how many tasks may be claimed by a child that holds `held`."""
        return sys.maxsize if self.tasks is None else self.tasks - self.ran - held

    def count(self, runs: int) -> None:
        """Note that so many more have run, and whether that was enough."""
        self.ran += runs
        if self.tasks is not None and self.ran >= self.tasks and not self.worn_out:
            self._retire(f"has run {self.ran:,} tasks")

    def weigh(self) -> None:
        """Look whether this process holds too much, after a task."""
        if self.memory is not None and not self.worn_out and (held := resident()) > self.memory:
            self._retire(f"holds {held:,} KiB, more than {self.memory:,}")

    def _retire(self, why: str) -> None:
        self.worn_out = True
        logger.info("Child process %d %s; another takes its place.", os.getpid(), why)


def of(conf: Settings) -> Recycling | None:
    """Return what the settings ask for, None if that is nothing."""
    tasks, memory = conf.worker_max_tasks_per_child, conf.worker_max_memory_per_child
    return None if tasks is None and memory is None else Recycling(tasks, memory)


def resident() -> int:
    """Return how much memory this process holds, in KiB."""
    try:
        return int(_STATM.read_text().split()[1]) * _PAGE // 1024
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most it ever held, in bytes on macOS
        return most // 1024 if sys.platform == "darwin" else most
