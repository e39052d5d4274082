"""How many messages a child asks for: about 50 ms of work for its threads, and whatever its event loop has slots for.

Asked by the fetcher before each claim. What a message is shows only when it has come: coroutine tasks are asked for in
growing numbers as long as nothing else comes, so that plain tasks are not taken from other children.
"""

import time
from collections.abc import Iterable

from celeriac.run import Run
from celeriac.worker.pool import Pool

#: Messages to hold at most.
MOST = 1000
#: A task that runs longer makes its neighbours go back, in seconds.
LONG = 0.1
_AT_HAND = 0.05  # seconds of work to hold


class Appetite:
    """Counts for one pool. `prefetch` is the number of messages for each thread, None to go by how long tasks take."""

    def __init__(self, pool: Pool, prefetch: int | None) -> None:
        self._pool = pool
        self._prefetch = prefetch
        self._average = 0.0
        self._counted = 0
        self._busy_before = 0.0
        self._coroutines = 0

    def wanted(self) -> int:
        """Return how many messages to ask for now."""
        pool = self._pool
        if pool.coroutines_wait:
            return 0
        return max(self._for_threads(), min(self._coroutines, pool.free_slots))

    def _for_threads(self) -> int:
        pool = self._pool
        free = sum(1 for since in pool.since if not since)
        waiting = pool.inbox.qsize()
        if self.running_long() and not free:
            return 0
        if self._prefetch:
            target = self._prefetch * pool.threads
        elif not self._average:
            target = pool.threads
        else:
            target = min(MOST, max(1, int(_AT_HAND / self._average)) * pool.threads)
        if waiting > target // 2:
            return 0
        if target == pool.threads:
            return free - waiting
        return target - waiting

    def running_long(self) -> bool:
        """Return whether a thread has been at one task for so long that what waits behind it had better go back."""
        oldest = min((since for since in self._pool.since if since), default=0.0)
        return bool(oldest) and time.monotonic() - oldest > LONG

    def had(self, wanted: int, runs: Iterable[Run | None]) -> None:
        """Learn from what was claimed when `wanted` messages were asked for."""
        claimed = list(runs)
        if not claimed or any(run is None or run.task is None or not run.task.is_async for run in claimed):
            self._coroutines = 0
        elif len(claimed) >= wanted:
            self._coroutines = min(MOST, 2 * len(claimed))

    def measure(self) -> None:
        """Learn how long plain tasks take, from those that have ended since."""
        pool = self._pool
        count, busy = pool.count, pool.busy
        if count > self._counted:
            latest = max((busy - self._busy_before) / (count - self._counted), 1e-6)
            self._average = latest if not self._average else 0.7 * self._average + 0.3 * latest
            self._counted, self._busy_before = count, busy
