"""May results be waited for here? Not inside a task, where with all slots waiting nothing could run.

Asked by `celeriac.result` and `celeriac.result_set` before they wait.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.config import Settings
from celeriac.context import current
from celeriac.errors import ImproperlyConfigured, WaitInTask
from celeriac.store import Record, ResultStore

if TYPE_CHECKING:
    from celeriac.control import Control

#: Seconds for which a thread waits at a time where something else is looked at meanwhile.
SLICE = 0.5
# None: as the place says, which is not inside a task.
_allowed: ContextVar[bool | None] = ContextVar("celeriac_joins_allowed", default=None)


class ResultBase:
    """What results and sets of results have in common: tasks that may be revoked, and the name, for `isinstance`."""

    __slots__ = ()

    app: Any

    def leaves(self) -> Sequence[Any]:
        """Return the single results in it."""
        raise NotImplementedError

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Have its tasks not started any more, and ended where they run if `terminate` is set: `Control.revoke`.

        It is noted at the broker when this returns; `connection`, `wait` and `timeout` are Celery's and change nothing.
        """
        ids = [leaf.id for leaf in self.leaves()]
        self.app.control.revoke(ids, terminate=terminate, signal=signal or "SIGTERM")


class HasStore(Protocol):
    """What a result needs of an app."""

    @property
    def conf(self) -> Settings:
        """The settings."""

    @property
    def store(self) -> ResultStore | None:
        """The result store, None where results are disabled."""

    @property
    def control(self) -> "Control":
        """Revokes tasks."""

    def awaited(self, task_id: str, queue: str | None) -> None:
        """Take note that a task is waited for that does not end at once; None where its queue is not known."""


def store_of(app: HasStore) -> ResultStore:
    """Return the app's result store; raises ImproperlyConfigured where there is none."""
    store = app.store
    if store is None:
        raise ImproperlyConfigured(
            "Results are not stored: result_backend is not set. Set it (django-db, redis://..., cache), or use "
            "ignore_result=True where nobody reads them."
        )
    return store


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let tasks wait for others inside the block: for those who know that other workers run them."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse to wait for results inside the block, as inside a task."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def assert_will_not_block(what: str = "A result") -> None:
    """Raise WaitInTask where `what` must not be waited for."""
    allowed = _allowed.get()
    if allowed or (allowed is None and current.get() is None):
        return
    raise WaitInTask(
        f"{what} is waited for inside a task: with all slots waiting, nothing could run. "
        "Let the first task send the second, or return and look at the result later. If other workers run it: "
        "get(disable_sync_subtasks=False)."
    )


class Waited(Protocol):
    """What `Looks` need of the result that is waited for."""

    parent: Any

    @property
    def record(self) -> Record | None:
        """What is stored."""

    def meta(self) -> dict[str, Any]:
        """Return what is stored, as Celery's stores do."""


class Looks:
    """What is looked at every now and then while a result is waited for. `any` says whether there is anything."""

    def __init__(
        self,
        result: Waited,
        follow_parents: bool,
        on_interval: Callable[[], Any] | None,
        on_message: Callable[[dict[str, Any]], Any] | None,
    ) -> None:
        self._result = result
        self._parent = result.parent if follow_parents else None
        self._on_interval = on_interval
        self._on_message = on_message
        self._told: Record | None = None
        self.any = not (self._parent is None and on_interval is None and on_message is None)

    def before(self) -> None:
        """Raise the exception of a task before it that has failed."""
        if self._parent is not None:
            for leaf in reversed([leaf for each in self._parent.leaves() for leaf in each.lineage()]):
                leaf.maybe_throw()

    def during(self) -> None:
        """Look while the task goes on."""
        self.before()
        self.message()
        if self._on_interval is not None:
            self._on_interval()

    def message(self) -> None:
        """Hand over what is stored, if that is something new."""
        if self._on_message is not None:
            record = self._result.record
            if record is not None and record != self._told:
                self._told = record
                self._on_message(self._result.meta())
