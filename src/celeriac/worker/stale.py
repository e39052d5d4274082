"""Tells once when the files of the tasks are not those any more that the worker has loaded (E122).

Looked at by the supervisor, every minute.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from celeriac.task import Task

logger = logging.getLogger("celeriac.worker")

_EVERY = 60.0  # seconds


class StaleCode:
    """Knows when the files of the modules that define `tasks` were last written."""

    def __init__(self, tasks: Iterable[Task], clock: Callable[[], float] = time.monotonic) -> None:
        modules = {type(task).__module__ for task in tasks} | {task.__module__ for task in tasks}
        files = [getattr(sys.modules.get(name), "__file__", None) for name in modules]
        self._written = {file: _written(file) for file in files if file and not _is_ours(file)}
        self._clock = clock
        self._started = clock()
        self._next = self._started + _EVERY

    def look(self) -> None:
        """Tell of files that have changed, if it is time to look and none was told yet."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _EVERY
        changed = sorted(file for file, written in self._written.items() if _written(file) != written)
        if not changed:
            return
        self._next = float("inf")
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        logger.warning(
            "%s%s changed after this worker had started, %.0f min ago; it still runs the code of then. Restart it; "
            "while you develop, start it with --reload. (celeriac help E122)",
            _shown(changed[0]), more, (now - self._started) / 60,
        )  # fmt: skip


def _written(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        return 0  # not there any more: changed, if it was


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(Path(__file__).parents[1])


def _shown(file: str) -> Path:
    path = Path(file)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
