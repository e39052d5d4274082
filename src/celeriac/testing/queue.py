"""`Queue`: what was sent in a test, and its running by the worker's own path, in the time that the test says.

What users and the pytest plugin take. Sends nothing by itself; the project's own broker and store are never touched.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from celeriac import registry, states
from celeriac.app import Celeriac
from celeriac.broker import Action, Delivery, Settlement
from celeriac.eager import run_once
from celeriac.errors import MessageError
from celeriac.execute import Executor
from celeriac.result import EagerResult
from celeriac.revocations import revoked_among
from celeriac.run import Run
from celeriac.stores.memory import MemoryStore
from celeriac.task import Task
from celeriac.testing.calls import EnqueuedCall, Wanted, read_call
from celeriac.testing.clock import Clock, unix_time
from celeriac.testing.keepers import NotingBroker, memory_keepers

_CONSUMER = "celeriac-testing"
_FOREVER = float("inf")


class HasModulePath(Protocol):
    """One of Django's own tasks, whose module path is its name here."""

    @property
    def module_path(self) -> str:
        """Module and function."""


class Queue:
    """Keeps what `app` (the current one without it) sends inside the `with` block, on a memory broker.

    A call counts as sent when the `atomic()` blocks around it have ended well. The transaction of a Django `TestCase`,
    which never commits, is not waited for.
    """

    def __init__(self, app: Celeriac | None = None) -> None:
        self.app: Celeriac = registry.current_app() if app is None else app
        self._clock = Clock()
        self._inside = ExitStack()
        self._keepers: tuple[NotingBroker, MemoryStore] | None = None
        self._seq = 0

    def __enter__(self) -> "Queue":
        self._keepers = self._inside.enter_context(memory_keepers(self.app, self._clock))
        self._broker.register(_CONSUMER, _FOREVER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.close()
        self._keepers = None

    @property
    def _broker(self) -> NotingBroker:
        if self._keepers is None:
            raise RuntimeError(
                "A Queue keeps what is sent inside its block: `with Queue() as queue:`, or in setUp "
                "`self.queue = self.enterContext(Queue())`."
            )
        return self._keepers[0]

    @property
    def _store(self) -> MemoryStore | None:
        return None if self._keepers is None else self._keepers[1]

    # -- what was sent

    @property
    def calls(self) -> list[EnqueuedCall]:
        """All that was sent since the beginning, or since `clear`, in order; what has run since stays in it."""
        self._look()
        return [read_call(publication, sent, self.app.conf) for publication, sent in self._broker.sent]

    def assert_enqueued(
        self,
        task: Task[..., Any] | HasModulePath | str,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        countdown: float | timedelta | None = None,
        eta: datetime | None = None,
        within: float | timedelta = 1.0,
        times: int | None = None,
    ) -> list[EnqueuedCall]:
        """Raise AssertionError unless such a call was sent: at least one, or exactly `times`; return them.

        `task` is a task, one of Django's own, or a name.
        What is not given is not looked at. `countdown` and `eta` may be off by `within` (seconds or a timedelta).
        """
        wanted = Wanted(
            task=_name_of(task),
            args=args,
            kwargs=kwargs,
            queue=queue,
            countdown=None if countdown is None else _seconds(countdown),
            due=None if eta is None else unix_time(eta, self._timezone),
            within=_seconds(within),
        )
        calls = self.calls
        found = [call for call in calls if wanted.fits(call)]
        if found if times is None else len(found) == times:
            return found
        often = "" if times is None else f" {times} times, but {len(found)} times"
        raise AssertionError(f"{wanted} was not enqueued{often}.\n{self._listing(calls)}")

    def assert_nothing_enqueued(self) -> None:
        """Raise AssertionError if anything was sent."""
        calls = self.calls
        if calls:
            raise AssertionError(f"Nothing should have been enqueued.\n{self._listing(calls)}")

    def clear(self) -> None:
        """Forget what was sent, what of it has not run, and all results. The clock stays where it is."""
        self._look()
        self._broker.clear()
        if self._store is not None:
            self._store.clear()
        self._broker.sent.clear()
        self._seq = 0
        self._broker.register(_CONSUMER, _FOREVER)

    def _look(self) -> None:
        """Have what only waits for the end of a `TestCase` published."""
        if registry.framework() is not None:
            from celeriac.django import commits  # noqa: PLC0415 - where there is no Django, it cannot be imported

            commits.publish_committed()

    def _listing(self, calls: Sequence[EnqueuedCall]) -> str:
        lines = ["Enqueued:" if calls else "Nothing was enqueued.", *(f"  {call}" for call in calls)]
        if registry.framework() is not None:
            from celeriac.django import commits  # noqa: PLC0415 - as above

            ours, others = commits.held_back()
            if ours:
                lines.append(f"Sent in a transaction that is still open, and not counted: {ours}.")
            if others:
                lines.append(
                    f"Callbacks of transaction.on_commit() that have not run: {others}. A TestCase never commits; "
                    "captureOnCommitCallbacks(execute=True) around the code runs them."
                )
        return "\n".join(lines)

    # -- running it

    @property
    def now(self) -> datetime:
        """The time by the clock of this queue, in the project's time zone."""
        return datetime.fromtimestamp(self._clock(), ZoneInfo(self._timezone))

    @property
    def _timezone(self) -> str:
        return self.app.conf.timezone or "UTC"

    def drain(self, *, raise_errors: bool = True, limit: int = 1000) -> list[EagerResult[Any]]:
        """Run what is due, and what that sends, until nothing is; return the outcome of each run, in order.

        Retries and calls for later stay until they are due: see `run_due`. The first task that fails for good has its
        exception raised, and the rest stays; with `raise_errors=False` it is in its result. Raises AssertionError
        after `limit` runs.
        """
        results: list[EagerResult[Any]] = []
        with self._clock.held():
            self._drain(results, raise_errors, limit)
        return results

    def run_due(
        self, until: float | timedelta | datetime, *, raise_errors: bool = True, limit: int = 1000
    ) -> list[EagerResult[Any]]:
        """Set the clock ahead to `until`, and run on the way all that becomes due, each at its time, as `drain` does.

        `until` is a datetime, or a timedelta or seconds from now. Nothing sleeps. What the tasks send, retry and let
        expire counts from the time at which they run; the time that Python itself tells them stays the real one.
        """
        end = self._clock.moment(until, self._timezone)
        if end < self._clock():
            raise ValueError(f"run_due() only goes ahead: until={until!r} is before {self.now}.")
        results: list[EagerResult[Any]] = []
        with self._clock.held():
            self._drain(results, raise_errors, limit)
            while (due := self._broker.next_due()) is not None and due <= end:
                self._clock.move_to(due)
                self._drain(results, raise_errors, limit)
            self._clock.move_to(end)
        return results

    def _drain(self, results: list[EagerResult[Any]], raise_errors: bool, limit: int) -> None:
        executor = Executor(self.app, _CONSUMER)
        while delivery := self._claim():
            if len(results) >= limit:
                self._broker.settle(_CONSUMER, [Settlement(delivery.tag, Action.PUT_BACK)])
                raise AssertionError(_endless(results))
            result, error = self._run(executor, delivery)
            results.append(result)
            if error is not None and raise_errors:
                raise error

    def _claim(self) -> Delivery | None:
        self._look()
        self._seq += 1
        deliveries = self._broker.claim(_CONSUMER, list(self._broker.depths()), 1, self._seq)
        return deliveries[0] if deliveries else None

    def _run(self, executor: Executor, delivery: Delivery) -> tuple[EagerResult[Any], BaseException | None]:
        """Do with a message what a worker does; return the result, and the exception if it failed for good."""
        try:
            message = executor.decode(delivery.payload, delivery.queue)
        except MessageError as error:
            self._broker.settle(_CONSUMER, [Settlement(delivery.tag, Action.DEAD, reason=str(error))])
            raise
        name = message.headers.task
        if name not in executor.tasks:
            self.app.load_tasks()  # as a worker does when it starts
            executor.tasks = self.app.tasks
        task = executor.tasks.get(name) or executor.find(name)
        run = Run(delivery.tag, delivery.queue, message, task)
        run.revoked = message.headers.id in revoked_among(self._broker, [delivery], executor.codec.read)
        outcome = run_once(executor, run)
        self._broker.settle(_CONSUMER, [executor.settling.settlement(run, outcome)], self._store)
        failed = outcome.error if outcome.state == states.FAILURE else None
        return EagerResult.of(executor.settling.record(run, outcome), self.app, failed), failed


def _name_of(task: Task[..., Any] | HasModulePath | str) -> str:
    if isinstance(task, str):
        return task
    return task.name if isinstance(task, Task) else task.module_path


def _seconds(length: float | timedelta) -> float:
    return length.total_seconds() if isinstance(length, timedelta) else length


def _endless(results: Sequence[EagerResult[Any]]) -> str:
    names = Counter(result.record.name for result in results if result.record is not None)
    often = ", ".join(f"{name} {count:,} times" for name, count in names.most_common(3))
    return (
        f"{len(results):,} tasks have run and there is no end: {often}. Does a task send itself, or retry at once "
        "without end? If so many are meant, pass limit=."
    )
