"""Tells of tasks whose process is gone: their handlers, the signals, `link_error`.

All of that is the project's code, which the supervisor never runs: each time a process of its own does, forked for it,
and ended if it takes too long. It begins when the deliveries are settled, so what is told is told once at most. Nothing
is forked where nobody wants to know.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from celeriac import reporting
from celeriac.app import Celeriac
from celeriac.callbacks import Callbacks
from celeriac.context import Request, current
from celeriac.execute import Executor
from celeriac.run import Run
from celeriac.worker.child import be_process
from celeriac.worker.losses import Ended

logger = logging.getLogger("celeriac.worker")

#: Seconds that such a process has.
PATIENCE = 10.0


class Aftermath:
    """Forks the processes that tell, and looks after them. `flush` empties buffers, which a fork would copy."""

    def __init__(self, app: Celeriac, hostname: str, flush: Callable[[], None]) -> None:
        self.app = app
        self.hostname = hostname
        self._flush = flush
        #: The processes, and until when they may run.
        self._running: dict[int, float] = {}

    @property
    def processes(self) -> set[int]:
        """The processes that are at it."""
        return set(self._running)

    @property
    def busy(self) -> bool:
        """Whether something is still being told."""
        return bool(self._running)

    @property
    def next(self) -> float:
        """When to look again at the latest."""
        return min(self._running.values(), default=float("inf"))

    def begin(self, ended: Sequence[Ended]) -> None:
        """Tell of tasks that have ended."""
        wanted = [each for each in ended if _wanted(each.run)]
        if not wanted:
            return
        if self.app.framework is not None:
            self.app.framework.before_fork()
        self._flush()
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_process(wanted, supervisor)
        self._running[pid] = time.monotonic() + PATIENCE

    def look(self) -> None:
        """Collect the processes that are through, and end those that take too long."""
        for pid, until in list(self._running.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                del self._running[pid]
            elif time.monotonic() >= until:
                logger.error(
                    "Handlers of tasks that were ended took longer than %g s; they are ended too.", PATIENCE
                )
                os.kill(pid, signal.SIGKILL)
                self._running[pid] = time.monotonic() + PATIENCE

    def end(self) -> None:
        """End them all."""
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)

    def _be_process(self, ended: Sequence[Ended], supervisor: int) -> None:
        status = 1
        try:
            status = be_process(self.app, self.hostname, supervisor, lambda: self._tell_all(ended))
        except BaseException:
            logger.exception("Handlers of tasks that were ended could not be called.")
        finally:
            self._flush()
            os._exit(status)

    def _tell_all(self, ended: Sequence[Ended]) -> None:
        if self.app.framework is not None:
            self.app.framework.install_hooks(self.app.hooks)
        executor = Executor(self.app, self.hostname)
        for each in ended:
            try:
                self._tell(executor, each)
            except Exception:
                headers = each.run.message.headers
                logger.exception("%s[%s] was ended, and could not be told of.", headers.task, headers.id)

    def _tell(self, executor: Executor, ended: Ended) -> None:
        run = ended.run
        task: Any = run.task
        args, kwargs, embed = executor.unpack(run.message)
        request = Request(run.message, run.queue, self.hostname, args, kwargs, embed)
        token = current.set(request)
        try:
            for hook in executor.before:
                hook(request)
            if ended.signum is not None:
                reporting.revoked(task, request, signum=ended.signum)
                return
            if ended.retry is None:
                self.app.publish(
                    Callbacks(self.app, executor.tasks).after_failure(request, ended.error, None)
                )
            reporting.ended(task, request, ended.error, ended.retry)
        finally:
            for hook in executor.after:
                hook(request)
            current.reset(token)


def _wanted(run: Run) -> bool:
    """Return whether somebody wants to know; its body may be anything, and is not read here."""
    body = run.message.body
    linked = b'"errbacks":null' not in body and b'"errbacks": null' not in body
    return run.task is not None and (linked or reporting.wanted(run.task))
