"""`celeriac deadletter`: look at what was set aside, put it back, drop it.

Prints what `celeriac.dead_letters` finds. What is a secret by its name was masked when the task was sent.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

import click

from celeriac import dead_letters
from celeriac.cli import failures, finding
from celeriac.cli.paint import Paint, terminal_width, wants_colour
from celeriac.cli.program import Command, Session
from celeriac.dead_letters import Amendment, Found, Wanted
from celeriac.message import protocol

EXAMPLES = """\b
Examples:
  celeriac deadletter list
  celeriac deadletter list --task "shop.tasks.*" --reason "process died" --json
  celeriac deadletter show 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f
  celeriac deadletter retry 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f
  celeriac deadletter retry --task shop.tasks.charge
  celeriac deadletter retry 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f --args "[4711]" --to slow
  celeriac deadletter discard --older-than 7 --yes
  celeriac deadletter discard --all
"""


class Commands(click.Group):
    """A group whose commands take the global options, and whose names are told with examples."""

    command_class = Command


@click.group("deadletter", cls=Commands, epilog=EXAMPLES)
def deadletter() -> None:
    """Look at dead letters, put them back, drop them.

    A dead letter is a message that no worker could finish: its task is not known, it cannot be read, it was rejected,
    or its process died too often. The whole message is kept for task_dead_letter_expires seconds.
    """


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--older-than", type=click.FloatRange(0), metavar="DAYS", help="Only those that died before that."
        ),
        click.option("--reason", metavar="TEXT", help="Only those whose reason holds this text."),
        click.option("--queue", metavar="QUEUE", help="Only those of this queue."),
        click.option("--task", metavar="NAME", help="Only those of this task; * stands for anything."),
    ):
        command = option(command)
    return command


def _wanted(
    ids: tuple[str, ...], task: str | None, queue: str | None, reason: str | None, older_than: float | None
) -> Wanted:
    return Wanted(
        ids=frozenset(ids) if ids else None,
        task=task,
        queue=queue,
        reason=reason,
        before=None if older_than is None else time.time() - older_than * 86400,
    )


@deadletter.command("list", epilog="\b\nExamples:\n  celeriac deadletter list --queue mails -n 20\n")
@_filters
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most."
)
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def list_letters(session: Session, /, limit: int, as_json: bool, **filters: Any) -> None:
    """Show dead letters, the newest first."""
    app = finding.find_app(session)
    found = dead_letters.find(app.broker, _wanted((), **filters), app.codec)
    shown = list(islice(found, limit))
    if as_json:
        for each in shown:
            click.echo(json.dumps(_facts(each), ensure_ascii=False))
        return
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    for each in shown:
        click.echo(_line(each, paint))
    if not shown:
        click.echo("No dead letters." if not any(filters.values()) else "No dead letters like that.")
    elif next(found, None) is not None:
        click.echo(
            f"There are more: of {app.broker.count_dead_letters()} in all the newest {len(shown)} are shown (-n)."
        )


@deadletter.command(
    "show", epilog="\b\nExamples:\n  celeriac deadletter show 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f\n"
)
@click.argument("task_id", metavar="ID")
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show(session: Session, task_id: str, as_json: bool) -> int:
    """Show all that is known of a dead letter: by the task's id, or by its key."""
    app = finding.find_app(session)
    found = next(dead_letters.find(app.broker, _wanted((task_id,), None, None, None, None), app.codec), None)
    if found is None:
        failures.note(
            f"There is no dead letter {task_id!r}. List them: celeriac deadletter list", session.no_color
        )
        return failures.PROBLEM
    facts = _facts(found)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return failures.OK
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    for name, value in facts.items():
        if value not in (None, "", {}):
            click.echo(f"{paint(f'{name:<9}', 'dim')} {value}")
    return failures.OK


def _changing(name: str, what: str) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> click.Command:
        function = click.pass_obj(function)
        function = click.option("-y", "--yes", is_flag=True, help="Do not ask.")(function)
        function = click.option("--all", "everything", is_flag=True, help=f"{what} all that there are.")(
            function
        )
        function = click.argument("ids", metavar="[ID]...", nargs=-1)(_filters(function))
        epilog = f"\b\nExamples:\n  celeriac deadletter {name} --task shop.tasks.charge\n"
        made: click.Command = deadletter.command(name, epilog=epilog)(function)
        return made

    return decorate


@_changing("retry", "Put back")
@click.option("--args", metavar="JSON", help="With these arguments instead, a list; for one ID.")
@click.option("--kwargs", metavar="JSON", help="With these arguments by name instead, an object; for one ID.")
@click.option("--to", metavar="QUEUE", help="Into this queue instead; for one ID.")
@click.option(
    "--sign", is_flag=True, help="Also those that are not signed, or wrongly: you answer for what they do."
)
def retry(
    session: Session,
    /,
    ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    args: str | None,
    kwargs: str | None,
    to: str | None,
    sign: bool,
    **filters: Any,
) -> int:
    """Put dead letters back into their queues, to be run as if they were sent now.

    Earlier retries and losses do not count any more. What cannot be read stays, and, where task_signing is on, what is
    not signed by this project: --sign signs it.
    """
    if (args, kwargs, to) != (None, None, None):
        if len(ids) != 1 or everything or any(value is not None for value in filters.values()):
            raise click.UsageError("--args, --kwargs and --to are for one dead letter: give its id alone.")
        return _retry_amended(session, ids[0], Amendment.read(args, kwargs, to), sign)
    act = partial(dead_letters.retry, vouched=sign)
    return _change(session, ids, everything, yes, filters, act, ("Put back", "went back", "went back"))


def _retry_amended(session: Session, task_id: str, amendment: Amendment, sign: bool) -> int:
    """Put one back with other arguments, or into another queue."""
    app = finding.find_app(session)
    app.load_tasks()  # which say what arguments they take
    wanted = Wanted(ids=frozenset([task_id]))
    found = next(dead_letters.find(app.broker, wanted, app.codec), None)
    if found is not None and not (found.genuine or sign):
        failures.note(
            f"It is not signed by this project: {found.letter.reason}. To run it all the same: --sign",
            session.no_color,
        )
        return failures.PROBLEM
    if found is None or not dead_letters.put_back(
        app.broker, [dead_letters.amend(found, amendment, app.tasks, app.conf)], app.codec, vouched=sign
    ):
        failures.note(
            f"There is no dead letter {task_id!r}. List them: celeriac deadletter list", session.no_color
        )
        return failures.PROBLEM
    click.echo(f"{_counted(1)} went back.")
    return failures.OK


@_changing("discard", "Drop")
def discard(session: Session, /, ids: tuple[str, ...], everything: bool, yes: bool, **filters: Any) -> int:
    """Drop dead letters for good."""
    return _change(
        session, ids, everything, yes, filters, dead_letters.discard, ("Drop", "was dropped", "were dropped")
    )


def _change(
    session: Session,
    ids: tuple[str, ...],
    everything: bool,
    yes: bool,
    filters: dict[str, Any],
    act: Callable[..., int],
    words: tuple[str, str, str],
) -> int:
    """Do something with the letters that are named or filtered, and tell how many that were."""
    if not (ids or everything or any(value is not None for value in filters.values())):
        raise click.UsageError(
            "Say which: ids, a filter (--task, --queue, --reason, --older-than), or --all."
        )
    app = finding.find_app(session)
    wanted, codec = _wanted(ids, **filters), app.codec
    if not ids and not yes:
        count = sum(1 for _ in dead_letters.find(app.broker, wanted, codec))
        if count and not click.confirm(f"{words[0]} {_counted(count)}?", err=True):
            return failures.PROBLEM
    done = act(app.broker, wanted, codec)
    click.echo(f"{_counted(done)} {words[1] if done == 1 else words[2]}.")
    missing = len(set(ids)) - done
    if ids and missing > 0:
        failures.note(
            f"{missing} of those named are not there, cannot be read, or are not signed.", session.no_color
        )
        return failures.PROBLEM
    return failures.OK


def _counted(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _line(found: Found, paint: Paint) -> str:
    letter = found.letter
    died = datetime.fromtimestamp(letter.died).astimezone()
    name = found.task or f"not readable, key {letter.key}"
    text = f"{died:%Y-%m-%d %H:%M:%S}  {paint(name, 'bold')}  {found.id}  {letter.queue}"
    width = max(40, terminal_width() - 4)
    reason = letter.reason if len(letter.reason) <= width else letter.reason[: width - 1] + "…"
    return f"{text}\n    {paint(reason, 'dim')}"


def _facts(found: Found) -> dict[str, Any]:
    letter, message = found.letter, found.message
    facts: dict[str, Any] = {
        "id": found.id or None,
        "task": found.task or None,
        "key": letter.key,
        "queue": letter.queue,
        "reason": letter.reason,
        "died": datetime.fromtimestamp(letter.died, UTC).isoformat(),
        "size": len(letter.payload),
    }
    if message is None:
        return {**facts, "payload": letter.payload[:2048].decode("utf-8", "backslashreplace")}
    headers, properties = message.headers, message.properties
    sent = properties.timestamp
    return {
        **facts,
        "args": headers.argsrepr,
        "kwargs": headers.kwargsrepr,
        "retries": headers.retries or 0,
        "losses": properties.celeriac_losses,
        "sent": None if sent is None else datetime.fromtimestamp(sent, UTC).isoformat(),
        "origin": headers.origin,
        "root_id": headers.root_id,
        "parent_id": headers.parent_id,
        "headers": protocol.custom_headers(message) or None,
    }
