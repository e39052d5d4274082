"""`celeriac help`: the numbered errors, offline; and the help of a command.

Reads `codes` only.
"""

import difflib
import sys
import textwrap

import click

from celeriac.cli.codes import CODES, Chapter
from celeriac.cli.paint import Paint, wants_colour
from celeriac.cli.program import COMMANDS, Command, Session

_WIDTH = 96

EXAMPLES = """\b
Examples:
  celeriac help             the list
  celeriac help E109        one error: what happened, why, what to do
  celeriac help worker      a command
"""


@click.command("help", cls=Command, epilog=EXAMPLES)
@click.argument("topic", required=False)
@click.pass_context
def explain(ctx: click.Context, topic: str | None) -> None:
    """Explain an error by its number, or a command by its name."""
    session: Session = ctx.obj
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    if topic is None:
        click.echo(contents(paint))
        return
    code = topic.upper() if topic[:1] in "eE" or not topic.isdigit() else f"E{topic}"
    if code in CODES:
        click.echo(chapter(code, CODES[code], paint))
        return
    program = ctx.find_root().command
    if topic in COMMANDS and isinstance(program, click.Group):
        command = program.get_command(ctx, topic)
        if command is not None:
            with click.Context(command, info_name=topic, parent=ctx.parent) as inner:
                click.echo(command.get_help(inner))
            return
    near = difflib.get_close_matches(topic, [*CODES, *COMMANDS], 1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    ctx.fail(
        f"There is no help on {topic!r}.{hint} Errors: {', '.join(CODES)}. Commands: {', '.join(COMMANDS)}."
    )


def contents(paint: Paint) -> str:
    """Return the list of what there is help on."""
    errors = [f"  {paint(code, 'cyan')}  {found.title}" for code, found in CODES.items()]
    commands = [f"  {paint(f'{name:<9}', 'cyan')} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["Errors: celeriac help E109", *errors, "", "Commands: celeriac help worker", *commands])


def chapter(code: str, found: Chapter, paint: Paint) -> str:
    """Return one error's long form."""
    parts = [f"{paint(code, 'cyan', 'bold')}  {paint(found.title, 'bold')}"]
    for title, text in (("What happened", found.what), ("Why", found.why), ("What to do", found.do)):
        body = textwrap.fill(
            text, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        parts.append(f"{paint(title, 'dim')}\n{body}")
    if found.example:
        parts.append(f"{paint('Example', 'dim')}\n{textwrap.indent(found.example.strip(), '  ')}")
    return "\n\n".join(parts)
