"""Do arguments fit a task, and can they travel: the checks at the caller's side, and reprs for people.

Used by `celeriac.task` and `celeriac.app`. The fast checks are set operations; only a call that fails them
is looked at closely, to say what is wrong in words.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from celeriac.errors import CallError, EncodeError, ModelArgument
from celeriac.message.reprs import bounded_repr as bounded_repr
from celeriac.message.reprs import short
from celeriac.message.serializers import JSON, Serializer
from celeriac.sensitive import BY_NAME, Sensitive

_KINDS = inspect.Parameter


class Arity:
    """What arguments a function takes, in a form that is quick to check."""

    __slots__ = ("keywords", "names", "positional", "required", "signature", "var_keyword", "var_positional")

    def __init__(self, function: Callable[..., Any], skip_first: bool) -> None:
        parameters = list(inspect.signature(function).parameters.values())[1 if skip_first else 0 :]
        positional = [
            p for p in parameters if p.kind in (_KINDS.POSITIONAL_ONLY, _KINDS.POSITIONAL_OR_KEYWORD)
        ]
        keywords = [p for p in parameters if p.kind in (_KINDS.KEYWORD_ONLY, _KINDS.POSITIONAL_OR_KEYWORD)]
        named = [p for p in positional if p.kind is _KINDS.POSITIONAL_OR_KEYWORD]
        self.signature = inspect.Signature(parameters)
        self.positional = len(positional)
        self.names = [p.name for p in named]
        self.keywords = frozenset(p.name for p in keywords)
        self.required = frozenset(
            p.name
            for p in parameters
            if p.default is p.empty and p.kind not in (_KINDS.VAR_POSITIONAL, _KINDS.VAR_KEYWORD)
        )
        self.var_positional = any(p.kind is _KINDS.VAR_POSITIONAL for p in parameters)
        self.var_keyword = any(p.kind is _KINDS.VAR_KEYWORD for p in parameters)
        if len(named) != len(positional):
            # Positional-only parameters: leave the whole check to inspect.
            self.positional = -1

    def fits(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Return whether the call can be made. False may also mean: ask `explain`."""
        count = len(args)
        if count > self.positional and not (self.var_positional and self.positional >= 0):
            return False
        filled = self.names[:count]
        if not kwargs:
            return self.required.issubset(filled)
        given = kwargs.keys()
        if not self.var_keyword and not self.keywords.issuperset(given):
            return False
        return given.isdisjoint(filled) and self.required.difference(filled).issubset(given)

    def explain(
        self, name: str, covers: Sensitive | None, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Raise CallError if the call cannot be made, in words, without what `covers` hides."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            args, kwargs = (covers or BY_NAME).cover_misfit(args, kwargs)
            shown = ", ".join([*map(short.repr, args), *(f"{k}={short.repr(v)}" for k, v in kwargs.items())])
            parameters = str(self.signature)
            raise CallError(
                f"{name}{parameters} was called with ({shown}): {error}.{caller_place()}"
            ) from None


def caller_place() -> str:
    """Return "  At FILE:LINE" of the innermost frame outside this package, or nothing."""
    package = str(Path(__file__).parent)
    frame = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(package):
            path = Path(filename)
            try:
                shown = path.relative_to(Path.cwd())
            except ValueError:
                shown = path
            return f"  At {shown}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


_ADVICE = {
    "set": "Pass sorted({0}) or list({0}).",
    "frozenset": "Pass sorted({0}) or list({0}).",
    "function": "Pass the name of a function or data, not code.",
    "WSGIRequest": "Pass request.user.pk and the values you need.",
    "ASGIRequest": "Pass request.user.pk and the values you need.",
    "HttpRequest": "Pass request.user.pk and the values you need.",
    "QuerySet": "Pass list({0}.values_list('pk', flat=True)) and query in the task.",
    "TextIOWrapper": "Pass the file's path.",
    "BufferedReader": "Pass the file's path.",
    "coroutine": "Await it first and pass what it returns.",
    "generator": "Pass list({0}).",
    "timedelta": "Pass {0}.total_seconds().",
}
_GOOD_TYPES = (
    "None, bool, int, float, str, list, dict, tuple, datetime, date, time, Decimal, UUID, bytes, "
    "Enum, dataclass"
)


def explain_unencodable(
    name: str,
    arity: Arity | None,
    covers: Sensitive | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    serializer: Serializer,
    error: Exception,
) -> EncodeError:
    """Return the error that names the argument which cannot be serialised, and what to do about it.

    Of an argument that `covers` hides it says only what it is.
    """
    names = list(arity.names) if arity is not None else []
    named = [(names[i] if i < len(names) else f"#{i + 1}", i, value) for i, value in enumerate(args)]
    for argument, position, value in [*named, *((key, None, value) for key, value in kwargs.items())]:
        try:
            serializer.dumps(value)
        except EncodeError as cause:
            hidden = covers is not None and covers.hides(argument, position)
            return _explain_one(name, argument, value, serializer, None if hidden else cause)
    why = f": {error}" if covers is None else "."
    return EncodeError(
        f"The arguments of {name} cannot be serialised as {serializer.name}{why}{caller_place()}"
    )


def _explain_one(
    name: str, argument: str, value: Any, serializer: Serializer, cause: Exception | None
) -> EncodeError:
    """Return the error of one argument; without a `cause` nothing of its value is told."""
    shown, value = _innermost(argument, value, serializer)
    shown = shown if cause is not None else argument
    kind, place = type(value).__name__, caller_place()
    if hasattr(type(value), "_meta") and hasattr(value, "pk"):
        held = "is a Django model" if shown == argument else f"holds at {shown} a Django model"
        which = f"{kind} {value.pk}" if cause is not None else kind
        return ModelArgument(
            f'Argument "{argument}" of {name} {held} ({which}), which cannot go on the queue. '
            f"Pass {shown}.pk and read it in the task: {kind}.objects.get(pk={argument}_pk).{place}"
        )
    if isinstance(
        value, str | int | float | dict | list | tuple
    ):  # not for its type: too large, or a dict's keys
        why = f": {str(cause).rstrip('.')}" if cause is not None else ""
        return EncodeError(f'"{shown}" of {name} cannot be serialised as {serializer.name}{why}.{place}')
    held = f"is {_a(kind)}" if shown == argument else f"holds {_a(kind)} at {shown}"
    advice = _ADVICE.get(kind, "").format(shown)
    works = "Types that work" if serializer is JSON else "Types that work with serializer='json'"
    return EncodeError(
        f'Argument "{argument}" of {name} {held}, which {serializer.name.upper()} cannot hold. '
        f"{advice}{' ' if advice else ''}{works}: {_GOOD_TYPES}.{place}"
    )


def _a(kind: str) -> str:
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


#: How far into an argument the part is looked for that cannot be serialised: it may contain itself.
_LEVELS = 10


def _innermost(path: str, value: Any, serializer: Serializer) -> tuple[str, Any]:
    """Return the part of a list or dict that cannot be serialised, and where it is: `order["items"][2]`."""
    for _ in range(_LEVELS):
        key, part = _spoilt_part(value, serializer)
        if part is None:
            return path, value
        path, value = f"{path}[{key!r}]", part
    return path.partition("[")[0], []  # too deep to say where


def _spoilt_part(value: Any, serializer: Serializer) -> tuple[Any, Any]:
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    for key, part in parts:
        try:
            serializer.dumps(part)
        except EncodeError:
            return key, part
    return None, None
