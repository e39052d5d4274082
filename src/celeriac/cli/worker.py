"""`celeriac worker`: checks, banner, then the worker itself.

With --reload this process only keeps another one with the same options on the newest code (`reload`).
"""

import contextlib
import json
import logging
import os
import sys
from typing import Any

import click

from celeriac.app import Celeriac
from celeriac.cli import banner, checks, failures, finding, log_setup
from celeriac.cli.options import Arguments, celerys_options, own_options, unused_lines
from celeriac.cli.paint import Paint, wants_colour
from celeriac.cli.program import Command, Session
from celeriac.errors import CeleriacError, StoreError
from celeriac.worker.options import WorkerOptions

logger = logging.getLogger("celeriac")

EXAMPLES = """\b
Examples:
  celeriac worker                          all CPUs, the default queue
  celeriac -A shop worker -l info -c 4     as with Celery
  celeriac worker -Q celery,mails -n mails@%h
  celeriac worker -P threads -c 20 --reload
"""


@click.pass_obj
def _main(session: Session, /, **given: Any) -> int:
    options = WorkerOptions(
        hostname=given.pop("hostname"),
        queues=given.pop("queues"),
        exclude=given.pop("exclude"),
        concurrency=given.pop("concurrency"),
        pool=given.pop("pool"),
        autoscale=given.pop("autoscale"),
        loglevel=given.pop("loglevel"),
    )
    own = {name: given.pop(name) for name in Arguments.__struct_fields__ if name in given}
    arguments = Arguments(options, **own, unused=unused_lines(given))
    if arguments.reload:
        from celeriac.cli.reload import run_reloading

        return run_reloading(session, arguments)
    return run(session, arguments)


worker = Command(
    "worker",
    callback=_main,
    params=[*own_options(), *celerys_options()],
    help="Run tasks until stopped.",
    epilog=EXAMPLES,
)


# -- running it


def run(session: Session, arguments: Arguments) -> int:
    """Check, tell and start; return the worker's exit status."""
    try:
        app = finding.find_app(session)
        _apply(app, arguments)
        warnings = checks.prepare(app, tasks_may_come=bool(arguments.tag))  # in `dev` they are being written
    except CeleriacError as error:
        _report(arguments, {"code": error.code, "error": failures.one_line(error)})
        raise
    from celeriac.worker.start import Worker

    worker = Worker(app, arguments.options)
    options = worker.options
    facts = banner.facts_of(app, options)
    if arguments.beat:
        from celeriac.beat.embedded import embedded

        work = embedded(app, options.hostname)
        if work is not None:
            worker.companions["beat"] = work
            facts["schedule"] = _scheduled(app) if arguments.tag else []
        elif arguments.banner:
            warnings.append("Nothing is scheduled, so no beat runs: beat_schedule is empty.")
    log_setup.set_up(
        options.loglevel,
        style=arguments.log_format,
        no_color=session.no_color,
        tag=arguments.tag,
        logfile=arguments.logfile,
        conf=app.conf,
    )
    if arguments.tag and not arguments.restarted and app.framework is not None:
        facts["pages"] = app.framework.pages()
    _report(arguments, facts)
    if not arguments.restarted:
        _introduce(session, arguments, facts, [*arguments.unused, *warnings, *checks.broker_warnings(app)])
    if arguments.purge:
        dropped = app.broker.purge(options.queues)
        logger.warning("%d messages dropped from %s", dropped, ", ".join(options.queues))
    with log_setup.redirected(app.conf):
        return worker.run()


def _scheduled(app: Celeriac) -> list[str]:
    """Return the names of the entries that hold now, in code and in the database."""
    from celeriac.beat.timetable import Timetable

    timetable = Timetable(app)
    with contextlib.suppress(StoreError):  # beat tells of it
        timetable.read(app.clock())
    return sorted(timetable.entries)


def _apply(app: Celeriac, arguments: Arguments) -> None:
    """Give the app the settings that the command line has."""
    if arguments.include:
        app.conf.update(include=[*app.conf.include, *arguments.include])
    if arguments.prefetch_multiplier is not None:
        app.conf.update(worker_prefetch_multiplier=arguments.prefetch_multiplier or None)
    if arguments.time_limit is not None:
        app.conf.update(task_time_limit=arguments.time_limit)
    if arguments.max_tasks_per_child is not None:
        app.conf.update(worker_max_tasks_per_child=arguments.max_tasks_per_child)
    if arguments.max_memory_per_child is not None:
        app.conf.update(worker_max_memory_per_child=arguments.max_memory_per_child)
    if arguments.health_port is not None:
        app.conf.update(worker_health_port=arguments.health_port)
    if arguments.health_host is not None:
        app.conf.update(worker_health_host=arguments.health_host)
    if arguments.soft_time_limit is not None:
        app.conf.update(task_soft_time_limit=arguments.soft_time_limit)


def _introduce(session: Session, arguments: Arguments, facts: banner.Facts, warnings: list[str]) -> None:
    """Show the banner, and below it what the user should know; as records where these are for machines."""
    if arguments.log_format == "json":
        logger.info("worker %s on %s, %s", facts["hostname"], facts["broker"], banner.slots(facts))
        for text in warnings:
            logger.warning("%s", text)
        return
    paint = Paint(wants_colour(sys.stderr, session.no_color))
    if arguments.banner and not session.quiet:
        print("\n".join(banner.lines(facts, paint)), file=sys.stderr, flush=True)
    for text in warnings:
        failures.note(text, session.no_color)


def _report(arguments: Arguments, facts: banner.Facts) -> None:
    """Tell the process that started this one with --ready-fd."""
    if arguments.ready_fd is not None:
        with os.fdopen(arguments.ready_fd, "wb") as pipe:
            pipe.write(json.dumps(facts).encode() + b"\n")
