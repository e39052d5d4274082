"""`celeriac schedule`: what is scheduled and when it is due next; run an entry now, pause it, go on with it.

Prints what `celeriac.beat.overview` finds, of entries in code as well as in the database.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import click

from celeriac.cli import failures, finding
from celeriac.cli.paint import Paint, terminal_width, wants_colour
from celeriac.cli.program import Command, Session

EXAMPLES = """\b
Examples:
  celeriac schedule list
  celeriac schedule next -n 20
  celeriac schedule run tidy-up
  celeriac schedule pause tidy-up
  celeriac schedule pause --all
  celeriac schedule resume --all
"""
#: Seconds in the units that times are told in.
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
#: A terminal that is narrower gets no table.
_NARROW = 80


class Commands(click.Group):
    """A group whose commands take the global options."""

    command_class = Command


@click.group("schedule", cls=Commands, epilog=EXAMPLES)
def schedule() -> None:
    """See what is scheduled, run it now, pause it.

    Entries in code as well as those in the database. Times are this machine's.
    """


def _overview(session: Session) -> Any:
    app = finding.find_app(session)
    app.load_tasks()
    from celeriac.beat.overview import Overview

    return Overview(app)


@schedule.command("list", epilog="\b\nExamples:\n  celeriac schedule list\n  celeriac schedule list --json\n")
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def list_entries(session: Session, as_json: bool) -> None:
    """Show all entries: when each is due, its last run and its next one."""
    overview = _overview(session)
    found = overview.entries()
    if as_json:
        for each in found:
            click.echo(json.dumps(_facts(each), ensure_ascii=False))
        return
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    rows = [_row(each, overview.now) for each in found]
    if sys.stdout.isatty() and terminal_width() >= _NARROW:
        _print_table(("entry", "when", "next", "last run", "runs", "from"), rows, paint)
    else:
        for name, words, following, last, runs, place in rows:
            click.echo(f"{name}: {words}; next {following}; last run {last}; runs {runs}; from {place}")
    if not found:
        click.echo("Nothing is scheduled.")
    if overview.paused:
        failures.note(
            "The whole schedule is paused. Go on:  celeriac schedule resume --all", session.no_color
        )


@schedule.command(
    "next", epilog="\b\nExamples:\n  celeriac schedule next\n  celeriac schedule next tidy-up -n 5\n"
)
@click.argument("name", required=False)
@click.option("-n", "--limit", type=click.IntRange(1), default=10, show_default=True, help="How many runs.")
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def next_runs(session: Session, name: str | None, limit: int, as_json: bool) -> None:
    """Show the runs to come, of one entry or of all."""
    overview = _overview(session)
    if name is not None:
        overview.find(name)
    print_coming(session, overview, limit, name, as_json=as_json)


def print_coming(
    session: Session, overview: Any, limit: int, name: str | None = None, *, as_json: bool = False
) -> None:
    """Print the runs to come, one a line."""
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    coming = list(islice(overview.coming(name), limit))
    for slot, entry in coming:
        task = overview.find(entry).task
        if as_json:
            click.echo(json.dumps({"at": _iso(slot), "entry": entry, "task": task}, ensure_ascii=False))
        else:
            away = paint(f"{'in ' + _span(slot - overview.now):<9}", "dim")
            click.echo(
                f"{_local(slot)}  {away}  {paint(entry, 'bold')}  {task if task != entry else ''}".rstrip()
            )
    if not coming and not as_json:
        click.echo("Nothing will run: the schedule is paused." if overview.paused else "Nothing will run.")


@schedule.command("run", epilog="\b\nExamples:\n  celeriac schedule run tidy-up\n")
@click.argument("name")
@click.pass_obj
def run(session: Session, name: str) -> None:
    """Send the task of an entry now, also of one that is paused. When it is due next stays as it is."""
    overview = _overview(session)
    from celeriac.beat.calls import run_now

    entry = overview.find(name)
    task_id = run_now(overview.app, entry, overview.now)
    click.echo(f"{entry.task} was sent with the id {task_id}.")


def _switching(command: str, does: str, example: str) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> click.Command:
        function = click.pass_obj(function)
        function = click.option("--all", "everything", is_flag=True, help="The whole schedule.")(function)
        function = click.argument("name", required=False)(function)
        epilog = (
            f"\b\nExamples:\n  celeriac schedule {command} {example}\n  celeriac schedule {command} --all\n"
        )
        made: click.Command = schedule.command(command, help=does, epilog=epilog)(function)
        return made

    return decorate


@_switching(
    "pause",
    "Pause an entry, in code or in the database, or the whole schedule. What is due meanwhile is over.",
    "tidy-up",
)
def pause(session: Session, name: str | None, everything: bool) -> None:
    overview, what = _which(session, name, everything)
    overview.source.pause(name)
    click.echo(f"{what} is paused. Beats hear of it within a second.")


@_switching("resume", "Go on with what was paused.", "tidy-up")
def resume(session: Session, name: str | None, everything: bool) -> None:
    overview, what = _which(session, name, everything)
    overview.source.resume(name)
    click.echo(f"{what} goes on. Beats hear of it within a second.")
    if name is not None and overview.paused:
        failures.note(
            "The whole schedule is paused. Go on:  celeriac schedule resume --all", session.no_color
        )


def _which(session: Session, name: str | None, everything: bool) -> tuple[Any, str]:
    if (name is None) == (not everything):
        raise click.UsageError("Say which: the name of an entry, or --all.")
    overview = _overview(session)
    if name is None:
        return overview, "The whole schedule"
    overview.find(name)
    return overview, f"{name!r}"


# -- how it looks


def _row(each: Any, now: float) -> tuple[str, ...]:
    if each.paused:
        following = "paused"
    elif each.next is None:
        following = "never"
    else:
        following = f"in {_span(each.next - now)}"
    last = "never" if each.last is None else f"{_span(now - each.last)} ago"
    return each.name, each.words, following, last, f"{each.runs:,}", each.where or "the database"


def _print_table(heads: tuple[str, ...], rows: list[tuple[str, ...]], paint: Paint) -> None:
    if not rows:
        return
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    # What is too wide is cut where it is longest: at the words.
    widths[1] = max(12, min(widths[1], terminal_width() - sum(widths) + widths[1] - 2 * (len(heads) - 1)))
    for number, row in enumerate((heads, *rows)):
        cells = [_fitted(text, width) for text, width in zip(row, widths, strict=True)]
        line = "  ".join(cells).rstrip()
        click.echo(paint(line, "dim") if number == 0 else paint(cells[0], "bold") + line[len(cells[0]) :])


def _fitted(text: str, width: int) -> str:
    return f"{text:<{width}}" if len(text) <= width else text[: width - 1] + "…"


def _span(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, size in _UNITS:
        if seconds >= 2 * size or size == 1:
            return f"{seconds / size:.0f} {unit}"
    return ""


def _local(slot: float) -> str:
    return f"{datetime.fromtimestamp(slot).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _iso(slot: float | None) -> str | None:
    return None if slot is None else datetime.fromtimestamp(slot, UTC).isoformat()


def _facts(each: Any) -> dict[str, Any]:
    return {
        "entry": each.name,
        "task": None if each.entry is None else each.entry.task,
        "when": each.words,
        "paused": each.paused,
        "next": _iso(each.next),
        "last": _iso(each.last),
        "runs": each.runs,
        "from": each.where or None,
        "problem": each.problem or None,
    }
