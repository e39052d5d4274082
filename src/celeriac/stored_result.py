"""What is stored of a task, and reading it: the part of a result that asks the store and never waits.

`celeriac.result` builds its results on it.
"""

from datetime import UTC, datetime
from typing import Any

from celeriac import registry, states
from celeriac.failure import rebuild_exception
from celeriac.message import result_format
from celeriac.store import Record
from celeriac.waiting import HasStore, ResultBase, store_of


class StoredResult(ResultBase):
    """What `app` has stored under a task's id. Looks again at each question until the task has ended."""

    __slots__ = ("_app", "_record", "id")

    def __init__(self, id: str, app: HasStore | None) -> None:
        self.id = id
        self._app = app
        self._record: Record | None = None

    @property
    def app(self) -> HasStore:
        """The app whose result store knows of it."""
        app: HasStore = registry.current_app() if self._app is None else self._app
        return app

    @app.setter
    def app(self, app: HasStore) -> None:
        self._app = app

    @property
    def task_id(self) -> str:
        """The id, under its other name."""
        return self.id

    def _fetch(self) -> Record | None:
        if not self.ended():
            self.see(store_of(self.app).fetch([self.id]).get(self.id))
        return self._record

    def seen(self) -> Record | None:
        """Return what was seen last, without a look."""
        return self._record

    def see(self, record: Record | None) -> None:
        """Take note of what is stored now."""
        self._record = record

    def ended(self) -> bool:
        """Return whether the end was seen already, without a look."""
        return self._record is not None and self._record.ready

    @property
    def state(self) -> str:
        """The task's state; PENDING where nothing is stored for the id."""
        record = self._fetch()
        return states.PENDING if record is None else record.state

    status = state

    @property
    def result(self) -> Any:
        """The return value, the exception of a failed task, the meta of a custom state, or None."""
        self._fetch()
        return self._value()

    info = result

    def _value(self) -> Any:
        record = self._record
        if record is None:
            return None
        if record.state in states.EXCEPTION_STATES:
            return rebuild_exception(record.result, self.app.conf.result_exceptions)
        return result_format.read(record.result, self.app.conf)

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
            if record is None or record.finished is None or record.state == states.PENDING
            else datetime.fromtimestamp(record.finished, UTC)
        )

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._stored("name")

    @property
    def args(self) -> str | None:
        """The positional arguments as text, shortened: values are not kept beside the message."""
        return self._stored("args")

    @property
    def kwargs(self) -> str | None:
        """The keyword arguments as text, shortened."""
        return self._stored("kwargs")

    @property
    def worker(self) -> str | None:
        """Name of the worker that ran it last."""
        return self._stored("worker")

    @property
    def queue(self) -> str | None:
        """The queue that it came from."""
        return self._stored("queue")

    @property
    def retries(self) -> int | None:
        """How often it was tried again."""
        record = self._fetch()
        return None if record is None else record.retries

    def _stored(self, field: str) -> str | None:
        return getattr(self._fetch(), field, None) or None

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
