"""Does for tasks whose process is gone what that can't do any more: `link_error`, their handlers, the signals.

All of that is the project's code, which the supervisor never runs: each time a process of its own does, forked for it,
and ended if it takes too long. Nothing is forked where nobody wants to know.

What follows a failure (`followers`) is worked out before the delivery is settled, and published in that same step: so
it is not lost, whoever is killed meanwhile. Handlers and signals are told afterwards (`begin`), once at most.
"""

import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, Any

import msgspec
from msgspec import Struct

from celeriac import reporting
from celeriac.app import Celeriac
from celeriac.broker import Publication
from celeriac.callbacks import Callbacks
from celeriac.context import Request, current
from celeriac.execute import Executor
from celeriac.run import Run
from celeriac.worker.child import fork_process
from celeriac.worker.losses import Ended, NotYet
from celeriac.worker.recovery import state_dir

logger = logging.getLogger("celeriac.worker")

#: Seconds that such a process has.
PATIENCE = 10.0
#: Seconds for which what it has found out is kept for who asks again: a broker may be away meanwhile.
_KEPT = 600.0
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Publication, ...]).decode


class _Following(Struct):
    """What follows a task: what is to be published, as soon as its process has written it into `file`."""

    file: IO[bytes]
    until: float
    found: tuple[Publication, ...] | None = None


class Aftermath:
    """Forks the processes, and looks after them."""

    def __init__(self, app: Celeriac, hostname: str) -> None:
        self.app = app
        self.hostname = hostname
        #: The processes: until when they may run, and the key of what they work out.
        self._running: dict[int, tuple[float, tuple[str, str] | None]] = {}
        self._following: dict[tuple[str, str], _Following] = {}
        self._folder = state_dir(app.conf.worker_state_dir)

    @property
    def processes(self) -> set[int]:
        """The processes that are at it."""
        return set(self._running)

    @property
    def busy(self) -> bool:
        """Whether such a process runs."""
        return bool(self._running)

    @property
    def next(self) -> float:
        """When to look again at the latest."""
        return min((until for until, _ in self._running.values()), default=float("inf"))

    def followers(self, ended: Ended) -> tuple[Publication, ...]:
        """Return what is to be published with the settlement of a task that has failed.

        Raises NotYet while that is being worked out: to be asked again when a process has ended.
        """
        if not _has_errbacks(ended.run):
            return ()
        key = _key(ended)
        following = self._following.get(key)
        if following is None:
            # Beside the flight records: there we may write.
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed when it is read
            self._following[key] = _Following(file, time.monotonic() + _KEPT)
            self._fork(lambda: self._work_out(ended, file), key)
            raise NotYet
        if following.found is None:
            raise NotYet
        return following.found

    def begin(self, ended: Sequence[Ended]) -> None:
        """Tell of tasks that have ended, and are settled."""
        for each in ended:
            self._following.pop(_key(each), None)
        wanted = [each for each in ended if each.run.task is not None and reporting.wanted(each.run.task)]
        if wanted:
            self._fork(lambda: self._tell_all(wanted), None)

    def look(self) -> None:
        """Collect the processes that are through, and end those that take too long."""
        now = time.monotonic()
        for pid, (until, key) in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._running[pid]
                if key is not None:
                    self._read(key, status)
            elif now >= until:
                logger.error(
                    "Handlers of tasks that were ended took longer than %g s; they are ended too.", PATIENCE
                )
                os.kill(pid, signal.SIGKILL)
                self._running[pid] = now + PATIENCE, key
        for key, following in list(self._following.items()):
            if following.found is not None and now >= following.until:
                del self._following[key]

    def end(self) -> None:
        """End them all."""
        for pid in self._running:
            os.kill(pid, signal.SIGKILL)

    def _read(self, key: tuple[str, str], status: int) -> None:
        following = self._following[key]
        following.found = ()
        with following.file as file:
            if status:
                logger.error("The link_error of %s could not be worked out, and is not sent.", key[0])
            else:
                file.seek(0)
                following.found = _decode(file.read())

    def _fork(self, work: Callable[[], None], key: tuple[str, str] | None) -> None:
        pid = fork_process(
            self.app, self.hostname, work, "What follows tasks that were ended could not be done."
        )
        self._running[pid] = time.monotonic() + PATIENCE, key

    # -- in such a process

    def _work_out(self, ended: Ended, file: IO[bytes]) -> None:
        executor = self._executor()

        def work_out(_task: Any, request: Request) -> None:
            callbacks = Callbacks(self.app, executor.tasks)
            file.write(_encode(callbacks.after_failure(request, ended.error, None)))
            file.flush()

        self._as_the_task(executor, ended.run, work_out)

    def _tell_all(self, ended: Sequence[Ended]) -> None:
        executor = self._executor()
        for each in ended:
            try:
                self._as_the_task(executor, each.run, partial(_tell, each))
            except Exception:
                headers = each.run.message.headers
                logger.exception("%s[%s] was ended, and could not be told of.", headers.task, headers.id)

    def _executor(self) -> Executor:
        if self.app.framework is not None:
            self.app.framework.install_hooks(self.app.hooks)
        return Executor(self.app, self.hostname)

    @staticmethod
    def _as_the_task(executor: Executor, run: Run, function: Callable[[Any, Request], None]) -> None:
        """Call a function with what the task would have found around it."""
        args, kwargs, embed = executor.unpack(run.message)
        request = Request(run.message, run.queue, executor.hostname, args, kwargs, embed)
        token = current.set(request)
        try:
            for hook in executor.before:
                hook(request)
            function(run.task, request)
        finally:
            for hook in executor.after:
                hook(request)
            current.reset(token)


def _tell(ended: Ended, task: Any, request: Request) -> None:
    if ended.signum is not None:
        reporting.revoked(task, request, signum=ended.signum)
    else:
        reporting.ended(task, request, ended.error, ended.retry)


def _key(ended: Ended) -> tuple[str, str]:
    """Return what tells a failure from others: the task's id, and what it failed with."""
    return ended.run.message.headers.id, type(ended.error).__name__


def _has_errbacks(run: Run) -> bool:
    """Return whether a message may have some; its body may be anything, and is not read here."""
    body = run.message.body
    linked = b'"errbacks":null' not in body and b'"errbacks": null' not in body
    return run.task is not None and linked
