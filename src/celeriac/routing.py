"""Routes: which queue a call goes to, and with which options, by `task_routes` in all of Celery's forms.

Asked by `celeriac.sending`, which keeps the answer for a task as long as no function has a say in it. Knows no
broker, and sends nothing.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from celeriac import options as option_table
from celeriac.arguments import caller_place
from celeriac.config import Settings
from celeriac.errors import ImproperlyConfigured, QueueNotFound
from celeriac.queues import Queues
from celeriac.schemes import imported

_FORMS = "a dict, a list of pairs, a function, its dotted name, or a list of these"


class Router:
    """`task_routes` and `task_queues` under some settings. Raises ImproperlyConfigured, UnknownOption."""

    def __init__(self, conf: Settings) -> None:
        self._read = _read(conf)
        self.queues = Queues(conf)
        self._routers = _prepare(conf.task_routes)

    @property
    def is_static(self) -> bool:
        """Whether no function has a say, so that a task's queue can be told before it is sent."""
        return all(isinstance(router, MapRoute) for router in self._routers)

    def outdated(self, conf: Settings) -> bool:
        """Return whether the settings have changed since."""
        return any(old is not new for old, new in zip(self._read, _read(conf), strict=True))

    def lookup(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], bool]:
        """Return the options of the first router that knows the task, and whether they are the same at each call."""
        static = True
        for router in self._routers:
            if isinstance(router, MapRoute):
                found = router.options(task.name)
            else:
                static = False
                found = _ask(router, task, args, kwargs, options)
            if found is not None:
                return found, static
        return {}, static

    def destination(self, *levels: Mapping[str, Any]) -> str:
        """Return the queue that the first of `levels` names which names any: the call, the task, its route.

        A queue counts before exchange and routing key. Raises QueueNotFound.
        """
        lost = ""
        for level in levels:
            if level.get("queue") is not None:
                return self.queues.name(level["queue"])
            exchange, key = level.get("exchange"), level.get("routing_key")
            if exchange is not None or key is not None:
                found = self.queues.bound(exchange, key)
                if found is not None:
                    return found
                lost = lost or f"exchange {exchange!r}, routing key {key!r}"
        if lost:
            raise QueueNotFound(
                f"No queue of task_queues is bound to {lost}. Name a queue: queue=..., or declare one with this "
                f"exchange and key.{caller_place()}"
            )
        return self.queues.name(self.queues.default)


def _read(conf: Settings) -> tuple[Any, ...]:
    """Return all that routes depend on."""
    return (
        conf.task_routes,
        conf.task_queues,
        conf.task_create_missing_queues,
        conf.task_default_queue,
        conf.task_default_exchange,
        conf.task_default_exchange_type,
        conf.task_default_routing_key,
    )


class MapRoute:
    """A router made of names and patterns: exact names first, then globs and compiled expressions in order."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self._names: dict[str, Mapping[str, Any]] = {}
        self._patterns: list[tuple[re.Pattern[str], Mapping[str, Any]]] = []
        for key, value in pairs:
            route = as_options(value, f"task_routes, {key!r}")
            if isinstance(key, re.Pattern):
                self._patterns.append((key, route))
            elif "*" in key:
                self._patterns.append((re.compile(fnmatch.translate(key)), route))
            else:
                self._names[key] = route

    def options(self, name: str) -> Mapping[str, Any] | None:
        """Return the options of a task name, None if it matches nothing."""
        found = self._names.get(name)
        if found is not None:
            return found
        return next((route for pattern, route in self._patterns if pattern.match(name)), None)


def as_options(value: Any, place: str) -> Mapping[str, Any]:
    """Return a route, that may be the name of a queue or a queue, as options; raises UnknownOption."""
    if isinstance(value, Mapping):
        option_table.refuse_unknown(value, option_table.ROUTE, (), place)
        return value
    if isinstance(value, str) or hasattr(value, "name"):
        return {"queue": value}
    raise ImproperlyConfigured(f"{place}: {value!r} is neither a queue nor a dict of options.")


def _ask(
    router: Callable[..., Any],
    task: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Mapping[str, Any] | None:
    """Return what a function, or an object with `route_for_task`, says about a call."""
    by_name = getattr(router, "route_for_task", None)
    if by_name is not None:
        found = by_name(task.name, args, kwargs)
    else:
        found = router(task.name, args, kwargs, dict(options), task=task)
    return (
        None
        if found is None
        else as_options(found, f"the route of {task.name} by {router!r}")
        if found
        else {}
    )


def _prepare(source: Any) -> list[Any]:
    """Return the routers in `task_routes`, each a MapRoute or something to call."""
    if source is None:
        return []
    if _are_pairs(source):
        source = [source]
    elif not isinstance(source, list | tuple):
        source = (source,)
    return [_router(each) for each in source]


def _router(source: Any) -> Any:
    if isinstance(source, Mapping):
        return MapRoute(source.items())
    if isinstance(source, list | tuple) and (not source or _are_pairs(source)):
        return MapRoute(source)
    if isinstance(source, str):
        found = imported(source, "task_routes")
        return found() if isinstance(found, type) else found if callable(found) else _router(found)
    if callable(source) or hasattr(source, "route_for_task"):
        return source
    raise ImproperlyConfigured(f"task_routes: {source!r} is no router. It is {_FORMS}.")


def _are_pairs(source: Any) -> bool:
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(
            isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | re.Pattern)
            for pair in source
        )
    )
