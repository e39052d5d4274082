"""System checks of what there is to do: tasks, their queues and limits, the schedule in code. They import the tasks.

A module of tasks that does not import is a warning, not an error: it must not keep `migrate` from making what it
needs.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from celeriac import limits, naming, registry
from celeriac.beat import entries
from celeriac.beat.entries import Entry
from celeriac.django.checks.declared import found
from celeriac.django.checks.project import same_clocks
from celeriac.django.framework import make_default_app
from celeriac.errors import ImproperlyConfigured, QueueNotFound, TasksModuleError, UnknownOption
from celeriac.options import CALL, refuse_unknown
from celeriac.routing import Router
from celeriac.schedules import crontab
from celeriac.schedules.walltime import zone_of

_NAMED = 5  # of the tasks that one message is about; the rest are counted


def check_work(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """Tasks and the schedule: names, arguments, queues, limits."""
    try:
        app = loaded_app()
        router = Router(app.conf)
    except TasksModuleError as error:
        return [found("W007", str(error))]
    except (ImproperlyConfigured, UnknownOption):
        return []  # said by check_settings
    except Exception as error:  # a receiver of import_modules may raise anything
        return [found("W007", f"Loading the tasks failed: {type(error).__name__}: {error}")]
    messages = [*_check_names(app), *_check_limits(app)]
    schedule: Mapping[str, Entry] = {}
    try:
        schedule = entries.read(app)
    except ImproperlyConfigured as error:
        messages.append(found("E005", str(error)))
    for entry in schedule.values():
        messages += check_entry(entry, app.tasks)
    return [*messages, *_check_queues(app, router, schedule), *_check_zone(app, schedule)]


def loaded_app() -> Any:
    """Return the project's app with its tasks, or one that stays unknown to others, where it has made none."""
    if registry.has_app():
        app = registry.current_app()
    else:
        app = make_default_app()
        registry.forget_app(app)
    app.load_tasks()
    if registry.has_app() and registry.current_app() is not app:  # made by a module of tasks
        app = registry.current_app()
        app.load_tasks()
    return app


def check_entry(entry: Entry, tasks: Mapping[str, Any]) -> Iterator[checks.CheckMessage]:
    """What is wrong with the call that an entry of the schedule makes."""
    where = f"The entry {entry.name!r} of the schedule"
    try:
        refuse_unknown(entry.options, CALL, (), where)
    except UnknownOption as error:
        yield found("E005", str(error))
    task = tasks.get(entry.task)
    if task is None:
        near = get_close_matches(entry.task, tasks, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        yield found("W004", f"{where} sends {entry.task!r}, which is no task of this project.{hint}")
    elif task.arity is not None and not task.arity.fits(entry.args, entry.kwargs):
        try:
            task.arity.signature.bind(*entry.args, **entry.kwargs)
        except TypeError as error:
            yield found("W005", f"{where} calls {entry.task}{task.arity.signature} wrongly: {error}.")


def _check_names(app: Any) -> Iterator[checks.CheckMessage]:
    twice = dict(registry.duplicates)
    for name, shared in registry.shared_tasks.items():
        own = app.tasks.get(name)
        if own is not None and not naming.same_function(own, shared):
            twice[name] = (naming.origin_of(own), naming.origin_of(shared))
    for name, (kept, other) in twice.items():
        yield found("W006", f"{other} is a task named {name!r}, as {kept} is: it is never run.")


def _check_limits(app: Any) -> Iterator[checks.CheckMessage]:
    told = (app.conf.task_time_limit, app.conf.task_soft_time_limit)
    if _contradict(told):
        yield found("W009", f"task_soft_time_limit is {told[1]:g} s and task_time_limit {told[0]:g} s.")
    for name, pair in limits.of_tasks(app.tasks, app.conf).items():
        if pair != told and _contradict(pair):
            yield found(
                "W009", f"The soft time limit of {name} is {pair[1]:g} s, the hard one {pair[0]:g} s."
            )


def _contradict(pair: limits.Pair) -> bool:
    hard, soft = pair
    return bool(hard and soft and soft >= hard)


def _check_queues(app: Any, router: Router, schedule: Mapping[str, Entry]) -> Iterator[checks.CheckMessage]:
    """Queues that things are sent to and no worker reads by itself, as far as that can be known."""
    if not app.conf.task_queues and app.conf.task_create_missing_queues:
        return  # -Q says what is read
    senders: dict[str, list[str]] = defaultdict(list)
    for name, task in app.tasks.items():
        _note(senders, name, router, task, {})
    for entry in schedule.values():
        if entry.options.get("queue") is not None and entry.task in app.tasks:
            _note(senders, f"the entry {entry.name!r} of the schedule", router, None, entry.options)
    number = "W008" if app.conf.task_create_missing_queues else "E006"
    for queue, names in senders.items():
        near = get_close_matches(queue, router.queues.declared, 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(router.queues.declared)}."
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        shown = ", ".join(names[:_NAMED]) + more
        yield found(
            number, f"The queue {queue!r} is not in task_queues, and what is sent there is: {shown}.{hint}"
        )


def _note(
    senders: dict[str, list[str]], name: str, router: Router, task: Any, options: Mapping[str, Any]
) -> None:
    """Note the queue that a task goes to with these options, if it is known and not declared."""
    levels = [options]
    if task is not None:
        levels.append({level: getattr(task, level, None) for level in ("queue", "exchange", "routing_key")})
        if router.is_static:
            levels.append(router.lookup(task, (), {}, {})[0])
    try:
        queue = router.destination(*levels)
    except QueueNotFound:
        named = next((level["queue"] for level in levels if level.get("queue") is not None), None)
        if named is None:
            return
        queue = str(getattr(named, "name", named))
    if queue not in router.queues.declared:
        senders[queue].append(name)


def _check_zone(app: Any, schedule: Mapping[str, Entry]) -> Iterator[checks.CheckMessage]:
    try:
        ours, djangos = zone_of(app.conf.timezone), zone_of(settings.TIME_ZONE)
    except (TypeError, ValueError):
        return  # said by check_times
    names = [
        entry.name
        for entry in schedule.values()
        if isinstance(entry.schedule, crontab) and entry.schedule.timezone is None
    ]
    if names and not same_clocks(ours, djangos):
        yield found(
            "I001",
            f"The entry {names[0]!r} of the schedule goes by clocks in {app.conf.timezone}, and TIME_ZONE is "
            f"{settings.TIME_ZONE!r}.",
        )
