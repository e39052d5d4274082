"""One run of one task, from message to outcome: the only place where users' functions are called.

`Executor.execute` is a straight line: prepare, **the user's function**, conclude. Every pool, the eager mode and the
tests go through it; a coroutine task takes `aexecute`, which differs in the middle step only. It returns
data (`Outcome`); who settles it with the broker is the caller's business, `settling` says how.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from celeriac import hints, reporting, states
from celeriac.acks import Acks
from celeriac.callbacks import Callbacks
from celeriac.callbacks import Sends as SendsCallbacks
from celeriac.config import Settings
from celeriac.context import Request, current
from celeriac.errors import (
    EncodeError,
    Ignore,
    MessageError,
    NotRegistered,
    Reject,
    Retry,
    TaskRevokedError,
    TimeLimitExceeded,
    UnstorableResult,
)
from celeriac.failure import failure_json, format_traceback, safe_text
from celeriac.hooks import Hooks
from celeriac.limits import Pair, Watchdog, of_tasks
from celeriac.message import result_format
from celeriac.message.message import Message
from celeriac.message.moments import is_past
from celeriac.next_try import next_try
from celeriac.run import Outcome, Run
from celeriac.settling import Settling
from celeriac.signals import around_tasks
from celeriac.store import Record
from celeriac.task import Task
from celeriac.unpacking import Codec, Unpacker

logger = logging.getLogger("celeriac")
#: Files through which the user's function is called.
OWN_FRAMES = (
    __file__,
    str(Path(__file__).with_name("limits.py")),
    str(Path(__file__).with_name("overtime.py")),
    str(Path(__file__).with_name("django") / "tasks_backend" / "functions.py"),
)


class Runs(SendsCallbacks, Protocol):
    """What an executor needs of an app."""

    @property
    def conf(self) -> Settings:
        """The settings."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Tasks by name."""

    def find_task(self, name: str) -> Task | None:
        """Return a task that is in none of the modules that were imported, None if there is none of this name."""

    @property
    def hooks(self) -> Hooks:
        """What runs around each task."""

    @property
    def codec(self) -> Codec:
        """How messages are read and written."""

    @property
    def made(self) -> float:
        """When the app was made: a worker's code is as old as that. Unix time."""

    @property
    def clock(self) -> Callable[[], float]:
        """What tells the time, in unix seconds."""


class Executor:
    """Runs deliveries of one app in this process. `hostname` is the worker's name."""

    def __init__(self, app: Runs, hostname: str) -> None:
        self.conf = conf = app.conf
        self.hostname = hostname
        self.tasks = app.tasks
        self.app = app
        self.unpack = Unpacker(conf).unpack
        self.codec = app.codec
        self.decode = self.codec.decode
        self.encode = self.codec.encode if conf.task_protocol == 2 else app.codec.encode_protocol_1
        self.dump_result = result_format.writer(conf)
        self.settling = Settling(conf, self.codec, hostname)
        self.track_started = conf.task_track_started
        self.acks = Acks(conf)
        self.acks_early = conf.task_acks_late is False
        self.before = app.hooks.before_task
        self.after = app.hooks.after_task
        self.before_coroutine = app.hooks.before_coroutine
        #: Set by a worker: the limits of tasks that have some, and what enforces soft ones.
        self.limits: Mapping[str, Pair] = {}
        self.watchdog: Watchdog | None = None
        #: Set by a worker: has a record stored that is not the last of its task.
        self.note: Callable[[Record], None] | None = None
        #: Set where a call runs inside the code that made it, which was not to wait for a later time or be too late.
        self.eager = False
        self.clock = app.clock
        self.made = app.made
        self.hint = hints.of(conf)

    def find(self, name: str) -> Task | None:
        """Return the task of a name that `tasks` does not have, which has it from then on; None if there is none."""
        task = self.app.find_task(name)
        if task is not None:
            self.tasks = {**self.tasks, name: task}
            self.limits = {**self.limits, **of_tasks({name: task}, self.app.conf)}
        return task

    def execute(self, run: Run) -> Outcome:
        """Run a task and return what came of it. Raises nothing, whatever the task does."""
        outcome = self.prepare(run)
        if outcome is None:
            task: Task = run.task  # type: ignore[assignment]
            request: Request = run.request  # type: ignore[assignment]
            watched = reporting.wanted(task)
            token = current.set(request)
            value: Any = None
            try:
                for hook in self.before:
                    hook(request)
                if watched:
                    reporting.begins(task, request)
                if run.soft is None or self.watchdog is None:
                    value = task.call(*request.args, **request.kwargs)
                else:
                    struck = partial(self._interrupted, request)
                    value = self.watchdog.call(run.soft, task.call, request.args, request.kwargs, struck)
            except BaseException as error:
                value = error
                outcome = self.conclude(run, None, error)
            else:
                outcome = self.conclude(run, value, None)
            if request.followed:
                outcome = self._follow_up(run, outcome, value)
            if watched:
                self._report(run, outcome, value)
            self._clean_up(request)
            current.reset(token)
        outcome.finished = time.time()
        return outcome

    async def aexecute(self, run: Run) -> Outcome:
        """`execute` for a coroutine task, on a running event loop. Handlers and receivers have a thread beside it."""
        outcome = self.prepare(run)
        if outcome is None:
            task: Task = run.task  # type: ignore[assignment]
            request: Request = run.request  # type: ignore[assignment]
            watched = reporting.wanted(task)
            token = current.set(request)
            value: Any = None
            try:
                if not self.eager:
                    for hook in self.before_coroutine:
                        hook()
                if watched:
                    await self._beside(request, reporting.begins, task, request)
                run.calling = True
                if run.soft is None and run.hard is None:
                    value = await task.call(*request.args, **request.kwargs)
                else:
                    from celeriac.overtime import limited  # noqa: PLC0415 - see below

                    value = await limited(task.call, run.soft, run.hard, request.args, request.kwargs)
                run.calling = False
            except BaseException as error:
                run.calling = False
                value = error
                outcome = self.conclude(run, None, error)
            else:
                outcome = self.conclude(run, value, None)
            if request.followed:
                outcome = await self._beside(request, self._follow_up, run, outcome, value)
            if watched:
                await self._beside(request, self._report, run, outcome, value)
            current.reset(token)
        outcome.finished = time.time()
        return outcome

    async def _beside(self, request: Request, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function that may block, as a sync task is called, beside the event loop."""

        def call() -> Any:
            try:
                for hook in self.before:
                    hook(request)
                return function(*args)
            finally:
                self._clean_up(request)

        import asyncio  # noqa: PLC0415 - slow to import, and a loop that runs has it already

        return await asyncio.to_thread(call)

    def _report(self, run: Run, outcome: Outcome, value: Any) -> None:
        task: Task = run.task  # type: ignore[assignment]
        request: Request = run.request  # type: ignore[assignment]
        failure = outcome.error if outcome.error is not None else value
        if outcome.state == states.SUCCESS:
            reporting.succeeded(task, request, value, time.time() - run.started)
        elif outcome.state == states.RETRY and request.retrying is not None:
            reporting.retried(task, request, request.retrying, failure, outcome.traceback)
        elif outcome.state == states.FAILURE:
            reporting.failed(task, request, failure, outcome.traceback)
        elif run.terminated is not None and outcome.state == states.REVOKED:
            reporting.revoked(task, request, signum=run.terminated)
            reporting.over(task, request, states.REVOKED, failure)
        else:
            reporting.over(task, request, outcome.state, value)

    def _interrupted(self, request: Request) -> None:
        """Undo what the soft limit may have left half done, before anything else runs here."""
        request.interrupted = True
        self._clean_up(request)
        request.interrupted = False

    def _clean_up(self, request: Request) -> None:
        try:
            for hook in self.after:
                hook(request)
        except Exception:
            logger.exception("What follows each task failed after %s[%s].", request.task, request.id)

    # -- before

    def prepare(self, run: Run) -> Outcome | None:
        """Make the request of a run; return an outcome where it is not to be run at all."""
        message = run.message
        run.started = time.time()
        if run.task is None:
            return self._unknown(message)
        expires = message.headers.expires
        if expires is not None and not self.eager and is_past(expires, self.clock()):
            return self._dropped(run, "expired")
        if run.revoked:
            return self._dropped(run, "revoked")
        try:
            args, kwargs, embed = self.unpack(message)
        except MessageError as error:
            reporting.rejected(message, error)
            return Outcome(states.FAILURE, failure_json(error), error=error, dead=str(error))
        request = run.request = Request(message, run.queue, self.hostname, args, kwargs, embed)
        request.started, request.note, request.is_eager = run.started, self.note, self.eager
        request.children = [] if run.task.trail else None
        request.followed = embed is not None and any(embed.values())
        if around_tasks:
            reporting.received(run.task, request)
        return None

    def _unknown(self, message: Message) -> Outcome:
        name = message.headers.task
        since = datetime.fromtimestamp(self.made, UTC)
        error = NotRegistered(
            f"Task {name!r} is not known to this worker, which has run since {since:%Y-%m-%d %H:%M:%S} UTC. The "
            "message is kept as a dead letter, and a worker that knows the name puts it back when it starts. If the "
            f"code is newer than this worker, restart it. To drop it: celeriac deadletter discard {message.headers.id} "
            "(celeriac help E106)"
        )
        reporting.unknown(message, error)
        return Outcome(states.FAILURE, failure_json(error), error=error, dead=unknown_task(name))

    def _dropped(self, run: Run, why: str) -> Outcome:
        task: Task = run.task  # type: ignore[assignment]
        request = Request(run.message, run.queue, self.hostname)
        reporting.revoked(task, request, expired=why == "expired")
        return _revoked(why)

    # -- after

    def conclude(self, run: Run, value: Any, error: BaseException | None) -> Outcome:
        """Return the outcome of a run that returned `value` or raised `error`."""
        try:
            return self.succeeded(run, value) if error is None else self.failed(run, error)
        except Exception as trouble:
            # A retry in the year 40,000, say.
            if around_tasks:
                reporting.inconclusive(run.task, run.request, trouble)
            return Outcome(states.FAILURE, failure_json(trouble), _traceback(trouble), trouble)

    def _follow_up(self, run: Run, outcome: Outcome, value: Any) -> Outcome:
        """Carry out what is to follow the task, and return the outcome with what is to be sent."""
        request: Request = run.request  # type: ignore[assignment]
        callbacks = Callbacks(self.app, self.tasks)
        try:
            if outcome.state == states.SUCCESS:
                outcome.publish = callbacks.after_success(request, value)
        except Exception as error:
            # What follows cannot be sent, so that the task's work is not done.
            outcome = Outcome(states.FAILURE, failure_json(error), _traceback(error), error)
        if outcome.state == states.FAILURE and outcome.error is not None:
            outcome.publish = callbacks.after_failure(request, outcome.error, outcome.traceback)
        return outcome

    def succeeded(self, run: Run, value: Any) -> Outcome:
        """Return the outcome of a run that returned `value`."""
        request = run.request
        if request is not None and request.retrying is not None:
            return self._retry(run, request.retrying)
        if value is None:
            return Outcome(states.SUCCESS)
        kept = self.settling.stores(run)
        if not kept and not self.eager:
            return Outcome(states.SUCCESS)
        try:
            return Outcome(states.SUCCESS, self.dump_result(value))
        except EncodeError as error:
            if not kept:
                return Outcome(states.SUCCESS)
            name = run.message.headers.task
            told = UnstorableResult(
                f"{name} ran to its end but returned {type(value).__qualname__}, which cannot be stored: {error}. "
                "Return data that JSON can hold, or set ignore_result=True."
            )
            return self.acks.judge(run, Outcome(states.FAILURE, failure_json(told), error=told))

    def failed(self, run: Run, error: BaseException) -> Outcome:
        """Return the outcome of a run that raised `error`."""
        task: Task = run.task  # type: ignore[assignment]
        if run.terminated is not None:
            return _revoked("terminated")
        if isinstance(error, Retry):
            return self._retry(run, error)
        if isinstance(error, Ignore):
            return Outcome(states.IGNORED)
        if isinstance(error, Reject):
            if error.requeue:
                return Outcome(states.IGNORED, requeue=True)
            return Outcome(
                states.FAILURE, failure_json(error), error=error, dead=f"rejected: {safe_text(error.reason)}"
            )
        if (
            task.autoretry_for
            and isinstance(error, task.autoretry_for)
            and not isinstance(error, TimeLimitExceeded)
            and not isinstance(error, task.dont_autoretry_for)
        ):
            try:
                task.autoretry(run.message.headers.retries or 0, error)
            except Retry as retry:
                return self._retry(run, retry)
            except BaseException as final:
                error = final
        text = _traceback(error) + self.hint(run, error)
        return self.acks.judge(run, Outcome(states.FAILURE, failure_json(error), text, error))

    def _retry(self, run: Run, retry: Retry) -> Outcome:
        if run.request is not None:
            run.request.retrying = retry
        try:
            again = next_try(run, retry, self.clock(), self.encode)
        except EncodeError as error:
            return Outcome(states.FAILURE, failure_json(error), _traceback(error), error)
        cause = retry.exc if retry.exc is not None else retry
        return Outcome(
            states.RETRY,
            failure_json(cause),
            _traceback(cause if cause.__traceback__ is not None else retry),
            cause,
            retry=again,
        )


def _revoked(why: str) -> Outcome:
    error = TaskRevokedError(why)
    return Outcome(states.REVOKED, failure_json(error), error=error)


def unknown_task(name: str) -> str:
    """Return the reason for which a message of a task that nobody knew is a dead letter."""
    return f"unknown task {name!r}"


def _traceback(error: BaseException) -> str:
    """The traceback from the user's function on."""
    return format_traceback(error, OWN_FRAMES)
