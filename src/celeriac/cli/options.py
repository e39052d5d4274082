"""The options of `celeriac worker`: Celery's, ours, and what is said about those that have no effect here.

Read by the worker command, by `reload` and by `dev`, which write them down again for the worker that they start.
"""

from typing import Any

import click
from msgspec import Struct

from celeriac.worker.options import LEVELS, POOLS, WorkerOptions

#: Names of options, whether each takes a value, and what is said about it.
Ignored = dict[tuple[str, ...], tuple[bool, str]]

#: Options of Celery's that are accepted.
IGNORED: Ignored = {
    ("-E", "--task-events"): (False, "events come in a later release"),
    ("-O", "--optimization"): (True, "fair is how tasks are given out anyway"),
    ("--without-gossip",): (False, "there is no gossip"),
    ("--without-mingle",): (False, "there is no mingle"),
    ("--without-heartbeat",): (False, "leases are renewed by the supervisor"),
    ("--heartbeat-interval",): (True, "leases are renewed by the supervisor"),
    ("--disable-prefetch",): (False, "use --prefetch-multiplier 1"),
    ("--pool-start-method",): (True, "processes are forked"),
    ("--pidfile",): (True, "the worker stays in the foreground"),
    ("-S", "--statedb"): (True, "there is no state to keep"),
    ("-s", "--schedule-filename"): (True, "how far the schedule is, is kept at the broker"),
    ("--scheduler",): (True, "there is one, which reads the database's schedule too"),
}

REFUSED: dict[tuple[str, ...], tuple[bool, str]] = {
    ("-D", "--detach"): (
        False,
        "The worker stays in the foreground: let systemd, supervisord or a container run it.",
    ),
    ("--uid",): (True, "Start the worker as that user: User= in systemd's unit, or su."),
    ("--gid",): (True, "Start the worker as that group: Group= in systemd's unit, or su."),
    ("--umask",): (True, "Set it before: UMask= in systemd's unit, or umask in the shell."),
    ("--executable",): (True, "Start it with the Python that it should run on."),
}


class Arguments(Struct):
    """What the command line says. `unused` are the lines about options that have no effect.

    `tag`, `ready_fd`, `banner` and `restarted` are for a worker that `reload` or `dev` starts."""

    options: WorkerOptions
    include: tuple[str, ...] = ()
    prefetch_multiplier: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    health_port: int | None = None
    health_host: str | None = None
    beat: bool = False
    reload: bool = False
    purge: bool = False
    log_format: str = "text"
    logfile: str | None = None
    tag: str = ""
    ready_fd: int | None = None
    banner: bool = True
    restarted: bool = False
    unused: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Return the command line that says the same, without --reload."""
        options = self.options
        pairs = [
            ("-l", options.loglevel),
            ("-n", options.hostname),
            ("-c", options.concurrency),
            ("-P", options.pool),
            ("--autoscale", ",".join(map(str, options.autoscale or ()))),
            ("-Q", ",".join(options.queues)),
            ("-X", ",".join(options.exclude)),
            ("-I", ",".join(self.include)),
            ("--prefetch-multiplier", self.prefetch_multiplier),
            ("--time-limit", self.time_limit),
            ("--soft-time-limit", self.soft_time_limit),
            ("--max-tasks-per-child", self.max_tasks_per_child),
            ("--max-memory-per-child", self.max_memory_per_child),
            ("--health-port", self.health_port),
            ("--health-host", self.health_host),
            ("--log-format", self.log_format),
            ("--logfile", self.logfile),
            ("--tag", self.tag),
        ]
        flags = ["--beat"] if self.beat else []
        return [
            "worker",
            *flags,
            *(str(word) for pair in pairs if pair[1] not in (None, "") for word in pair),
        ]


# -- reading the options


def read_level(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    name = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(value.upper(), value.upper())
    if name not in LEVELS:
        raise click.BadParameter(f"{value!r} is not a level. Levels: {', '.join(LEVELS).lower()}.")
    return name


def _pool(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    name = {"processes": "prefork", "thread": "threads"}.get(value or "", value)
    if name in ("gevent", "eventlet"):
        raise click.BadParameter(
            f"There is no {name} here: write `async def` tasks, which every pool runs by the hundred, or use threads."
        )
    if name is not None and name not in POOLS:
        raise click.BadParameter(f"There is no pool {name!r}. Pools: {', '.join(POOLS)}.")
    return name


def read_concurrency(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None or value == "auto":
        return None
    if not value.isdigit() or not int(value):
        raise click.BadParameter(f"{value!r} is not a number of processes or threads from 1.")
    return int(value)


def _autoscale(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if not value:
        return None
    most, _, least = value.partition(",")
    if not (most.isdigit() and (least or "1").isdigit() and 1 <= int(least or 1) <= int(most)):
        raise click.BadParameter(f"{value!r} is not MAX,MIN: two numbers of processes from 1, as in 10,2.")
    return int(most), int(least or 1)


def read_names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def _refuse(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        names = tuple(parameter.opts)
        ctx.fail(f"{names[-1]} is not supported. {REFUSED[names][1]}")


def celerys_options(ignored: Ignored = IGNORED) -> list[click.Option]:
    """Return the options that are only there for Celery's sake."""
    refused = [
        click.Option(names, hidden=True, is_flag=not valued, expose_value=False, callback=_refuse)
        for names, (valued, _) in REFUSED.items()
    ]
    return refused + [
        click.Option(names, hidden=True, is_flag=not valued) for names, (valued, _) in ignored.items()
    ]


def unused_lines(given: dict[str, Any], ignored: Ignored = IGNORED) -> tuple[str, ...]:
    """Return a line for each option that was given and has no effect."""
    by_parameter = {names[-1].lstrip("-").replace("-", "_"): names for names in ignored}
    unused = [by_parameter[name] for name, value in given.items() if value]
    return tuple(f"ignored: {names[-1]} ({ignored[names][1]})" for names in unused)


def own_options() -> list[click.Option]:
    def option(*names: str, **attributes: Any) -> click.Option:
        return click.Option(names, **attributes)

    return [
        option(
            "-l",
            "--loglevel",
            default="INFO",
            callback=read_level,
            metavar="LEVEL",
            help="debug, info, warning, error. [info]",
        ),
        option(
            "-n",
            "--hostname",
            default="",
            metavar="NAME",
            help="The worker's name; %h is the host's. [celery@%h]",
        ),
        option(
            "-c",
            "--concurrency",
            callback=read_concurrency,
            metavar="N",
            help="Processes or threads. [CPUs]",
        ),
        option(
            "--autoscale",
            callback=_autoscale,
            metavar="MAX,MIN",
            help="As many processes as there is work for, instead of -c.",
        ),
        option("-P", "--pool", callback=_pool, metavar="POOL", help="prefork, threads or solo. [prefork]"),
        option(
            "-Q",
            "--queues",
            callback=read_names,
            metavar="A,B",
            help="Queues to read. [those of task_queues, or the default queue]",
        ),
        option(
            "-X",
            "--exclude-queues",
            "exclude",
            callback=read_names,
            metavar="A,B",
            help="Queues not to read, of those.",
        ),
        option("-I", "--include", callback=read_names, metavar="A,B", help="More modules with tasks."),
        option(
            "-B",
            "--beat",
            is_flag=True,
            help="Send the tasks of the schedule, too, as one of any number that do.",
        ),
        option("--reload", is_flag=True, help="Start anew when the project's code changes."),
        option(
            "--prefetch-multiplier",
            type=click.IntRange(0),
            metavar="N",
            help="Messages held at most for each slot.",
        ),
        option(
            "--time-limit",
            type=click.FloatRange(0),
            metavar="SECONDS",
            help="End tasks that run longer, with their process.",
        ),
        option(
            "--soft-time-limit",
            type=click.FloatRange(0),
            metavar="SECONDS",
            help="Raise SoftTimeLimitExceeded in tasks that run longer.",
        ),
        option(
            "--max-tasks-per-child",
            type=click.IntRange(1),
            metavar="N",
            help="Replace each process after so many tasks.",
        ),
        option(
            "--max-memory-per-child",
            type=click.IntRange(1),
            metavar="KIB",
            help="Replace a process that holds more memory, after its task.",
        ),
        option(
            "--health-port",
            type=click.IntRange(0, 65535),
            metavar="PORT",
            help="Answer /live, /ready and /metrics there.",
        ),
        option("--health-host", metavar="HOST", help="The address of that port. [127.0.0.1]"),
        option("--purge", "--discard", is_flag=True, help="First drop what waits in the queues."),
        option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            help="One JSON object a line. [text]",
        ),
        option(
            "-f",
            "--logfile",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Write the log there. [stderr]",
        ),
        option("--tag", default="", hidden=True),
        option("--ready-fd", type=int, hidden=True),
        option("--banner/--no-banner", default=True, hidden=True),
        option("--restarted", is_flag=True, hidden=True),
    ]
