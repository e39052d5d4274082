"""`celeriac settings` and `celeriac report`: what is in force, where it comes from, and what runs it.

Both read `app.resolved`, the one table of settings. Passwords in URLs and values of secret names are hidden.
"""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from celeriac import __version__, config
from celeriac.app import Celeriac
from celeriac.arguments import bounded_repr
from celeriac.cli import finding
from celeriac.cli.paint import Paint, wants_colour
from celeriac.cli.program import Command, Session
from celeriac.schemes import mask

_PACKAGES = ("Django", "msgspec", "hiredis", "psycopg", "celery", "kombu")
_SECRETS = ("password", "passwd", "secret", "token", "key", "credential")
#: Names that hold such a word and no secret.
_OPEN = frozenset({"global_keyprefix", "keyprefix", "task_default_routing_key", "socket_keepalive"})
_DEFAULT = "default"
_SETTINGS_EXAMPLES = "\b\nExamples:\n  celeriac settings\n  celeriac -A shop settings --changed\n"
_REPORT_EXAMPLES = "\b\nExamples:\n  celeriac report\n  celeriac -A shop report\n"


@click.command(
    "settings",
    cls=Command,
    epilog=_SETTINGS_EXAMPLES,
)
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@click.pass_obj
def settings(session: Session, changed: bool) -> None:
    """Show the settings in force: name, value, where it comes from."""
    app = finding.find_app(session)
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    shown = rows(app, changed)
    width = max((len(name) for name, _, _ in shown), default=0)
    for name, value, source in shown:
        text = f"{name:<{width}}  {value}"
        click.echo(paint(text, "dim") if source == _DEFAULT else f"{text}  {paint('← ' + source, 'dim')}")
    for problem in (*app.resolved.errors, *app.resolved.warnings):
        click.echo(f"{paint('!', 'yellow')} {problem}")


@click.command("report", cls=Command, epilog=_REPORT_EXAMPLES)
@click.pass_obj
def report(session: Session) -> None:
    """Show versions, broker, results and changed settings, to paste into a bug report."""
    app = finding.find_app(session)
    click.echo(f"celeriac {__version__} · Python {platform.python_version()} · {platform.platform()}")
    found = [(name, _version(name)) for name in _PACKAGES]
    click.echo(" · ".join(f"{name} {number}" for name, number in found if number))
    click.echo(f"broker    {mask(app.conf.broker_url or 'none')}")
    click.echo(f"results   {mask(app.conf.result_backend or 'none')}")
    click.echo(f"app       {app.main or 'without a name'}")
    click.echo("settings that differ from the defaults:")
    for name, value, source in rows(app, True)[:30]:
        click.echo(f"  {name} = {value}  ({source})")
    for problem in (*app.resolved.errors, *app.resolved.warnings)[:5]:
        click.echo(f"! {problem}")


def rows(app: Celeriac, changed: bool) -> list[tuple[str, str, str]]:
    """Return name, value and source of each setting; with `changed` only of those that are set."""
    resolved = app.resolved
    found = [
        (
            name,
            bounded_repr(masked(name, getattr(resolved.settings, name)), 0),
            resolved.sources.get(name, _DEFAULT),
        )
        for name in config.ROWS
    ]
    return [row for row in found if not changed or row[2] != _DEFAULT]


def masked(name: str, value: Any) -> Any:
    """Return `value` without what must not be shown."""
    if isinstance(value, dict):
        return {key: masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(name, inner) for inner in value]
    if isinstance(value, str):
        if name.lower() not in _OPEN and any(word in name.lower() for word in _SECRETS):
            return "***"
        return mask(value)
    return value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
