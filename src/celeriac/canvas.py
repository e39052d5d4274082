"""`Signature`: a call that is written down, to be sent later, in a batch, or when another task has ended.

Made by `task.s(...)`, `task.si(...)`, `task.signature(...)`, and `signature(...)` for a task known by name only. It is
a dict with the fields of Celery's signatures, so that it can travel in a message as it is. Sends through its task;
knows nothing of brokers.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, Self
from uuid import UUID

from celeriac import registry, sensitive
from celeriac.errors import CallError, WrongOption
from celeriac.generics import R
from celeriac.message.message import new_id
from celeriac.message.reprs import short
from celeriac.result import AsyncResult


class Applies(Protocol):
    """What a signature needs of a task."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def covers(self) -> sensitive.Sensitive | None:
        """Which of its arguments are not shown."""

    @property
    def apply_async(self) -> Callable[..., AsyncResult]:
        """Sends a call of it."""

    @property
    def apply(self) -> Callable[..., AsyncResult]:
        """Runs a call of it here and now."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call its function."""


#: What a call is: positional arguments, keyword arguments, options.
Merged = tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]


class Signature(dict[str, Any], Generic[R]):
    """A call of `task`, a task or the name of one, with some of its arguments and options, or all.

    `type` is the task itself, where `task` is a signature as a dict; `more` are options of `apply_async`.
    What is sent with it is put before its own arguments; options given later win. An `immutable` one keeps its
    arguments as they are. Raises CallError for Celery's other kinds (chain, group, chord), which are not here yet.
    """

    __slots__ = ("_app", "_task")

    def __init__(
        self,
        task: "Applies | str | dict[str, Any]",
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        app: Any = None,
        type: Applies | None = None,
        **more: Any,
    ) -> None:
        self._app = app
        self._task = type
        if isinstance(task, dict):
            name, args, kwargs = task.get("task"), task.get("args"), task.get("kwargs")
            options, immutable = task.get("options"), bool(task.get("immutable"))
            if not isinstance(name, str):
                raise CallError(f"A signature names its task: {{'task': ...}}, not {short.repr(dict(task))}.")
            if task.get("subtask_type"):
                raise CallError(f"A {task['subtask_type']} cannot be sent by this release of Celeriac.")
        elif isinstance(task, str):
            name = task
        else:
            name, self._task = task.name, task
        self["task"] = name
        self["args"] = tuple(args) if args else ()
        self["kwargs"] = dict(kwargs) if kwargs else {}
        self["options"] = {**(options or {}), **more} if options or more else {}
        self["subtask_type"] = None
        self["immutable"] = immutable

    @property
    def task(self) -> str:
        """The task's name."""
        name: str = self["task"]
        return name

    name = task

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments so far."""
        args: tuple[Any, ...] = self["args"]
        return args

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments so far."""
        kwargs: dict[str, Any] = self["kwargs"]
        return kwargs

    @property
    def options(self) -> dict[str, Any]:
        """The options of `apply_async` so far."""
        options: dict[str, Any] = self["options"]
        return options

    @property
    def immutable(self) -> bool:
        """Whether the arguments stay as they are."""
        return bool(self["immutable"])

    @property
    def id(self) -> str | None:
        """The id that it will be sent with, if it has one already."""
        return self.options.get("task_id")

    @property
    def app(self) -> Any:
        """The app that it is sent through."""
        return self._app if self._app is not None else registry.current_app()

    @property
    def type(self) -> Applies | None:
        """The task, None where this process does not know it."""
        if self._task is None:
            self._task = self.app.tasks.get(self.task)
        return self._task

    # -- changing it

    def merge(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Merged:
        """Return what is called if these are given besides."""
        merged = {**self.options, **options} if options else self.options
        if self.immutable:
            return self.args, self.kwargs, merged
        return (*args, *self.args), {**self.kwargs, **kwargs} if kwargs else self.kwargs, merged

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Add options of `apply_async` and return the same signature."""
        if immutable is not None:
            self["immutable"] = immutable
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Say whether the arguments stay as they are."""
        self["immutable"] = immutable

    def clone(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "Signature[R]":
        """Return another signature with these given besides."""
        args, kwargs, merged = self.merge(args, kwargs, **options)
        # Deep: what is linked to the copy is not linked to this one.
        return Signature(
            self._task or self.task,
            args,
            kwargs,
            copy.deepcopy(merged),
            immutable=self.immutable,
            app=self._app,
        )

    def link(self, callback: "Signature[Any]") -> "Signature[Any]":
        """Send `callback` once the task has succeeded, with its value as first argument; return `callback`."""
        return self._append("link", callback)

    def link_error(self, errback: "Signature[Any]") -> "Signature[Any]":
        """Send `errback` once the task has failed for good, with its id as first argument; return `errback`.

        The function of a task that takes more than that is called by the worker that saw the failure, as
        `errback(request, exc, traceback)`.
        """
        return self._append("link_error", errback)

    def on_error(self, errback: "Signature[Any]") -> Self:
        """`link_error`, returning the same signature."""
        self.link_error(errback)
        return self

    def _append(self, option: str, callback: "Signature[Any]") -> "Signature[Any]":
        found = self.options[option] = as_list(self.options.get(option))
        if callback not in found:
            found.append(callback)
        return callback

    def freeze(self, _id: str | None = None) -> AsyncResult[R]:
        """Give it an id, unless it has one, and return the handle of the task that it will be."""
        task_id = self.options.setdefault("task_id", _id or new_id())
        return AsyncResult(str(task_id) if isinstance(task_id, UUID) else task_id, self._app)

    # -- sending it

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult[R]:
        """Send the call, with these arguments besides."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Send the call, with these arguments and options besides; raises as `Task.apply_async` does."""
        given = {name: value for name, value in options.items() if value is not None}
        args, kwargs, merged = self.merge(args or (), kwargs, **given)
        if self.type is not None:
            return self.type.apply_async(args, kwargs, **merged)
        sent: AsyncResult[R] = self.app.send_task(self.task, args, kwargs, **merged)
        return sent

    def apply(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Run the call in this process, as `Task.apply` does."""
        args, kwargs, merged = self.merge(args or (), kwargs, **options)
        return self._known().apply(args, kwargs, **merged)

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Call the function, here, as any other."""
        args, kwargs, _ = self.merge(args, kwargs)
        value: R = self._known()(*args, **kwargs)
        return value

    def _known(self) -> Applies:
        if self.type is None:
            raise CallError(f"Task {self.task!r} is not known here, so it can be sent but not called.")
        return self.type

    def __repr__(self) -> str:
        task = self._task
        covers = sensitive.BY_NAME if task is None else task.covers
        args, kwargs = (self.args, self.kwargs) if covers is None else covers.cover(self.args, self.kwargs)
        shown = [*map(short.repr, args), *(f"{name}={short.repr(value)}" for name, value in kwargs.items())]
        return f"{self.task}({', '.join(shown)})"

    def __reduce__(self) -> Any:
        return (Signature, (dict(self),))


def signature(task: "Applies | str | dict[str, Any]", *args: Any, **kwargs: Any) -> Signature[Any]:
    """Return the signature of a call: `signature("shop.tasks.add", args=(1, 2), queue="mail")`.

    `task` is a task, its name, or a signature as a dict (of which a copy is returned).
    """
    return task.clone() if isinstance(task, Signature) else Signature(task, *args, **kwargs)


def as_list(callbacks: Any) -> list[Any]:
    """Return what was given as `link` or `link_error`, one signature or several, as a new list."""
    if not callbacks:
        return []
    return [callbacks] if isinstance(callbacks, Mapping) else list(callbacks)


def on_wire(callbacks: Any, option: str) -> list[dict[str, Any]] | None:
    """Return what was given as `link` or `link_error` as plain dicts for a message; raises WrongOption."""
    if not callbacks:
        return None
    try:
        return [_plain(each, option) for each in as_list(callbacks)]
    except TypeError:
        raise WrongOption(
            f"{option} must be a signature or a list of signatures, not {short.repr(callbacks)}: "
            f"{option}=task.s(...)"
        ) from None


def _plain(callback: Any, option: str) -> dict[str, Any]:
    if not isinstance(callback, Mapping) or not isinstance(callback.get("task"), str):
        raise TypeError
    options = {
        name: on_wire(value, name) if name in ("link", "link_error") else value
        for name, value in (callback.get("options") or {}).items()
    }
    return {**callback, "options": options}
