"""How values look in the admin: states, durations, times, arguments, JSON, tracebacks. Everything is escaped here.

Called by the admin classes beside it with what a stranger may have written; never marks such text as safe.
"""

import ast
import datetime as dt
import json
import re
from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.debug import SafeExceptionReporterFilter

from celeriac import states

NOTHING = "–"
#: Longer arguments are cut in lists.
LIST_TEXT = 80
#: Longer results and messages are cut on pages, and the page says so.
PAGE_TEXT = 64 * 1024

# State: style, icon, word. The icon and the word say it without the colour.
_BADGES = {
    states.SUCCESS: ("done", "✓", "Done"),
    states.FAILURE: ("failed", "✕", "Failed"),
    states.RETRY: ("retry", "↻", "Retrying"),
    states.STARTED: ("running", "●", "Running"),
    states.RECEIVED: ("running", "●", "Received"),
    states.REVOKED: ("off", "⊘", "Cancelled"),
    states.REJECTED: ("off", "⊘", "Rejected"),
    states.IGNORED: ("off", "⊘", "Ignored"),
    states.PENDING: ("waiting", "…", "Waiting"),
}


def word(state: str) -> str:
    """Return the word for a state; a project's own state is its own word."""
    return _BADGES[state][2] if state in _BADGES else state


def badge(state: str) -> SafeString:
    """Return a state as icon, word and colour."""
    style, icon, text = _BADGES.get(state, ("running", "●", state))
    return mark(style, icon, text, state)


def mark(style: str, icon: str, text: str, title: str = "") -> SafeString:
    """Return a badge of one of the styles in admin.css."""
    return format_html(
        '<span class="celeriac-badge celeriac-{}" title="{}"><span aria-hidden="true">{}</span> {}</span>',
        style,
        title or text,
        icon,
        text,
    )


def linked(text: str, url: str) -> str:
    """Return what is shown as a link if there is a URL."""
    return format_html('<a href="{}">{}</a>', url, text) if url else text


def strip(runs: Sequence[tuple[str, str, str]]) -> SafeString:
    """Return many states in a row of icons, each with a text that tells more, and a URL or none.

    By the keyboard one goes past them: fifty rows of twenty would be a long way.
    """
    return format_html(
        '<ol class="celeriac-strip">{}</ol>', format_html_join("", "<li>{}</li>", map(_pip, runs))
    )


def _pip(run: tuple[str, str, str]) -> tuple[SafeString]:
    state, text, url = run
    style, icon, _ = _BADGES.get(state, ("running", "●", "") if state else ("off", "·", ""))
    how = format_html('class="celeriac-pip celeriac-{}" title="{}" aria-label="{}"', style, text, text)
    if url:
        return (format_html('<a href="{}" tabindex="-1" {}>{}</a>', url, how, icon),)
    return (format_html('<span role="img" {}>{}</span>', how, icon),)


def duration(seconds: float | None) -> str:
    """Return seconds in three digits: "6 ms", "1.2 s", "3 min 4 s", "2 h 5 min"."""
    if seconds is None or seconds < 0:
        return NOTHING
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def moment(when: dt.datetime | None, now: dt.datetime | None = None) -> str:
    """Return a time as a distance, with the exact time on hover and for machines."""
    if when is None:
        return NOTHING
    away = ((now or dt.datetime.now(dt.UTC)) - when).total_seconds()
    text = _distance(away) if abs(away) >= 1 else "now"
    exact = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        exact.isoformat(timespec="milliseconds"),
        exact.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + exact.strftime(" %Z"),
        text,
    )


def exact(when: dt.datetime | None) -> str:
    """Return a time in full, with its distance behind it."""
    if when is None:
        return NOTHING
    local = timezone.localtime(when)
    text = local.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + local.strftime(" %Z")
    return format_html("{} <span class=celeriac-quiet>({})</span>", text, moment(when))


def _distance(away: float) -> str:
    seconds = abs(away)
    for limit, size, unit in (
        (60, 1, "s"),
        (3600, 60, "min"),
        (86400, 3600, "h"),
        (float("inf"), 86400, "d"),
    ):
        if seconds < limit:
            text = f"{max(1, round(seconds / size))} {unit}"
            return f"{text} ago" if away > 0 else f"in {text}"
    return NOTHING


def arguments(args: str, kwargs: str) -> str:
    """Return the reprs of a call's arguments as one would write them: `1, 'x', fmt='pdf'`."""
    inside = args[1:-1].rstrip(",") if args[:1] + args[-1:] in ("()", "[]") else args
    named = kwargs.strip()
    try:
        pairs = masked(ast.literal_eval(named) if named else {})
        named = ", ".join(f"{name}={value!r}" for name, value in pairs.items())
    except Exception:
        pass
    return ", ".join(part for part in (inside, named) if part)


def masked(value: Any) -> Any:
    """Return data with stars in place of what its names call secret, as Django's error pages do it."""
    if isinstance(value, dict):
        hidden = SafeExceptionReporterFilter.hidden_settings.search
        return {
            name: SafeExceptionReporterFilter.cleansed_substitute if hidden(str(name)) else masked(part)
            for name, part in value.items()
        }
    return [masked(part) for part in value] if isinstance(value, list) else value


def cut(text: str, length: int) -> str:
    """Return text of at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def code(text: str, length: int = LIST_TEXT) -> str:
    """Return text as code, cut; all of it on hover."""
    if not text:
        return ""
    return format_html('<code class="celeriac-code" title="{}">{}</code>', cut(text, 2000), cut(text, length))


def error_line(head: str) -> str:
    """Return "ConnectionError: text" from the beginning of a failure's JSON, "" if it says nothing."""
    try:
        value = json.loads(head)
        kind, message = value.get("exc_type"), value.get("exc_message")
    except (ValueError, AttributeError, RecursionError):
        found = re.match(r'\{"exc_type": ?"([^"]*)"(?:, ?"exc_message": ?\[?"([^"]*))?', head)
        if found is None:
            return ""
        kind, message = found[1], found[2]
    if isinstance(message, list):
        message = ", ".join(map(str, message))
    line = " ".join(str(message or "").split())
    return cut(f"{kind}: {line}" if kind and line else str(kind or line), 160)


def pretty_json(text: str) -> str:
    """Return JSON indented in a box; text that is none as it is."""
    shown = text
    if len(text) <= PAGE_TEXT:
        try:
            shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            shown = text
    return box(shown)


def box(text: str) -> str:
    """Return text in a box, cut where it is very long, saying so."""
    if len(text) <= PAGE_TEXT:
        return format_html('<pre class="celeriac-box">{}</pre>', text)
    return format_html(
        '<pre class="celeriac-box">{}</pre><p class="celeriac-quiet">The first {} of {} characters.</p>',
        text[:PAGE_TEXT],
        f"{PAGE_TEXT:,}",
        f"{len(text):,}",
    )


_LIBRARY = re.compile(r'^\s*File ".*(site-packages|dist-packages|/lib/python3)')


def traceback(text: str) -> str:
    """Return a traceback in a box: libraries' frames quiet, the error strong."""
    if len(text) > PAGE_TEXT:
        return box(text)
    lines: list[tuple[str, str]] = []
    quiet = False
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("  File "):
            quiet = bool(_LIBRARY.match(line))
        strong = bool(line) and not line.startswith((" ", "Traceback "))
        lines.append(("celeriac-strong" if strong else "celeriac-quiet" if quiet else "", line))
    return format_html(
        '<pre class="celeriac-box">{}</pre>', format_html_join("\n", '<span class="{}">{}</span>', lines)
    )


def raw_text(payload: bytes, length: int) -> str:
    """Return the beginning of a message as text; what is no text is written as escapes."""
    return payload[:length].decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def as_data(value: Any) -> str:
    """Return a decoded message's part as indented JSON, or its repr."""
    try:
        return json.dumps(masked(value), indent=2, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
