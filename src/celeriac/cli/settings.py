"""`celeriac settings` and `celeriac report`: what is in force, where it comes from, and what runs it.

Both read `app.resolved`, the one table of settings. Passwords in URLs and values of secret names are hidden.
"""

import json
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
from celeriac.errors import CeleriacError
from celeriac.schemes import mask

_PACKAGES = ("Django", "msgspec", "hiredis", "psycopg", "celery", "kombu")
_SECRETS = ("password", "passwd", "secret", "token", "key", "credential")
#: Names that hold such a word and no secret.
_OPEN = frozenset({"global_keyprefix", "keyprefix", "task_default_routing_key", "socket_keepalive"})
_DEFAULT = "default"
_IN_CODE = "app.conf"
_SETTINGS_EXAMPLES = """\b
Examples:
  celeriac settings
  celeriac -A shop settings --changed
  celeriac settings --json
"""
_REPORT_EXAMPLES = "\b\nExamples:\n  celeriac report\n  celeriac -A shop report --json\n"
_JSON_OPTION = click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object.")


@click.command(
    "settings",
    cls=Command,
    epilog=_SETTINGS_EXAMPLES,
)
@click.option("--changed", is_flag=True, help="Only what is not the default.")
@_JSON_OPTION
@click.pass_obj
def settings(session: Session, changed: bool, as_json: bool) -> None:
    """Show the settings in force: name, value, where it comes from."""
    app = finding.find_app(session)
    if as_json:
        click.echo(_json({"settings": _entries(app, changed), "problems": _problems(app)}))
        return
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    shown = rows(app, changed)
    width = max((len(name) for name, _, _ in shown), default=0)
    for name, value, source in shown:
        text = f"{name:<{width}}  {value}"
        click.echo(paint(text, "dim") if source == _DEFAULT else f"{text}  {paint('← ' + source, 'dim')}")
    for problem in _problems(app):
        click.echo(f"{paint('!', 'yellow')} {problem}")


@click.command("report", cls=Command, epilog=_REPORT_EXAMPLES)
@_JSON_OPTION
@click.pass_obj
def report(session: Session, as_json: bool) -> None:
    """Show versions, broker, results and changed settings, to paste into a bug report."""
    app = finding.find_app(session)
    found = [(name, _version(name)) for name in _PACKAGES]
    versions = {name: number for name, number in found if number}
    facts = {
        "celeriac": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "broker": mask(app.conf.broker_url or "none"),
        "results": mask(app.conf.result_backend or "none"),
        "app": app.main or "without a name",
    }
    waiting = _outbox(app)
    if waiting is not None:
        facts["outbox"] = waiting
    if as_json:
        click.echo(_json({**facts, "settings": _entries(app, True), "problems": _problems(app)}))
        return
    click.echo(f"celeriac {facts['celeriac']} · Python {facts['python']} · {facts['platform']}")
    click.echo(" · ".join(f"{name} {number}" for name, number in versions.items()))
    for name in ("broker", "results", "app", "outbox"):
        if name in facts:
            click.echo(f"{name:<9} {facts[name]}")
    click.echo("settings that differ from the defaults:")
    _echo_some([f"  {name} = {value}  ({source})" for name, value, source in rows(app, True)], 24)
    _echo_some([f"! {problem}" for problem in _problems(app)], 5)


def _outbox(app: Celeriac) -> str | None:
    """Return how many messages wait in the outbox, in words; None where there is none."""
    try:
        return None if app.outbox is None else f"{app.outbox.waiting():,} waiting for the broker"
    except CeleriacError as error:
        return f"unknown: {error}"


def _echo_some(lines: list[str], limit: int) -> None:
    """Print at most `limit` lines, and how many more there are."""
    for line in lines[:limit]:
        click.echo(line)
    if len(lines) > limit:
        click.echo(f"  and {len(lines) - limit} more: celeriac settings --changed")


def rows(app: Celeriac, changed: bool) -> list[tuple[str, str, str]]:
    """Return name, value and source of each setting, as text; with `changed` only of those that are set."""
    return [(name, bounded_repr(value, 0), source) for name, value, source in _values(app, changed)]


def _values(app: Celeriac, changed: bool) -> list[tuple[str, Any, str]]:
    resolved, read = app.resolved, app.read_settings().settings
    found = []
    for name in config.ROWS:
        value, source = getattr(resolved.settings, name), resolved.sources.get(name, _DEFAULT)
        if value != getattr(read, name):
            source = _IN_CODE  # set after the settings were read
        found.append((name, masked(name, value), source))
    return [entry for entry in found if not changed or entry[2] != _DEFAULT]


def _entries(app: Celeriac, changed: bool) -> dict[str, dict[str, Any]]:
    return {name: {"value": value, "source": source} for name, value, source in _values(app, changed)}


def _problems(app: Celeriac) -> list[str]:
    return [*app.resolved.errors, *app.resolved.warnings]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=repr, ensure_ascii=False)


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
