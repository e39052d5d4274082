"""Tasks with `pydantic=True`: models are dumped where a call is sent, validated before the function, dumped after it.

`celeriac.decorator` calls `validate` for such a task, nobody else imports this. Annotations are looked at when the
task is first sent or run, so that they may name what is defined further down.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any

from celeriac.errors import NotInstalled
from celeriac.task import Task

#: What models are handled with on a task's way, set on what `validate` puts in place of `run`.
_MODELS = "_celeriac_models"


def validate(task: Task) -> None:
    """Put validation around a task's function; raises NotInstalled. May be called again after options have changed."""
    try:
        import pydantic  # noqa: PLC0415 - only tasks that ask for it need it
    except ImportError:
        raise NotInstalled(
            f"{task.name} has pydantic=True, which needs the package pydantic. Install it: "
            "pip install 'celeriac[pydantic]'"
        ) from None
    run = getattr(task.run, "__wrapped__", task.run) if hasattr(task.run, _MODELS) else task.run
    models = Models(task, run, pydantic.BaseModel)
    task.__dict__["run"] = models.around()
    task.dump_arguments = models.dump


class Models:
    """Which of a task's parameters are models, and what is done with them on the way. `base` is `BaseModel`."""

    def __init__(self, task: Task, run: Callable[..., Any], base: Any) -> None:
        self._task = task
        self._run = run
        self._base = base
        self._signature = inspect.signature(run)
        self._dump_options = {"mode": "json", **(task.pydantic_dump_kwargs or {})}

    def around(self) -> Callable[..., Any]:
        """Return the function with validation before it, and dumping after it."""
        run = self._run
        if inspect.iscoroutinefunction(run):

            @functools.wraps(run)
            async def call(*args: Any, **kwargs: Any) -> Any:
                args, kwargs = self._validated(args, kwargs)
                return self._dumped(await run(*args, **kwargs))
        else:

            @functools.wraps(run)
            def call(*args: Any, **kwargs: Any) -> Any:
                args, kwargs = self._validated(args, kwargs)
                return self._dumped(run(*args, **kwargs))

        setattr(call, _MODELS, self)
        return call

    @functools.cached_property
    def _annotations(self) -> Mapping[str, Any]:
        try:
            return typing.get_type_hints(self._run)
        except (NameError, AttributeError, TypeError):
            # Names that exist for type checkers only: the annotations that are classes as they stand count.
            named = {name: each.annotation for name, each in self._signature.parameters.items()}
            return {**named, "return": self._signature.return_annotation}

    def _model(self, name: str) -> Any:
        """Return the model that a parameter is annotated with, as it is or as optional; None for another."""
        annotation = _unless_none(self._annotations.get(name))
        return annotation if isinstance(annotation, type) and issubclass(annotation, self._base) else None

    # -- in the worker

    def _validated(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        bound = self._signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            model = self._model(name)
            if model is None:
                continue
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(self._validate(model, name, each) for each in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {
                    key: self._validate(model, name, each) for key, each in value.items()
                }
            else:
                bound.arguments[name] = self._validate(model, name, value)
        return bound.args, bound.kwargs

    def _validate(self, model: Any, name: str, value: Any) -> Any:
        task = self._task
        if value is None and model is not self._annotations.get(name):
            return None  # it is optional
        context = {**(task.pydantic_context or {}), "celery_app": task.app, "celery_task_name": task.name}
        return model.model_validate(value, strict=task.pydantic_strict, context=context)

    def _dumped(self, value: Any) -> Any:
        if isinstance(value, self._base):
            annotation = _unless_none(self._annotations.get("return"))
            if isinstance(annotation, type) and isinstance(value, annotation):
                model: Any = value
                return model.model_dump(**self._dump_options)
        return value

    # -- where the call is sent

    def dump(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call with models as plain data, where the worker makes equal models of that."""
        if not any(isinstance(value, self._base) for value in (*args, *kwargs.values())):
            return args, kwargs
        names = self._names(len(args))
        keywords = self._signature.parameters.keys()
        rest = next((p.name for p in self._signature.parameters.values() if p.kind is p.VAR_KEYWORD), "")
        return (
            [self._plain(name, value) for name, value in zip(names, args, strict=True)],
            {key: self._plain(key if key in keywords else rest, value) for key, value in kwargs.items()},
        )

    def _names(self, count: int) -> list[str]:
        """Return the parameters that so many positional arguments go to."""
        parameters = self._signature.parameters.values()
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        return [*names, *[rest] * (count - len(names))][:count]

    def _plain(self, name: str, value: Any) -> Any:
        model = self._model(name) if isinstance(value, self._base) else None
        if model is None or hasattr(type(value), "__json__"):
            return value
        try:
            dumped = value.model_dump(**self._dump_options)
            # Equality looks at the class as well: of a subclass the worker would make another thing.
            return dumped if self._validate(model, name, dumped) == value else value
        except Exception:
            # The project's own serializers and validators, of which some may work in a worker only. The serializer
            # has the last word on a model that stays as it is.
            return value


def _unless_none(annotation: Any) -> Any:
    """Return `X` of `X | None`, any other annotation as it is."""
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        others = [each for each in typing.get_args(annotation) if each is not type(None)]
        if len(others) == 1:
            return others[0]
    return annotation
