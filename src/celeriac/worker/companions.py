"""Processes beside the children that do something else, such as beat: forked by the supervisor, replaced when they die.

What one does is a function that returns when the waker that it is given is poked. The project's code runs in it, so
that it is a process of its own.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from msgspec import Struct

from celeriac.app import Celeriac
from celeriac.waker import Waker
from celeriac.worker.child import fork_process

logger = logging.getLogger("celeriac.worker")

Work = Callable[[Waker], None]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between a death and the next start


class _Companion(Struct):
    work: Work
    waker: Waker
    pid: int = 0
    born: float = 0.0
    start_at: float = 0.0
    pause: float = 0.0


@contextmanager
def beside(works: Mapping[str, Work]) -> Iterator[None]:
    """Do `works` on threads of this process within the block, where there is no supervisor."""
    wakers = [Waker() for _ in works]
    threads = [
        threading.Thread(target=work, args=(waker,), name=f"celeriac-{name}")
        for (name, work), waker in zip(works.items(), wakers, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for waker in wakers:
            waker.poke()
        for thread in threads:
            thread.join()


class Companions:
    """Starts what `works` names and looks after it."""

    def __init__(self, app: Celeriac, hostname: str, works: Mapping[str, Work]) -> None:
        self.app = app
        self.hostname = hostname
        self._all = {name: _Companion(work, Waker()) for name, work in works.items()}
        self._stopping = False

    @property
    def processes(self) -> set[int]:
        """The processes that run."""
        return {each.pid for each in self._all.values() if each.pid}

    @property
    def next(self) -> float:
        """When to look again at the latest."""
        return min((each.start_at for each in self._all.values() if not each.pid), default=float("inf"))

    def look(self) -> None:
        """Start what does not run, ask after what has ended."""
        now = time.monotonic()
        for name, each in self._all.items():
            if each.pid:
                self._ask_after(name, each, now)
            elif now >= each.start_at and not self._stopping:
                self._start(name, each, now)

    def stop(self) -> None:
        """Tell all to end."""
        self._stopping = True
        for each in self._all.values():
            each.start_at = float("inf")
            each.waker.poke()

    def end(self, number: int) -> None:
        """Send a signal to all."""
        for pid in self.processes:
            os.kill(pid, number)

    def _ask_after(self, name: str, each: _Companion, now: float) -> None:
        ended, status = os.waitpid(each.pid, os.WNOHANG)
        if not ended:
            return
        each.pid = 0
        if self._stopping:
            return
        each.pause = _FIRST_PAUSE if now - each.born > _LONGEST_PAUSE else min(2 * each.pause, _LONGEST_PAUSE)
        each.pause = max(each.pause, _FIRST_PAUSE)
        each.start_at = now + each.pause
        logger.error("%s has ended (status %d); it is started again in %g s.", name, status, each.pause)

    def _start(self, name: str, each: _Companion, now: float) -> None:
        each.pid = fork_process(
            self.app, self.hostname, partial(each.work, each.waker), f"{name} could not go on."
        )
        each.born = now
        logger.info("%s runs in process %d", name, each.pid)
