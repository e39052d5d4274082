"""`CeleriacBackend`: Django's tasks go to the project's broker, are run by its workers, and kept in its result store.

Django calls it. It sends and reads through the project's app, as `@shared_task` does; what runs is in `functions`.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from celeriac import registry, states
from celeriac.app import Celeriac
from celeriac.django.tasks_backend import api, details, functions, options
from celeriac.errors import BrokerDown, CeleriacError
from celeriac.message.message import DETAILS, new_id
from celeriac.message.reprs import bounded_repr
from celeriac.store import Record

#: Django's name for the queue that is meant where none is named; with us `task_default_queue` says.
DEFAULT_QUEUE = "default"
#: Our priority of Django's 0.
_MIDDLE = 4


class CeleriacBackend(api.BaseTaskBackend):
    """Supports all that Django's tasks have. OPTIONS are options of `@shared_task`, for all tasks of the backend."""

    task_class = options.CeleriacTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        options.check(alias, self.options)

    @property
    def celeriac(self) -> Celeriac:
        """The app that sends for it."""
        app: Celeriac = registry.current_app()
        return app

    def validate_task(self, task: Any) -> None:
        """Raise InvalidTask as Django says; from now on workers that have imported it know the task."""
        super().validate_task(task)
        functions.register(task)

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Send a call: with the open transaction, or after its commit, as `delay` does. Raises as that."""
        self.validate_task(task)
        app, ours = self.celeriac, functions.register(task)
        now = app.clock()
        result = api.TaskResult(
            task=task,
            id=new_id(),
            status=api.TaskResultStatus.READY,
            enqueued_at=details.moment(now),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        if ours.arity is not None and not ours.arity.fits(result.args, result.kwargs):
            ours.arity.explain(ours.name, ours.covers, result.args, result.kwargs)
        call = self._call(result, now, ours)
        if app.conf.task_always_eager:
            record = app.apply(ours, result.args, result.kwargs, {**call, "throw": False}).record
            self._update(result, record, ours)
        else:
            with self._kept(app, result, now, ours, call):
                app.send(ours, result.args, result.kwargs, call)
        api.task_enqueued.send(type(self), task_result=result)
        return result

    def _call(self, result: Any, now: float, ours: functions.DjangoTask) -> dict[str, Any]:
        """Return the options of ours for a call."""
        task = result.task
        kept = details.written(details.of_call(result, now, ours.covers))
        call = {"task_id": result.id, "priority": priority(task.priority), "headers": {DETAILS: kept}}
        if task.queue_name != DEFAULT_QUEUE:
            call["queue"] = task.queue_name
        if task.run_after is not None:
            call["eta"] = details.due(task)
        return call

    @contextlib.contextmanager
    def _kept(
        self, app: Celeriac, result: Any, now: float, ours: functions.DjangoTask, call: Mapping[str, Any]
    ) -> Iterator[None]:
        """Have it on record that the call waits, before a worker may say what came of it; not if it is not sent."""
        store = app.store
        if store is None or ours.ignore_result:
            yield
            return
        kept = call["headers"][DETAILS]
        waiting = Record(result.id, states.PENDING, name=ours.name, details=kept, enqueued=now)
        size = len(msgspec.json.encode(kept))
        waiting.args, waiting.kwargs = (
            bounded_repr(tuple(kept["args"]), size),
            bounded_repr(kept["kwargs"], size),
        )
        waiting.queue = call.get("queue") or app.conf.task_default_queue
        # From then on it is old.
        waiting.finished = call["eta"].timestamp() if "eta" in call else now
        store.store([waiting])
        try:
            yield
        except Exception as error:
            if not (isinstance(error, BrokerDown) and error.maybe_queued):
                with contextlib.suppress(CeleriacError):
                    store.forget([result.id])
            raise

    def get_result(self, result_id: str) -> Any:
        """Return what is known of a call; raises TaskResultDoesNotExist, StoreError."""
        app = self.celeriac
        if app.store is None:
            raise NotImplementedError(
                "There is no result store to look in. Set CELERY_RESULT_BACKEND, to 'django-db' for instance."
            )
        record = app.store.fetch([str(result_id)]).get(str(result_id))
        kept = None if record is None else details.read(record.details)
        ours = None if record is None or kept is None else functions.find(record.name)
        if record is None or kept is None or ours is None:
            raise api.TaskResultDoesNotExist(result_id)
        return details.result(record, ours.definition, kept, app.conf)

    def _update(self, result: Any, record: Record | None, ours: functions.DjangoTask) -> None:
        kept = None if record is None else details.read(record.details)
        if record is None or kept is None:
            return
        ended = details.result(record, ours.definition, kept, self.celeriac.conf)
        for name in ("status", "started_at", "finished_at", "last_attempted_at", "errors", "worker_ids"):
            object.__setattr__(result, name, getattr(ended, name))
        object.__setattr__(result, "_return_value", ended._return_value)


def priority(given: int) -> int:
    """Return Django's priority, -100 to 100, as one of ours, 0 to 9.

    0 is 4; what is below becomes 0 to 2, and what is above 6 to 9, so that they differ where Redis has four lists only.
    """
    if given == 0:
        return _MIDDLE
    return int(6 + (given - 1) // 25 if given > 0 else 2 - (-given - 1) // 34)
