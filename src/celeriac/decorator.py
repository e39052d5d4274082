"""What `@app.task` and `@shared_task` come down to: from a function and options to a task.

`celeriac.app` calls `make_task`; the protocols are what type checkers see of the decorators.
"""

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Concatenate, Literal, Protocol, Unpack, overload

from celeriac import options as option_table
from celeriac import sensitive
from celeriac.arguments import Arity, caller_place
from celeriac.errors import NotATask, UnknownOption
from celeriac.generics import P, R
from celeriac.options import TaskOptions
from celeriac.task import AsyncTask, Sends, Task


class Decorates(Protocol):
    """`@task(**options)`, of functions and coroutine functions."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class DecoratesBound(Protocol):
    """`@task(bind=True, **options)`: the first parameter is the task and is not passed by callers."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...


class MakesTasks(Protocol):
    """`@app.task` and `@shared_task`, with and without options."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[TaskOptions]
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /, **options: Unpack[TaskOptions]) -> Task[P, R]: ...
    @overload
    def __call__(self, *, bind: Literal[True], **options: Unpack[TaskOptions]) -> DecoratesBound: ...
    @overload
    def __call__(self, *, bind: Literal[False] = False, **options: Unpack[TaskOptions]) -> Decorates: ...


def make_task(function: Callable[..., Any], app: Sends | None, name: str, given: Mapping[str, Any]) -> Task:
    """Return the task for a function and the options of its decorator.

    Raises UnknownOption, or NotATask for a function that cannot be a task.
    """
    option_table.refuse_unknown(given, _KNOWN, (), f"@task of {name}", caller_place)
    base: type[Task] = given.get("base") or Task
    if base is Task and inspect.iscoroutinefunction(function):
        base = AsyncTask
    bound = bool(given.get("bind"))
    _check_function(function, name, bound)
    task = base()
    _set(task, {option: value for option, value in given.items() if option not in _OF_DECORATOR})
    task.__doc__ = function.__doc__
    task.__dict__.update(__module__=function.__module__, __name__=function.__name__, __wrapped__=function)
    return bind(task, function.__get__(task) if bound else function, app, name, Arity(function, bound))


_KNOWN = option_table.TASK.keys() | option_table.METHODS | option_table.TASK_NOT_YET
_OF_DECORATOR = frozenset({"name", "bind", "base"})
_EXCEPTIONS = frozenset({"autoretry_for", "dont_autoretry_for", "throws"})


def _exceptions(value: Any) -> tuple[type[BaseException], ...]:
    return tuple(value) if isinstance(value, Iterable) else (value,)


def _set(task: Task, given: Mapping[str, Any]) -> None:
    """Give a task its options; a function becomes its method."""
    for option, value in given.items():
        if option in option_table.METHODS:
            task.__dict__[option] = value.__get__(task)
        elif option in option_table.TASK:
            setattr(task, option, _exceptions(value) if option in _EXCEPTIONS else value)
    ignored = set(given) & option_table.TASK_NOT_YET
    task.ignored_options = tuple(sorted(ignored.union(task.ignored_options)))


def annotate(task: Task, given: Mapping[str, Any]) -> None:
    """Give a task options over its own, as `task_annotations` does; raises UnknownOption.

    Under "@run", or another method's name behind an @, stands a function that is given the method and returns
    what takes its place.
    """
    around = {key[1:]: value for key, value in given.items() if key.startswith("@")}
    options = {key: value for key, value in given.items() if not key.startswith("@")}
    option_table.refuse_unknown(options, _KNOWN - _OF_DECORATOR, (), f"task_annotations of {task.name}")
    _set(task, options)
    for method, wrap in around.items():
        _put_around(task, method, wrap)
    _work_out(task)


def _put_around(task: Task, method: str, wrap: Callable[[Any], Any]) -> None:
    """Put what `wrap` makes of a method in its place: on a class of the task's own, where `task()` looks too."""
    cls = type(task)
    held = getattr(cls, method, None)
    if not callable(held):
        raise UnknownOption(f"task_annotations of {task.name} has '@{method}', which is no method of a task.")
    # Of several the last counts, as in Celery; which takes a decorator of the project's own for an earlier one.
    original = getattr(held, _AROUND, None) or _given(task, method) or held
    made = wrap(original)
    setattr(made, _AROUND, original)
    task.__class__ = type(cls.__name__, (cls,), {"__module__": cls.__module__, method: made})
    task.__dict__.pop(method, None)


def _given(task: Task, method: str) -> Any:
    """Return the function that a task itself holds as a method: its own, or a handler among its options."""
    if method == "run":
        return task.__dict__.get("__wrapped__")
    return getattr(task.__dict__.get(method), "__func__", None)


_AROUND = "_celeriac_around"


def bind(task: Task, call: Callable[..., Any], app: Sends | None, name: str, arity: Arity) -> Task:
    """Finish a task object: what runs, under which name, for which app."""
    task.name = name
    task._app = app
    task.__dict__["run"] = call
    task.arity = arity
    task.is_async = inspect.iscoroutinefunction(call)
    _work_out(task)
    return task


def _work_out(task: Task) -> None:
    """Note what is looked at for each call, from the options and methods."""
    if task.arity is not None:
        task.covers = _covers(task, task.arity)
    if not task.typing:
        task.arity = None
    if task.pydantic:
        from celeriac.pydantic_models import validate  # noqa: PLC0415 - for the few tasks that ask for it

        validate(task)
    # What a class does around each run, in a `__call__` of its own, it does in a worker as well.
    task.call = task.run if type(task).__call__ in _PLAIN_CALLS else task.__call__
    task.is_async = task.is_async or inspect.iscoroutinefunction(task.call)
    if _overrides(task, "apply_async"):
        task.sends_itself = True
        if not _overrides(task, "delay"):
            task.__dict__["delay"] = task._delay_through_apply_async
    task.has_handlers = any(_overrides(task, name) for name in _HANDLERS)
    task.has_shadow_name = _overrides(task, "shadow_name")


def _covers(task: Task, arity: Arity) -> sensitive.Sensitive | None:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [each.name for each in arity.signature.parameters.values() if each.kind in kinds]
    return sensitive.of_task(parameters, arity.keywords, arity.var_keyword, task.sensitive)


def _overrides(task: Task, method: str) -> bool:
    return method in task.__dict__ or getattr(type(task), method) is not getattr(Task, method)


_PLAIN_CALLS = (Task.__call__, AsyncTask.__call__)
_HANDLERS = ("before_start", "on_success", "on_retry", "on_failure", "after_return")


def _check_function(function: Callable[..., Any], name: str, bound: bool) -> None:
    if isinstance(function, Task):
        raise NotATask(f"{name} is a task already: apply @task or @shared_task once.")
    first = next(iter(inspect.signature(function).parameters), None)
    if first == "self" and not bound:
        raise NotATask(
            f'{name} has a parameter "self" but is not bound: write @task(bind=True), or remove self.'
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise NotATask(f"{name} is a generator, which would never run: return a list.")
