"""The program: global options, the table of commands, and what an exception means to the shell.

Called by `celeriac.cli.main`. Commands are imported by name when asked for, so that `--help` is quick. Loads no
project: that is `finding`'s.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from celeriac import __version__
from celeriac.cli import failures
from celeriac.cli.paint import terminal_width
from celeriac.errors import CeleriacError

COMMANDS: dict[str, tuple[str, str]] = {
    "dev": (
        "celeriac.cli.dev:dev",
        "Web server, worker and beat in one terminal, reloading on change (Django).",
    ),
    "worker": ("celeriac.cli.worker:worker", "Run tasks."),
    "beat": ("celeriac.cli.beat:beat", "Send the tasks of the schedule when they are due."),
    "schedule": ("celeriac.cli.schedule:schedule", "See what is scheduled, run it now, pause it."),
    "help": ("celeriac.cli.explain:explain", "Explain an error by its number: celeriac help E109."),
    "deadletter": ("celeriac.cli.deadletter:deadletter", "Look at what was set aside, put it back, drop it."),
    "control": ("celeriac.cli.control:control", "Revoke tasks; have pools grow and shrink."),
    "health": ("celeriac.cli.health:health", "Whether this host's workers live, for probes: status 0 or 1."),
    "new": ("celeriac.cli.new:new", "Make a Django project with tasks and a schedule."),
    "demo": ("celeriac.cli.new:demo", "Run tasks and a schedule in a project that is gone again afterwards."),
    "migrate-from-celery": (
        "celeriac.cli.from_celery.command:migrate_from_celery",
        "Show what a project has of Celery's and what each becomes; edit what needs no thought.",
    ),
    "settings": ("celeriac.cli.settings:settings", "Show the settings in force and where each comes from."),
    "report": ("celeriac.cli.settings:report", "Show versions and settings, to paste into a bug report."),
}

#: Commands of Celery's that are not here, and what to do instead.
ABSENT = {
    "amqp": "it spoke AMQP to a server; the server's own tools do that.",
    "call": "use python -c or manage.py shell: `from shop.tasks import add; add.delay(1, 2)`.",
    "events": "events come in a later release; `celeriac worker -l info` prints a line for each task.",
    "flower": "the dashboard comes in a later release; the Django admin lists tasks and results.",
    "graph": "it comes in a later release.",
    "inspect": "remote control comes in a later release; the Django admin lists tasks and results.",
    "list": "`celeriac worker` lists queues and tasks when it starts.",
    "logtool": "`celeriac worker --log-format json` writes logs that any tool can read.",
    "migrate": "it comes in a later release.",
    "multi": "let systemd, supervisord or your containers start `celeriac worker`.",
    "purge": "`celeriac worker --purge` drops what waits in its queues before it starts.",
    "result": 'use python -c or manage.py shell: `from celeriac import AsyncResult; AsyncResult("id").get()`.',
    "shell": "use manage.py shell, or python.",
    "status": "it comes in a later release.",
    "upgrade": "Celery's old names of settings are understood; `celeriac settings` shows what they mean.",
}

ENVIRONMENT_APP = ("CELERIAC_APP", "CELERY_APP", "APP")


class Session(Struct):
    """What the global options say; `ctx.obj` of every command. `launcher` starts this program again."""

    launcher: tuple[str, ...] = ()
    app: str | None = None
    app_source: str = "-A"
    no_color: bool = False
    quiet: bool = False

    def again(self) -> list[str]:
        """Return the command line that starts this program again with the same global options."""
        options = ["-A", self.app] if self.app else []
        return [*self.launcher, *options, *(["-C"] if self.no_color else [])]


# -- options that go before or after the command's name


def _set_app(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    session = ctx.find_root().ensure_object(Session)
    if value is not None:
        session.app, session.app_source = value, "-A"
    elif session.app is None:
        for variable in ENVIRONMENT_APP:
            if os.environ.get(variable):
                session.app, session.app_source = os.environ[variable], variable
                return


def _set_environment(variable: str) -> Any:
    def callback(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            os.environ[variable] = value

    return callback


def _change_directory(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        os.chdir(value)


def _set_flag(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        setattr(ctx.find_root().ensure_object(Session), parameter.name or "", True)


def global_options(hidden: bool) -> list[click.Option]:
    """Return the options that every command takes; hidden where `celeriac --help` tells of them."""

    def option(*names: str, **attributes: Any) -> click.Option:
        attributes.setdefault("allow_from_autoenv", not hidden)
        return click.Option(names, hidden=hidden, expose_value=False, **attributes)

    folder = click.Path(exists=True, file_okay=False)
    return [
        option("-A", "--app", metavar="APP", callback=_set_app, allow_from_autoenv=False,
               help="The app: module, or module:attribute. Found by itself in a Django project."),
        option("-b", "--broker", metavar="URL", callback=_set_environment("CELERY_BROKER_URL"),
               help="Use this broker, whatever the settings say."),
        option("--result-backend", metavar="URL", callback=_set_environment("CELERY_RESULT_BACKEND"),
               help="Keep results there, whatever the settings say."),
        option("--workdir", type=folder, metavar="DIR", is_eager=True, callback=_change_directory,
               help="Go to this directory first."),
        option("-C", "--no-color", is_flag=True, callback=_set_flag, help="No colours."),
        option("-q", "--quiet", is_flag=True, callback=_set_flag, help="No banner."),
    ]  # fmt: skip


class Command(click.Command):
    """A command that takes the global options after its name as well."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params += global_options(hidden=True)


class Program(click.Group):
    """The commands by name, imported late, with the nearest name where there is none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            ctx.fail(no_command(name))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def no_command(name: str) -> str:
    """Return what to say about a command that there is not."""
    if name in ABSENT:
        return f"There is no command {name!r} here: {ABSENT[name]}"
    near = difflib.get_close_matches(name, [*COMMANDS, *ABSENT], 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no command {name!r}.{hint} Commands: {', '.join(COMMANDS)}."


EXAMPLES = """\b
Examples:
  celeriac dev                      in a Django project: web server and worker
  celeriac worker -l info           in a Django project, or with -A
  celeriac -A shop worker -c 4 -Q celery,mails
  celeriac help E109                what an error means and what to do
"""


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"celeriac {__version__}")
        ctx.exit()


def make_program() -> Program:
    """Return the program."""
    version = click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_print_version,
        help="The version.",
    )
    # Celery's: there are no checks here beside the worker's own.
    skip_checks = click.Option(["--skip-checks"], hidden=True, expose_value=False, is_flag=True)
    return Program(
        name="celeriac",
        help="Background work for Django in one package.",
        epilog=EXAMPLES,
        params=[*global_options(hidden=False), version, skip_checks],
        context_settings={
            "help_option_names": ["-h", "--help"],
            "terminal_width": min(terminal_width(), 110),
        },
    )


def run(arguments: Sequence[str] | None, door: str = "") -> int:
    """Run the program; return the exit status. See `celeriac.cli.main`."""
    session = Session(launcher=(*own_launcher(), door) if door else own_launcher())
    try:
        status = make_program().main(
            args=list(sys.argv[1:] if arguments is None else arguments),
            prog_name=f"manage.py {door}" if door else "celeriac",
            standalone_mode=False,
            obj=session,
            auto_envvar_prefix="CELERIAC",
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CeleriacError as error:
        failures.tell(error, session.no_color)
        return failures.exit_status(error)
    except (click.Abort, KeyboardInterrupt):
        return failures.INTERRUPTED
    except BrokenPipeError:
        # Its flush at exit would fail once more.
        sys.stdout = None
        return failures.OK
    return status if isinstance(status, int) else failures.OK


def own_launcher() -> tuple[str, ...]:
    """Return how this process was started, as a command line up to the program's arguments."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    options = [f"-W{option}" for option in sys.warnoptions]
    options += [
        f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()
    ]
    if spec is not None and spec.name != "__main__":
        module = spec.parent if spec.name.endswith(".__main__") else spec.name
        return (sys.executable, *options, "-m", module)
    return (sys.executable, *options, str(Path(sys.argv[0]).resolve()))
