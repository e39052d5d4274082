"""`shared_task`: tasks that belong to no app, and are sent through the current one."""

from collections.abc import Callable
from typing import Any

from celeriac import naming, registry
from celeriac.decorator import MakesTasks, make_task
from celeriac.task import Task


def _shared_task(*functions: Callable[..., Any], **options: Any) -> Any:
    """Make a task of a function without naming an app: it is sent through the current one.

    `@shared_task` or `@shared_task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True)`. Takes the
    options of `@app.task`.
    """

    def register(function: Callable[..., Any]) -> Task:
        name = options.get("name") or naming.task_name(function, None)
        known = registry.shared_tasks.get(name)
        base = registry.current_app().Task if registry.has_app() else Task
        made = make_task(function, None, name, {"base": base, **options})
        if known is not None and not naming.same_function(known, made):
            naming.warn_duplicate(name, known, made)
            kept: Task = known
            return kept
        registry.shared_tasks[name] = made
        return made

    return register(functions[0]) if functions else register


shared_task: MakesTasks = _shared_task
