"""`celeriac control`: revoke tasks, and tell running workers what to do.

Prints what was asked for; nobody waits for answers.
"""

from typing import Any

import click

from celeriac.cli import finding
from celeriac.cli.program import Command, Session

EXAMPLES = """\b
Examples:
  celeriac control revoke 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f
  celeriac control terminate 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f
  celeriac control pool_grow 2
  celeriac control -d celeriac@web1 pool_shrink
"""


class Commands(click.Group):
    """A group whose commands take the global options."""

    command_class = Command


@click.group("control", cls=Commands, epilog=EXAMPLES)
@click.option(
    "-d", "--destination", metavar="NAMES", help="Only these workers, by name, with commas between them."
)
@click.pass_context
def control(ctx: click.Context, destination: str | None) -> None:
    """Revoke tasks, and tell running workers what to do.

    What is revoked is never started, by workers that are not there yet either. Commands reach the workers that run now,
    within about a second.
    """
    ctx.meta["destination"] = destination and [name.strip() for name in destination.split(",")]


def _control(session: Session) -> Any:
    return finding.find_app(session).control


@control.command(
    "revoke",
    epilog="\b\nExamples:\n  celeriac control revoke 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f --terminate\n",
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("-t", "--terminate", is_flag=True, help="End those that run, too.")
@click.option("--signal", metavar="NAME", default="SIGTERM", help="What task_revoked is told of it.")
@click.pass_context
def revoke(ctx: click.Context, ids: tuple[str, ...], terminate: bool, signal: str) -> None:
    """Have tasks not started any more, wherever they wait."""
    destination = ctx.meta["destination"]
    _control(ctx.obj).revoke(ids, destination=destination, terminate=terminate, signal=signal)
    click.echo(f"{_counted(ids)} revoked.{' Workers end what runs of them.' if terminate else ''}")


@control.command(
    "terminate", epilog="\b\nExamples:\n  celeriac control terminate 0193f2c1-7d1e-7a3b-8f00-5b2a9c0d1e2f\n"
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--signal", metavar="NAME", default="SIGTERM", help="What task_revoked is told of it.")
@click.pass_context
def terminate(ctx: click.Context, ids: tuple[str, ...], signal: str) -> None:
    """Have tasks ended that run, and not started any more: revoke --terminate."""
    ctx.invoke(revoke, ids=ids, terminate=True, signal=signal)


@control.command("pool_grow", epilog="\b\nExamples:\n  celeriac control pool_grow 2\n")
@click.argument("n", type=click.IntRange(1), default=1)
@click.pass_context
def pool_grow(ctx: click.Context, n: int) -> None:
    """Have each worker start N more processes, 1 unless told."""
    _control(ctx.obj).pool_grow(n, destination=ctx.meta["destination"])
    click.echo(f"Workers are told to start {n} more.")


@control.command("pool_shrink", epilog="\b\nExamples:\n  celeriac control pool_shrink 2\n")
@click.argument("n", type=click.IntRange(1), default=1)
@click.pass_context
def pool_shrink(ctx: click.Context, n: int) -> None:
    """Have each worker end N of its processes, 1 unless told, when what they run is done. One stays."""
    _control(ctx.obj).pool_shrink(n, destination=ctx.meta["destination"])
    click.echo(f"Workers are told to end {n}.")


def _counted(ids: tuple[str, ...]) -> str:
    return f"{len(ids):,} task{' is' if len(ids) == 1 else 's are'}"
