"""What a caller holds of a task that it sent: `AsyncResult`, and `EagerResult` for one that ran at once.

Reads the result store through the app; never touches the broker.
"""

import builtins
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from celeriac import errors, states
from celeriac.context import current
from celeriac.errors import (
    ImproperlyConfigured,
    TaskError,
    TaskRevokedError,
    TaskTimeout,
    WaitInTask,
    WaitInTransaction,
)
from celeriac.message.serializers import json_loads
from celeriac.store import Record, ResultStore


class HasStore(Protocol):
    """What a result needs of an app."""

    @property
    def store(self) -> ResultStore | None:
        """The result store, None where results are disabled."""


class _Failure(msgspec.Struct):
    exc_type: str = "Exception"
    exc_message: Any = None
    exc_module: str | None = None


_decode_failure = msgspec.json.Decoder(_Failure).decode


def rebuild_exception(record: Record) -> BaseException:
    """Return an exception that tells what a failed record tells.

    Only built-in exceptions and our own are rebuilt as themselves; any other becomes a TaskError of the same
    name, since a stored name must never decide which class of the project is called.
    """
    try:
        failure = _decode_failure(record.result)
    except msgspec.MsgspecError:
        return TaskError(record.result.decode(errors="replace"))
    arguments = failure.exc_message
    if not isinstance(arguments, list | tuple):
        arguments = [] if arguments is None else [arguments]
    cls = _allowed(failure.exc_type, failure.exc_module)
    try:
        return cls(*arguments)
    except Exception:
        return TaskError(f"{failure.exc_type}: {failure.exc_message}")


def _allowed(name: str, module: str | None) -> type[BaseException]:
    if module in ("celeriac.errors", "celery.exceptions", "billiard.exceptions"):
        found = getattr(errors, "TaskTimeout" if name == "TimeoutError" else name, None)
    elif module in (None, "builtins"):
        found = getattr(builtins, name, None)
    else:
        found = None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return type(
        name if name.isidentifier() else "TaskError", (TaskError,), {"__module__": module or __name__}
    )


class AsyncResult:
    """A handle on one task, by id. Equal to another with the same id; `str()` is the id."""

    __slots__ = ("_in_transaction", "_record", "app", "id")

    def __init__(self, task_id: str, app: HasStore, in_transaction: Callable[[], bool] | None = None) -> None:
        self.id = task_id
        self.app = app
        self._record: Record | None = None
        # Set where the task is published after the commit: tells whether that is still to come.
        self._in_transaction = in_transaction

    @property
    def task_id(self) -> str:
        """The id, under its other name."""
        return self.id

    def _store(self) -> ResultStore:
        store = self.app.store
        if store is None:
            raise ImproperlyConfigured(
                "Results are not stored: result_backend is not set. Set it (django-db, redis://..., cache), or use "
                "ignore_result=True where nobody reads them."
            )
        return store

    def _fetch(self) -> Record | None:
        if self._record is None or not self._record.ready:
            self._record = self._store().fetch([self.id]).get(self.id)
        return self._record

    @property
    def state(self) -> str:
        """The task's state; PENDING where nothing is stored for the id."""
        record = self._fetch()
        return states.PENDING if record is None else record.state

    status = state

    @property
    def result(self) -> Any:
        """The return value, the exception of a failed task, the meta of a custom state, or None."""
        record = self._fetch()
        if record is None:
            return None
        if record.state in states.EXCEPTION_STATES:
            return rebuild_exception(record)
        return json_loads(record.result)

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed or retried task, as text."""
        record = self._fetch()
        return None if record is None else record.traceback

    @property
    def date_done(self) -> datetime | None:
        """When the task ended, in UTC."""
        record = self._fetch()
        return (
            None
            if record is None or record.finished is None
            else datetime.fromtimestamp(record.finished, UTC)
        )

    @property
    def record(self) -> Record | None:
        """All that is stored of the task, None if nothing is."""
        return self._fetch()

    def ready(self) -> bool:
        """Return whether the task has ended: SUCCESS, FAILURE or REVOKED."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """Return whether the task ended in SUCCESS."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Return whether the task ended in FAILURE."""
        return self.state == states.FAILURE

    def exists(self) -> bool:
        """Return whether anything is stored for the id."""
        return self._fetch() is not None

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        **_celery: Any,
    ) -> Any:
        """Wait for the end of the task and return its value.

        `timeout` is in seconds, None waits for ever. A failed task's exception is raised, or returned with
        `propagate=False`. `interval` and Celery's other options are accepted and not needed. Raises TaskTimeout
        when the time is over (the task goes on), WaitInTask inside a task, WaitInTransaction where the task
        is only published by the commit that comes after.
        """
        if current.get() is not None:
            raise WaitInTask(
                f"Task {self.id} is waited for inside a task: with all slots waiting, nothing could run. "
                "Let the first task send the second, or return and look at the result later."
            )
        if self._in_transaction is not None and self._in_transaction():
            raise WaitInTransaction(
                f"Task {self.id} is published when the open transaction commits, so that waiting for it here "
                "would never end. Call get() after the atomic block."
            )
        record = self._record
        if record is None or not record.ready:
            record = self._record = self._store().wait(self.id, timeout)
        if record is None:
            raise TaskTimeout(
                f"Task {self.id} has not ended within {timeout:g} s. It goes on."
                if timeout is not None
                else ""
            )
        if record.state == states.SUCCESS:
            return json_loads(record.result)
        error = rebuild_exception(record)
        if propagate:
            raise error
        return error

    wait = get

    def forget(self) -> None:
        """Delete what is stored of the task; its state is PENDING again."""
        self._store().forget([self.id])
        self._record = None

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return self.id == other.id
        return isinstance(other, str) and self.id == other

    def __hash__(self) -> int:
        return hash(self.id)


class EagerResult(AsyncResult):
    """The result of a task that ran in the caller's process."""

    __slots__ = ("_error",)

    def __init__(self, record: Record, app: HasStore, error: BaseException | None) -> None:
        super().__init__(record.id, app)
        record.finished = record.finished or time.time()
        self._record = record
        self._error = error

    def _fetch(self) -> Record | None:
        return self._record

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        **_celery: Any,
    ) -> Any:
        """Return the value, or raise (or return) the exception of the run."""
        if self._error is None and self.state == states.REVOKED:
            self._error = TaskRevokedError("revoked")
        if self._error is None:
            return self.result
        if propagate:
            raise self._error
        return self._error
