"""How the findings look: a table by kind on a terminal, plain lines elsewhere, one JSON object.

Called by the command.
"""

import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from celeriac.cli.from_celery.looking import Report
from celeriac.cli.from_celery.verdicts import (
    APP,
    APP_ENTRY,
    CALL_OPTION,
    COMMAND,
    FILE,
    FLAG,
    IMPORT,
    IN_TASK,
    LOGGER,
    MISSING,
    PACKAGE,
    RENAMED,
    SAME_HERE,
    SETTING,
    TASK_OPTION,
    WORKFLOW,
    Verdict,
)
from celeriac.cli.paint import Paint

_TITLES = {
    FILE: "Files",
    IMPORT: "Imports",
    SETTING: "Settings",
    APP_ENTRY: "INSTALLED_APPS",
    LOGGER: "Loggers",
    TASK_OPTION: "Options of tasks",
    CALL_OPTION: "Options of calls",
    IN_TASK: "In tasks",
    APP: "The app",
    WORKFLOW: "Workflows",
    COMMAND: "Commands",
    FLAG: "Flags of worker and beat",
    PACKAGE: "Packages",
}
_MARKS = {SAME_HERE: ("✓", "green"), RENAMED: ("~", "yellow"), MISSING: ("✕", "red")}
_WIDE = 64  # columns of names; longer ones push their places on
_SHOWN = 3  # places of a name, unless all are asked for


def table(report: Report, paint: Paint, every: bool, width: int | None) -> Iterator[str]:
    """Return the findings, one name a line, under the title of their kind; what is to be done stands below a name.

    Lines are folded at `width`, where it is one.
    """
    for kind, grouped in groupby(report.verdicts(), lambda verdict: verdict.kind):
        listed = list(grouped)
        yield paint(_TITLES[kind], "bold")
        longest = min(_WIDE, max(len(_name(verdict)) for verdict in listed))
        for verdict in listed:
            mark, colour = _MARKS[verdict.state]
            places = _places(report, verdict, every or verdict.state == MISSING)
            yield f"  {paint(mark, colour)} {_name(verdict):<{longest}}  {paint(places, 'dim')}".rstrip()
            for line in _folded(verdict.advice, width):
                yield f"      {paint(line, 'dim') if verdict.state == SAME_HERE else line}"
        yield ""


def _folded(text: str, width: int | None) -> list[str]:
    return [text] if text and width is None else textwrap.wrap(text, max(40, (width or 0) - 6))


def _name(verdict: Verdict) -> str:
    return f"{verdict.name} → {verdict.here}" if verdict.here else verdict.name


def _places(report: Report, verdict: Verdict, every: bool) -> str:
    places = report.places[verdict]
    shown = places if every else places[:_SHOWN]
    parts = []
    for name, lines in groupby(shown, lambda place: place[0]):
        parts.append(f"{name}:{','.join(str(line) for _, line in lines)}")
    more = len(places) - len(shown)
    return "  ".join(parts) + (f"  and {more:,} more" if more else "")


def summary(report: Report, paint: Paint) -> str:
    """Return how many names are the same, changed and missing, in a line."""
    parts = []
    for state, words in ((SAME_HERE, "same"), (RENAMED, "renamed or different"), (MISSING, "missing")):
        mark, colour = _MARKS[state]
        parts.append(f"{paint(mark, colour)} {report.count(state):,} {words}")
    return " · ".join(parts)


def as_dict(report: Report) -> dict[str, Any]:
    """Return all that was found, for JSON."""
    return {
        "files": report.files,
        "same": report.count(SAME_HERE),
        "renamed": report.count(RENAMED),
        "missing": report.count(MISSING),
        "findings": [
            {
                "kind": verdict.kind,
                "name": verdict.name,
                "state": verdict.state,
                "here": verdict.here or None,
                "advice": verdict.advice or None,
                "places": [{"file": name, "line": line} for name, line in report.places[verdict]],
            }
            for verdict in report.verdicts()
        ],
        "changes": [change.name for change in report.changes],
    }


def painted(line: str, paint: Paint) -> str:
    """Return a line of a diff in its colour."""
    if line.startswith(("---", "+++")):
        return paint(line, "bold")
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return paint(line, colours[line[0]]) if line[:1] in colours else line
