"""`celeriac beat`: sends the tasks of the schedule when they are due."""

import logging
import signal
import socket
import sys
from types import FrameType
from typing import Any

import click

from celeriac import __version__
from celeriac.app import Celeriac
from celeriac.cli import checks, failures, finding, log_setup
from celeriac.cli.banner import table_row
from celeriac.cli.options import Ignored, celerys_options, read_level, unused_lines
from celeriac.cli.paint import Paint, wants_colour
from celeriac.cli.program import Command, Session
from celeriac.cli.schedule import print_coming
from celeriac.worker.options import LEVELS

logger = logging.getLogger("celeriac")

EXAMPLES = """\b
Examples:
  celeriac beat
  celeriac -A shop beat -l debug
  celeriac beat --next 10           the runs to come; fires nothing
"""
#: Options of Celery's that are accepted: what is said about each.
_IGNORED: Ignored = {
    ("-s", "--schedule"): (True, "how far the schedule is, is kept at the broker"),
    ("-S", "--scheduler"): (True, "there is one, which reads the database's schedule too"),
    ("--max-interval",): (True, "beat wakes when something is due"),
    ("--pidfile",): (True, "beat stays in the foreground"),
    ("--enable-remote-control",): (False, "remote control comes in a later release"),
}
_SHOWN = 12  # entries in the banner


@click.pass_obj
def _main(
    session: Session,
    /,
    loglevel: str,
    hostname: str,
    log_format: str,
    logfile: str | None,
    coming: int | None,
    **given: Any,
) -> int:
    app = finding.find_app(session)
    warnings = checks.prepare(app)
    if coming is not None:
        from celeriac.beat.overview import Overview

        print_coming(session, Overview(app), coming)
        return failures.OK
    from celeriac.beat.engine import Beat

    beat = Beat(app, hostname.replace("%h", socket.gethostname()))
    log_setup.set_up(loglevel, style=log_format, no_color=session.no_color, logfile=logfile, conf=app.conf)
    _introduce(session, app, beat, log_format)
    for text in [*unused_lines(given, _IGNORED), *warnings]:
        failures.note(text, session.no_color)

    def stop(number: int, _frame: FrameType | None) -> None:
        beat.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with log_setup.redirected(app.conf):
        beat.run()
    app.close()
    return failures.OK


def _introduce(session: Session, app: Celeriac, beat: Any, log_format: str) -> None:
    if log_format == "json" or session.quiet:
        return
    paint = Paint(wants_colour(sys.stderr, session.no_color))
    names = list(beat.entries)
    print(f"{paint('celeriac', 'green', 'bold')} {__version__}   {paint('beat', 'dim')}", file=sys.stderr)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    entries = f"{len(names)}: {shown}" if names else "none: beat_schedule is empty"
    if beat.timetable.source is not None:
        entries = f"{entries if names else 'none'} in code, and those in the database"
    rows = [("broker", app.broker.safe_url), ("zone", beat.zone.key), ("entries", entries)]
    for row in rows:
        for line in table_row(*row, paint):
            print(line, file=sys.stderr)
    sys.stderr.flush()


beat = Command(
    "beat",
    callback=_main,
    params=[
        click.Option(["-l", "--loglevel"], default="INFO", show_default=True, callback=read_level,
                     metavar="LEVEL", help=f"{', '.join(LEVELS).lower()}."),
        click.Option(["-n", "--hostname"], default="beat@%h", show_default=True, metavar="NAME",
                     help="Its name, in the log."),
        click.Option(["--log-format"], type=click.Choice(["text", "json"]), default="text", show_default=True,
                     help="Lines for people, or one JSON object a line."),
        click.Option(["-f", "--logfile"], metavar="FILE", help="Log there, not to stderr."),
        click.Option(["--next", "coming"], type=click.IntRange(1), metavar="N",
                     help="Show the next N runs, and end."),
        *celerys_options(_IGNORED),
    ],
    help="Send the tasks of the schedule when they are due. Any number of beats may run: one of them is elected, and "
    "another takes over within seconds when it is gone.",
    epilog=EXAMPLES,
)  # fmt: skip
