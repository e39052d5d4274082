"""`celeriac migrate-from-celery`: what a project has of Celery's, and what each becomes; makes the plain edits.

Reads the project's files, never imports them, so it works before anything else does.
"""

import json
import sys
from pathlib import Path

import click

from celeriac.cli import failures
from celeriac.cli.from_celery import changing, telling
from celeriac.cli.from_celery.looking import Report, look
from celeriac.cli.from_celery.verdicts import APP_ENTRY, MISSING, PACKAGE
from celeriac.cli.paint import Paint, terminal_width, wants_colour
from celeriac.cli.program import Command, Session

EXAMPLES = """\b
Examples:
  celeriac migrate-from-celery                     what has to change, in the project here
  celeriac migrate-from-celery --check src --json
  celeriac migrate-from-celery --write             make the plain edits; asks first
"""


class Refused(click.ClickException):
    """Nothing was written. The text says why."""


@click.command("migrate-from-celery", cls=Command, epilog=EXAMPLES)
@click.argument("path", type=click.Path(exists=True, path_type=Path), default=Path())
@click.option("--check", is_flag=True, help="Only look. This is what is done without --write.")
@click.option("--write", "writes", is_flag=True, help="Make the edits that need no thought.")
@click.option("-y", "--yes", is_flag=True, help="With --write: do not ask.")
@click.option("--force", is_flag=True, help="With --write: also where git has uncommitted changes.")
@click.option("-a", "--all", "every", is_flag=True, help="Show all places of each name.")
@click.option("-j", "--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def migrate_from_celery(
    session: Session,
    path: Path,
    check: bool,
    writes: bool,
    yes: bool,
    force: bool,
    every: bool,
    as_json: bool,
) -> int:
    """Show what a project has of Celery's, and what each becomes: ✓ same, ~ renamed or different, ✕ missing.

    The status is 1 if anything is missing. Code is read, not run; nothing is changed without --write.
    """
    if check and writes:
        raise click.UsageError("--check only looks, --write changes files: say one of them.")
    if writes and as_json and not yes:
        raise click.UsageError("--write asks before it writes, which --json leaves no room for: say --yes.")
    paint = Paint(wants_colour(sys.stdout, session.no_color))
    report = look(path)
    if as_json:
        click.echo(json.dumps(telling.as_dict(report), ensure_ascii=False, indent=2))
    else:
        for line in telling.table(report, paint, every, terminal_width() if sys.stdout.isatty() else None):
            click.echo(line)
        _tell_end(report, paint, writes)
    if writes and report.changes:
        _write(report, path, paint, yes, force, as_json)
    return failures.PROBLEM if report.count(MISSING) else failures.OK


def _tell_end(report: Report, paint: Paint, writes: bool) -> None:
    if not report.places:
        click.echo(f"Nothing of Celery's in {_counted(report.files, 'Python file')}.")
        return
    click.echo(f"{telling.summary(report, paint)}   in {_counted(report.files, 'Python file')}")
    if report.changes and not writes:
        click.echo(f"--write would edit {_counted(len(report.changes), 'file')}.")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


# -- writing


def _write(report: Report, path: Path, paint: Paint, yes: bool, force: bool, as_json: bool) -> None:
    changed = [] if force else changing.uncommitted(path)
    if changed:
        shown = ", ".join(changed[:3]) + (f" and {len(changed) - 3:,} more" if len(changed) > 3 else "")
        raise Refused(
            f"Nothing was written: git has uncommitted changes here ({shown}), which would be mixed with these. "
            "Commit them first, or say --force."
        )
    if not as_json:
        click.echo("")
        for line in changing.diff(report.changes):
            click.echo(telling.painted(line, paint))
        click.echo("")
    if not yes:
        _ask(report)
    left = changing.write(report.changes)
    if as_json:
        return
    click.echo(f"{_counted(len(report.changes) - len(left), 'file')} edited.")
    for change in left:
        failures.note(f"{change.name} was changed meanwhile, and left alone. Run this again.")
    for line in _next_steps(report):
        click.echo(line)


def _ask(report: Report) -> None:
    if not sys.stdin.isatty():
        raise Refused("Nothing was written: there is nobody to ask. Say --yes.")
    missing = report.count(MISSING)
    still = (
        f"{_counted(missing, 'name')} above {'is' if missing == 1 else 'are'} missing here. "
        if missing
        else ""
    )
    if not click.confirm(f"{still}Edit {_counted(len(report.changes), 'file')}?", default=not missing):
        raise Refused("Nothing was written.")


def _next_steps(report: Report) -> list[str]:
    """Return what is left to do by hand, a line each."""
    kinds = {(verdict.kind, verdict.name) for verdict in report.places}
    steps = []
    if any(kind == PACKAGE for kind, _ in kinds):
        steps.append("  put celeriac[django] among the packages (celeriac[django,redis] for Redis)")
    if not report.installed:
        steps.append('  put "celeriac.django" into INSTALLED_APPS')
    steps.append("  python manage.py migrate")
    if (APP_ENTRY, "django_celery_beat") in kinds:
        steps.append("  python manage.py import_beat")
    steps.append("  python manage.py check --tag celeriac")
    return ["Then:", *steps]
