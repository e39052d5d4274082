"""`DjangoTask`: the task of ours that runs the function of a Django task. One for each function, under its module path.

Made when Django defines a task for the backend, so that whoever has imported its module knows it; or by `find`, for a
worker that is sent one of a module that nobody has imported. Found by its path is only what is a Django task there.
"""

import importlib
import inspect
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings

from celeriac import registry
from celeriac.context import Request, current
from celeriac.decorator import make_task
from celeriac.django.tasks_backend import api, details, options
from celeriac.errors import CeleriacError, Retry
from celeriac.task import Task

logger = logging.getLogger("celeriac")


class DjangoTask(Task[..., Any]):
    """Runs a Django task: with its context if it takes one, its value made JSON, Django's signals sent."""

    track_started = True
    store_eager_result = True
    ignore_result = False

    #: As it is defined.
    definition: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function as the running task."""
        return api.normalize_json(self.definition.func(*self._context(), *args, **kwargs))

    def _context(self) -> tuple[Any, ...]:
        request = current.get()
        if not self.definition.takes_context or request is None:
            return ()
        return (api.TaskContext(task_result=self._running(request)),)

    def _running(self, request: Request) -> Any:
        return details.running(request, self.definition, details.of_request(request, self.definition))

    def autoretry(self, retries: int, error: BaseException) -> None:
        """Raise Retry as other tasks do, and have the next try know of this one."""
        try:
            super().autoretry(retries, error)
        except Retry:
            request = current.get()
            if request is not None:
                details.note_attempt(request, details.of_request(request, self.definition), error)
            raise

    def before_start(self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Send `task_started`; a receiver that fails is logged, and the task runs."""
        request = current.get()
        if request is not None:
            api.task_started.send_robust(_sender(self.definition), task_result=self._running(request))

    def after_return(
        self,
        status: str,
        retval: Any,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        einfo: Any,
    ) -> None:
        """Send `task_finished`, inside an exception handler where the task has failed, as Django has it."""
        request = current.get()
        if request is None:
            return
        found = details.of_request(request, self.definition)
        ended = details.ended(request, self.definition, found, status, retval)
        sender = _sender(self.definition)
        if not isinstance(retval, BaseException):
            api.task_finished.send_robust(sender, task_result=ended)
            return
        try:
            raise retval
        except BaseException:
            api.task_finished.send_robust(sender, task_result=ended)


class AsyncDjangoTask(DjangoTask):
    """Runs a Django task that is a coroutine function."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function as the running task."""
        return api.normalize_json(await self.definition.func(*self._context(), *args, **kwargs))


def _sender(definition: Any) -> type:
    return type(api.task_backends[definition.backend])


def register(task: Any) -> DjangoTask:
    """Return our task of a Django task, made now if this is the first of its function.

    Raises InvalidTask for one that cannot be run under its module path.
    """
    name = task.module_path
    known = registry.shared_tasks.get(name)
    if isinstance(known, DjangoTask) and known.definition.func is task.func:
        return known
    if known is not None and not isinstance(known, DjangoTask):
        raise api.InvalidTask(f"{name} is a task of @shared_task already: apply one of the two decorators.")
    base = AsyncDjangoTask if inspect.iscoroutinefunction(task.func) else DjangoTask
    backend = api.task_backends[task.backend]
    given = options.of(task, backend) if is_ours(backend) else {}
    try:
        made: Any = make_task(task.func, None, name, {"base": base, "bind": task.takes_context, **given})
    except CeleriacError as error:
        raise api.InvalidTask(str(error)) from error
    made.definition = task
    registry.shared_tasks[name] = made
    return made  # type: ignore[no-any-return]


def find(name: str) -> DjangoTask | None:
    """Return our task of the Django task with this module path, None if there is none. Raises nothing.

    Imports its module, if that is the project's or an installed app's: what a message names must not decide what else
    is imported, or called.
    """
    known = registry.shared_tasks.get(name)
    if known is not None:
        return known if isinstance(known, DjangoTask) else None
    module, _, function = name.rpartition(".")
    if not module or not all(part.isidentifier() for part in name.split(".")):
        return None
    if module not in sys.modules:
        if not _may_import(module):
            return None
        try:
            importlib.import_module(module)
        except Exception:
            logger.exception("The module of the task %s cannot be imported.", name)
            return None
    task = getattr(sys.modules.get(module), function, None)
    if not isinstance(task, api.Task) or task.module_path != name:
        return None
    try:
        return register(task)
    except api.InvalidTask:
        logger.exception("%s cannot be run.", name)
        return None


def _may_import(module: str) -> bool:
    own = {app.name for app in apps.get_app_configs()} | {settings.SETTINGS_MODULE.partition(".")[0]}
    return any(module == package or module.startswith(f"{package}.") for package in own)


def is_wanted() -> bool:
    """Return whether the project's TASKS name a backend of ours, whose tasks `find` finds."""
    return any(is_ours(backend) for backend in api.task_backends.all())


def is_ours(backend: Any) -> bool:
    """Return whether a backend is `CeleriacBackend`, or a subclass of it."""
    return hasattr(type(backend), "celeriac")
