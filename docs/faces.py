"""Parts of the reference pages about what people touch: the command line, and the names in Python."""

import inspect
from typing import Any

import click
from pieces import code, table

from celeriac import AsyncResult, Celeriac, Task
from celeriac.cli.program import COMMANDS, make_program
from celeriac.context import Request
from celeriac.result import GroupResult, ResultSet
from celeriac.schedules import BaseSchedule, clocked, crontab, schedule, solar


def command_line() -> str:
    """Each command with its options."""
    program = make_program()
    parts = []
    with click.Context(program, info_name="celeriac") as ctx:
        parts += ["## Options of every command", _option_table(program)]
        for name, (_, text) in COMMANDS.items():
            command = program.get_command(ctx, name)
            assert command is not None
            arguments = " ".join(p.make_metavar(ctx) for p in command.params if isinstance(p, click.Argument))
            usage = f"`celeriac {name} [options]{' ' + arguments if arguments else ''}`"
            parts.append(f"## {name}\n\n{text}\n\n{usage}")
            if any(isinstance(p, click.Option) and not p.hidden for p in command.params):
                parts.append(_option_table(command))
    return "\n\n".join(parts)


def _option_table(command: click.Command) -> str:
    shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return table(("option", ""), [(_option_name(p), p.help or "") for p in shown])


def _option_name(option: click.Option) -> str:
    value = f" {option.metavar}" if option.metavar else ""
    if isinstance(option.type, click.Choice):
        value = " " + "/".join(str(choice) for choice in option.type.choices)
    return code(", ".join(option.opts) + ("" if option.is_flag else value))


def api() -> str:
    """The public names of the classes that users hold, with the first line of their docstrings."""
    parts = []
    for title, cls in (
        ("The app: `celeriac.Celeriac`, also `celeriac.Celery`", Celeriac),
        ("A task: what `@shared_task` and `@app.task` return", Task),
        ("A result: `celeriac.AsyncResult`", AsyncResult),
        ("Several results: `celeriac.ResultSet`", ResultSet),
        ("The results of a group: `celeriac.GroupResult`, besides what a `ResultSet` has", GroupResult),
        ("The running call: `self.request`", Request),
    ):
        rows = []
        for name, member in _public(cls):
            text = inspect.getdoc(member) or ""
            rows.append((code(name + _signature(member)), text.split("\n\n")[0]))
        parts += [f"## {title}", table(("", ""), rows)]
    return "\n\n".join([*parts, *_schedules()])


def _schedules() -> list[str]:
    """The kinds of schedules, and what they all have. What a docstring says beyond its first part stands below."""
    kinds, more = [], []
    for cls in (schedule, crontab, solar, clocked):
        first, _, rest = (inspect.getdoc(cls) or "").partition("\n\n")
        kinds.append((code(f"{cls.__name__}{_shown(cls)}"), first))
        if rest:
            more.append(f"### {code(cls.__name__)}\n\n{rest}")
    rows = [
        (code(name + _signature(member)), (inspect.getdoc(member) or "").split("\n\n")[0])
        for name, member in _public(BaseSchedule)
    ]
    return [
        "## Schedules: `celeriac.schedules`", table(("", ""), kinds), *more, "### All of them", table(("", ""), rows),
    ]  # fmt: skip


def _public(cls: type) -> list[tuple[str, Any]]:
    described = (property, staticmethod, classmethod)
    parts = [each for each in reversed(cls.__mro__) if each.__module__.startswith("celeriac")]
    if cls is GroupResult:
        parts = [cls]
    members = {name: member for part in parts for name, member in vars(part).items()}
    return [
        (name, member)
        for name, member in members.items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, described))
        and name not in _INTERNAL
    ]


#: Public to the package only.
_INTERNAL = frozenset(
    {
        "send",
        "send_on_commit",
        "publish",
        "awaited",
        "autoretry",
        "call",
        "app",
        "resolved",
        "read_settings",
        "framework",
        "load_tasks",
        "ended",
        "leaves",
        "lineage",
        "meta",
        "refuse_endless_wait",
        "see",
        "seen",
        "tell",
        "worry",
    }
)


def _signature(member: Any) -> str:
    if not inspect.isfunction(member):
        return ""
    return _shown(member)


def _shown(called: Any) -> str:
    parameters = [
        p for p in inspect.signature(called).parameters.values() if p.name not in ("self", "_celery")
    ]
    shown = [p.replace(annotation=p.empty) for p in parameters]
    return str(inspect.Signature(shown))
