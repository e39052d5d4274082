"""What a worker writes to the terminal or a file: its formatters, which `log_setup` hands out.

The worker knows nothing of this: its records carry their facts in `record.celeriac` and a message that reads without
them.
"""

import json
import logging
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from celeriac.cli.paint import Paint
from celeriac.cli.tracebacks import own_frames
from celeriac.context import current
from celeriac.log import name_task

ARGS_WIDTH = 80

#: kind of a run's end: symbol, symbol where that cannot be written, colour.
_SYMBOLS = {
    "succeeded": ("✓", "+", "green"),
    "failed": ("✕", "x", "red"),
    "dead": ("✕", "x", "red"),
    "retried": ("↻", "~", "yellow"),
    "rejected": ("↻", "~", "yellow"),
    "revoked": ("◷", "-", "blue"),
    "ignored": ("◷", "-", "blue"),
}
_LEVELS = {logging.WARNING: ("!", "yellow"), logging.ERROR: ("✕", "red"), logging.CRITICAL: ("✕", "red")}
# C0 and C1 controls, and what turns or breaks lines in other scripts: nothing of a task may write over the log.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_KEY = re.compile(r"'([A-Za-z_]\w*)': ")


class Lines(logging.Formatter):
    """One line for each record: time, symbol, task and arguments, durations, id."""

    def __init__(
        self,
        paint: Paint,
        *,
        tag: str = "",
        plain: bool = False,
        all_frames: bool = False,
        long_ids: bool = False,
        datefmt: str | None = None,
    ) -> None:
        super().__init__()
        self._datefmt = datefmt
        self._paint = paint
        self._tag = f"{paint(tag, 'green')}  " if tag else ""
        self._beats_tag = f"{paint('beat', 'blue')}  " if tag else ""
        self._plain = plain
        self._all_frames = all_frames
        self._long_ids = long_ids
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "celeriac", None)
        head = f"{self._paint(self._clock(record.created), 'dim')} "
        head += self._beats_tag if record.name == "celeriac.beat" else self._tag
        line = head + (
            self._task_line(facts) if isinstance(facts, dict) else self._message(record) + self._said_by()
        )
        trace = self._trace(record, facts)
        return f"{line}\n{trace}" if trace else line

    def _clock(self, moment: float) -> str:
        second = int(moment)
        if self._datefmt is not None:
            return time.strftime(self._datefmt, time.localtime(second))
        if self._second[0] != second:
            self._second = (second, time.strftime("%H:%M:%S", time.localtime(second)))
        return f"{self._second[1]}.{int(moment * 1000) % 1000:03d}"

    def _message(self, record: logging.LogRecord) -> str:
        text = "\n".join(escaped(line) for line in record.getMessage().splitlines())
        symbol, colour = _LEVELS.get(record.levelno, ("", ""))
        if not symbol:
            return text
        return f"{self._paint('x' if self._plain and symbol == '✕' else symbol, colour)} {text}"

    def _said_by(self) -> str:
        """The task that is running, where it is one that says something."""
        request = current.get()
        if request is None:
            return ""
        name = escaped(request.task).rpartition(".")[2]
        return f"  {self._paint(name, 'cyan')}  {self._paint(self._id({'id': request.id}), 'dim')}"

    def _task_line(self, facts: dict[str, Any]) -> str:
        paint = self._paint
        kind = facts.get("kind", "")
        symbol, plain, colour = _SYMBOLS.get(kind, ("·", ".", "dim"))
        name = escaped(str(facts.get("name", ""))).rpartition(".")[2]
        arguments = call_text(facts.get("args") or "")
        call = paint(name, "cyan") + (paint(f"({arguments})", "dim") if arguments else "")
        parts = [f"{paint(plain if self._plain else symbol, colour)} {call}"]
        if kind in ("revoked", "ignored", "rejected", "dead"):
            parts.append({"rejected": "put back", "dead": "set aside"}.get(kind, kind))
        error = _first_line(str(facts.get("error") or ""))
        if error:
            # That a task was revoked is said already; the text says why.
            parts.append(escaped(error.partition(": ")[2] or error if kind == "revoked" else error))
        if kind in ("succeeded", "ignored"):
            parts.append(duration(facts.get("ran") or 0.0))
        parts += [paint(part, "dim") for part in self._details(kind, facts) if part]
        return "  ".join(parts)

    def _details(self, kind: str, facts: dict[str, Any]) -> list[str]:
        """What is told in the background."""
        if kind == "retried":
            tries = f"try {facts.get('attempt')}"
            tries += f" of {facts['of']}" if facts.get("of") else ""
            next_in = facts.get("next_in")
            return [
                tries + (f", next in {duration(next_in)}" if next_in is not None else ""),
                self._id(facts),
            ]
        if kind in ("failed", "dead"):
            return [escaped(shown_place(facts.get("place") or "")), escaped(str(facts.get("id") or ""))[:64]]
        waited = facts.get("waited")
        return [f"waited {duration(waited)}" if waited is not None else "", self._id(facts)]

    def _id(self, facts: dict[str, Any]) -> str:
        """The id, cut on a terminal to what tells it from others: the end of one that begins with the time."""
        task_id = escaped(str(facts.get("id") or ""))
        if self._long_ids or len(task_id) != 36:
            return task_id[:64]
        return task_id[-8:] if task_id[14] == "7" else task_id[:8]

    def _trace(self, record: logging.LogRecord, facts: Any) -> str:
        text = facts.get("traceback") if isinstance(facts, dict) else None
        if not text and record.exc_info:
            text = self.formatException(record.exc_info)
        if not text:
            return ""
        text = text.rstrip() if self._all_frames or not isinstance(facts, dict) else own_frames(text)
        lines = (_CONTROLS.sub(_escape, line.replace("\t", "    ")) for line in text.splitlines())
        return "\n".join(self._paint("    " + line, "dim") for line in lines)


_LEVEL_COLOURS = {"DEBUG": "blue", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "magenta"}


class Formatted(logging.Formatter):
    """Lines in a format of the project's own, `worker_log_format` or `worker_task_log_format`, coloured by level."""

    def __init__(self, text: str, datefmt: str | None, paint: Paint) -> None:
        super().__init__(text, datefmt)
        self._paint = paint
        self._main = os.getpid()

    def format(self, record: logging.LogRecord) -> str:
        name_task(record)
        if os.getpid() != self._main and record.processName == "MainProcess":
            # Python names only the processes that its own multiprocessing started.
            record.processName = f"Child-{os.getpid()}"
        lines = (
            _CONTROLS.sub(_escape, line.replace("\t", "    ")) for line in super().format(record).splitlines()
        )
        colour = _LEVEL_COLOURS.get(record.levelname)
        text = "\n".join(lines)
        return self._paint(text, colour) if colour else text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Add the traceback that the worker's own records have among their facts."""
        text = super().formatMessage(record)
        facts = getattr(record, "celeriac", None)
        trace = facts.get("traceback") if isinstance(facts, dict) else None
        return f"{text}\n{trace.rstrip()}" if trace else text


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, "celeriac", None)
        if isinstance(facts, dict):
            line |= self._of_task(facts)
        else:
            request = current.get()
            if request is not None:
                line |= {"task": request.task, "task_id": request.id}
        trace = facts.get("traceback") if isinstance(facts, dict) else None
        if trace or record.exc_info:
            line["traceback"] = trace or self.formatException(record.exc_info or (None, None, None))
        # JSON leaves C1 controls and line separators as they are, at which some readers would cut the line.
        return _CONTROLS.sub(
            lambda found: f"\\u{ord(found.group()):04x}", json.dumps(line, ensure_ascii=False, default=str)
        )

    @staticmethod
    def _of_task(facts: dict[str, Any]) -> dict[str, Any]:
        found = {
            "task": facts.get("name"),
            "task_id": facts.get("id"),
            "queue": facts.get("queue"),
            "attempt": facts.get("attempt"),
            "kind": facts.get("kind"),
            "duration_ms": _milliseconds(facts.get("ran")),
            "waited_ms": _milliseconds(facts.get("waited")),
            "error": facts.get("error"),
        }
        return {name: value for name, value in found.items() if value not in (None, "")}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def duration(seconds: float) -> str:
    """Return a duration in about three digits: "6 ms", "1.2 s", "3 min 4 s", "2 h 5 min"."""
    if seconds < 0.00095:
        return f"{seconds * 1000:.2f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def call_text(arguments: str) -> str:
    """Return a call's arguments on one line: `order_id=4711` for `'order_id': 4711`, at most ARGS_WIDTH long."""
    text = arguments[: ARGS_WIDTH * 2]
    if "': " in text:
        text = _keys_as_names(text)
    text = escaped(text)
    return text if len(text) <= ARGS_WIDTH else text[: ARGS_WIDTH - 1] + "…"


def _keys_as_names(text: str) -> str:
    """Write `'name': value` outside of brackets and strings as `name=value`."""
    parts: list[str] = []
    depth, position = 0, 0
    while position < len(text):
        character = text[position]
        key = _KEY.match(text, position) if character == "'" and depth == 0 else None
        end = key.end() if key is not None else position + 1
        if key is not None:
            parts.append(f"{key.group(1)}=")
        elif character in "'\"":
            end = _string_end(text, position)
            parts.append(text[position:end])
        else:
            depth += (character in "([{") - (character in ")]}")
            parts.append(character)
        position = end
    return "".join(parts)


def _string_end(text: str, start: int) -> int:
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    return position + 1


def escaped(text: str) -> str:
    """Return `text` with control characters in the form of escapes."""
    return _CONTROLS.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


def _first_line(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= 300 else line[:299] + "…"


def shown_place(place: str) -> str:
    """Return FILE:LINE from this directory on, where it lies in it."""
    try:
        return str(Path(place).relative_to(Path.cwd()))
    except ValueError:
        return place
