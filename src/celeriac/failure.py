"""How an exception is written down, and what is made of it where it is read: the JSON of Celery's stores, and text.

Used by `celeriac.execute`, which writes, and `celeriac.result`, which reads.
"""

import builtins
import sys
import traceback
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any

import msgspec

from celeriac import errors
from celeriac.errors import EncodeError, TaskError
from celeriac.message import serializers


class ExceptionInfo:
    """What handlers get as `einfo`: the exception, its class, and the traceback as text, which is also its `str()`."""

    __slots__ = ("exception", "tb", "traceback", "type")

    def __init__(self, error: BaseException, text: str | None = None) -> None:
        self.exception = error
        self.type = type(error)
        self.tb: TracebackType | None = error.__traceback__
        self.traceback = format_traceback(error) if text is None else text

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


class _Failure(msgspec.Struct):
    exc_type: str = "Exception"
    exc_message: Any = None
    exc_module: str | None = None


_decode_failure = msgspec.json.Decoder(_Failure).decode


def failure_json(error: BaseException) -> bytes:
    """Return an exception as Celery's stores keep it."""
    arguments: list[Any] = list(error.args)
    if not arguments and (text := safe_text(error)):
        arguments = [text]  # what it is made of stands elsewhere, as in pydantic's errors
    try:
        told = serializers.json_dumps(arguments)
    except EncodeError:
        told = serializers.json_dumps([safe_text(error)])
    cls = type(error)
    head = serializers.json_dumps({"exc_type": cls.__name__, "exc_module": cls.__module__})
    return head[:-1] + b',"exc_message":' + told + b"}"


def rebuild_exception(stored: bytes, allowed: Iterable[str] = ()) -> BaseException:
    """Return an exception that tells what the JSON of a failed task tells.

    Built-in exceptions and our own are rebuilt as themselves, and those whose dotted names match one of `allowed`
    ("shop.errors.OutOfStock", "shop.*") if their module has been imported; any other becomes a TaskError of the same
    name, since what is stored must never decide which class of the project is called.
    """
    try:
        failure = _decode_failure(stored)
    except msgspec.MsgspecError:
        return TaskError(stored.decode(errors="replace"))
    arguments = failure.exc_message
    if not isinstance(arguments, list | tuple):
        arguments = [] if arguments is None else [arguments]
    cls = _find(failure.exc_type, failure.exc_module, allowed)
    try:
        return cls(*arguments)
    except Exception:
        return _told_by_itself(cls, arguments) or TaskError(f"{failure.exc_type}: {failure.exc_message}")


def _told_by_itself(cls: type[BaseException], arguments: list[Any]) -> BaseException | None:
    """Return an exception that is made of nothing and says what was stored; None if it is not one of these."""
    try:
        made = cls()
        return made if [str(made)] == arguments else None
    except Exception:
        return None


def _find(name: str, module: str | None, allowed: Iterable[str]) -> type[BaseException]:
    if module in ("celeriac.errors", "celery.exceptions", "billiard.exceptions"):
        found = getattr(errors, "TaskTimeout" if name == "TimeoutError" else name, None)
    elif module in (None, "builtins"):
        found = getattr(builtins, name, None)
    elif any(fnmatchcase(f"{module}.{name}", pattern) for pattern in allowed):
        found = getattr(sys.modules.get(module), name, None)
    else:
        found = None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    return type(
        name if name.isidentifier() else "TaskError", (TaskError,), {"__module__": module or __name__}
    )


def format_traceback(error: BaseException, leave_out: Collection[str] = ()) -> str:
    """Return the traceback of `error` as text, without its first frames if they are of the files `leave_out`."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename in leave_out:
            frames = frames.tb_next
        return _encodable("".join(traceback.format_exception(type(error), error, frames)))
    except Exception:
        return f"{type(error).__name__}: {safe_text(error)}"


def safe_text(value: Any) -> str:
    """Return str(value) even where that raises, and as text that can be encoded."""
    try:
        return _encodable(str(value))
    except Exception:
        return f"<{type(value).__name__}>"


def _encodable(text: str) -> str:
    """Write lone surrogates, which names of files can bring along, as escapes."""
    return text.encode(errors="backslashreplace").decode()
