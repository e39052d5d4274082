"""What is said of one name: the same here, another name or another way, or missing. Looks it up in the table.

Called by what reads files; opens none itself.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from celeriac import config, options, states
from celeriac.brokers import KEEPERS as BROKERS
from celeriac.celery_settings import IN_URL, OTHER_BACKENDS, reason
from celeriac.cli.from_celery import imports, names, told
from celeriac.cli.from_celery.names import ABSENT_HERE, DIFFERS, LATER, SAME, Section
from celeriac.cli.options import REFUSED
from celeriac.control import Control
from celeriac.stores import KEEPERS as STORES
from celeriac.worker.options import POOLS

SAME_HERE, RENAMED, MISSING = "same", "renamed", "missing"

IMPORT, SETTING, APP_ENTRY = "import", "setting", "INSTALLED_APPS"
LOGGER = "logger"
TASK_OPTION, CALL_OPTION, IN_TASK, APP = "task option", "call option", "in a task", "app"
WORKFLOW, COMMAND, FLAG, PACKAGE, FILE = "workflow", "command", "flag", "package", "file"
#: In the order in which they are shown.
KINDS = (
    FILE, IMPORT, SETTING, APP_ENTRY, LOGGER, TASK_OPTION, CALL_OPTION, IN_TASK, APP, WORKFLOW, COMMAND, FLAG, PACKAGE
)  # fmt: skip


_SETTINGS, _FLAGS, _COMMANDS = told.settings(), told.flags(), told.commands()


class Verdict(Struct, frozen=True):
    """What is said of a name: its state, what it is here if that is another name, and what to do about it."""

    kind: str
    name: str
    state: str
    here: str = ""
    advice: str = ""


#: What is said of an option that Celery does not know either.
UNKNOWN_OPTION = "not an option of Celery's: there it becomes an attribute of the task, here it is refused"


# -- imports

_OF_MODULES = {
    "celery.exceptions": names.EXCEPTIONS,
    "celery.signals": names.SIGNALS,
    "celery.schedules": names.SCHEDULES,
}
_MODULES = frozenset({*_OF_MODULES, "celery.states", "celery.contrib.pytest"})
#: Packages whose imports are looked at.
ROOTS = frozenset({"celery", "kombu", "djcelery", "django_celery_beat", "django_celery_results", "flower"})


def of_import(dotted: str) -> Verdict:
    """Return what has become of a module, or of a name that is imported from one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        theirs, rest = ".".join(parts[:count]), parts[count:]
        kept = _by_name(imports.IMPORTS_KEPT).get(theirs)
        if kept is not None:
            return Verdict(IMPORT, dotted, SAME_HERE, "", kept)
        ours = imports.IMPORTS.get(theirs)
        if ours is not None:
            state, why = _below(theirs, rest)
            here = ".".join([ours, *rest])
            return Verdict(IMPORT, dotted, state, here if state == RENAMED else "", why)
    return Verdict(IMPORT, dotted, MISSING, "", _longest(imports.IMPORTS_ABSENT, dotted))


def theirs(dotted: str) -> str:
    """Return what Celery calls a name of ours: code that has been changed already is read as before."""
    for celerys, ours in imports.IMPORTS.items():
        if f"{dotted}.".startswith(f"{ours}."):
            return celerys + dotted.removeprefix(ours)
    return dotted


def used(dotted: str) -> str:
    """Return as much of what hangs on a module as the table has a row for: no methods of what is imported."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        theirs = ".".join(parts[:count])
        if theirs in imports.IMPORTS:
            return ".".join(parts[: count + (theirs in _MODULES)])
    return dotted


def leads_here(module: str) -> bool:
    """Return whether anything of a module of Celery's is here."""
    return any(f"{theirs}.".startswith(f"{module}.") for theirs in imports.IMPORTS)


def module_of(dotted: str) -> str:
    """Return the module of ours that has to be imported for what is called `dotted` in Celery."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        theirs = ".".join(parts[:count])
        if theirs in imports.IMPORTS:
            ours = imports.IMPORTS[theirs]
            return ours if theirs in _MODULES else ours.rpartition(".")[0]
    return ""


def is_module(dotted: str) -> bool:
    """Return whether what is imported under this name is one of the modules that are here as well."""
    return dotted in _MODULES


def _below(theirs: str, rest: list[str]) -> tuple[str, str]:
    """Return state and reason for what lies below a name that is here."""
    if not rest or theirs not in _MODULES:
        return RENAMED, imports.IMPORTS_DIFFER.get(theirs, "")
    if theirs == "celery.states":
        here = hasattr(states, rest[0])
        return (RENAMED, "") if here else (MISSING, "there is no such state")
    section = _OF_MODULES.get(theirs)
    state, why = (
        _rows(section).get(rest[0], (ABSENT_HERE, "there is no such name")) if section else (SAME, "")
    )
    return (RENAMED if state in (SAME, DIFFERS) else MISSING), why


# -- settings


def of_setting(written: str, namespace: str | None, values: list[str], off: bool) -> Verdict | None:
    """Return what has become of a setting, given under `written`; None if it is not Celery's.

    `values` are the texts that stand in its value, such as URLs; `off` is whether it is None or False.
    """
    name = config.canonical(written, namespace)
    if name is None:
        return None
    known = name in config.ROWS
    if not known and name not in IN_URL and reason(name) is None:
        text, near = config._unknown(written, name, namespace)
        return Verdict(SETTING, written, MISSING if near else RENAMED, "", text.partition(" ")[2].rstrip("."))
    wrong = _wrong_value(name, values)
    if wrong:
        return Verdict(SETTING, written, MISSING, "", wrong)
    if name.startswith(OTHER_BACKENDS):
        return Verdict(SETTING, written, MISSING, "", "there is no result store of that kind")
    state, why = _rows(_SETTINGS).get(name, (SAME, ""))
    if state == SAME or name in names.SETTINGS_OF_OTHER_DEFAULT:
        return Verdict(SETTING, written, SAME_HERE)
    if state == DIFFERS:
        return Verdict(SETTING, written, RENAMED, "", why)
    missing = not off and (name in IN_URL or name in names.SETTINGS_TO_DECIDE)
    return Verdict(SETTING, written, MISSING if missing else RENAMED, "", f"without effect: {why}")


def _wrong_value(name: str, values: list[str]) -> str:
    """Return what is wrong with a value that can be read from the code."""
    for value in values:
        scheme = re.match(r"[a-z][a-z0-9+-]*(?=://|$)", value.lower())
        keepers: Mapping[str, object] | None = {
            "broker_url": BROKERS._built_in, "result_backend": STORES._built_in
        }.get(name)  # fmt: skip
        if keepers is not None and scheme and scheme[0] not in keepers and scheme[0] != "disabled":
            known = ", ".join(sorted(each for each in keepers if each != "memory"))
            if "://" in value or name == "result_backend":
                return f"there is no {scheme[0]} here; there are {known}"
        if name == "broker_url" and ";" in value:
            return "there is one broker: name one URL"
        if name == "worker_pool" and value not in POOLS and value.isidentifier():
            return f"there is no pool {value}: use `async def` tasks, or threads"
        if name == "beat_scheduler" and not value.startswith(("django_celery_beat", "celery.beat")):
            return f"{value} is not used: there is one beat, which reads code and database"
    return ""


# -- what stands in code


def of_logger(name: str) -> Verdict | None:
    """Return what a logger of Celery's is called here; None for another one."""
    parts = name.split(".")
    if parts[0] != "celery":
        return None
    known = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    here = next(imports.LOGGERS[each] for each in known if each in imports.LOGGERS)
    return Verdict(LOGGER, name, RENAMED, here)


def of_task_option(name: str, off: bool = False) -> Verdict:
    """Return what has become of an option of `@app.task` and `@shared_task`, or an attribute of a task class.

    `off` is whether it is None or False, so that nothing is missed.
    """
    told = _of_row(TASK_OPTION, names.TASK, name, UNKNOWN_OPTION)
    return (
        Verdict(TASK_OPTION, name, RENAMED, "", told.advice) if off and name in options.TASK_NOT_YET else told
    )


def of_call_option(name: str) -> Verdict:
    """Return what has become of an option of `apply_async` and `send_task`."""
    return _of_row(CALL_OPTION, names.CALL, name, "it is not an option; UnknownOption is raised")


def of_task_name(name: str, task: str = "self") -> Verdict | None:
    """Return what has become of a method or attribute of a task; None for one of the project's own."""
    if name not in _rows(names.TASK) or name in options.TASK:
        return None
    return _renamed(_of_row(IN_TASK, names.TASK, name), f"{task}.{name}")


def of_request(name: str) -> Verdict | None:
    """Return what has become of an attribute of `self.request`; None for a header of the project's own."""
    if name not in _rows(names.REQUEST):
        return None
    return _renamed(_of_row(IN_TASK, names.REQUEST, name), f"self.request.{name}")


def of_app(name: str) -> Verdict | None:
    """Return what has become of a method or attribute of the app; None for one that is not Celery's."""
    if name not in _rows(names.APP):
        return None
    if name in names.APP_PARAMETERS_ONLY:
        return Verdict(APP, f"app.{name}", MISSING, "", names.APP_PARAMETERS_ONLY[name])
    return _renamed(_of_row(APP, names.APP, name), f"app.{name}")


def of_parameter(name: str) -> Verdict:
    """Return what has become of a parameter of `Celery(...)` that is no setting."""
    return _of_row(APP, names.APP, name)


def of_control(name: str) -> Verdict:
    """Return what has become of a method of `app.control`."""
    here = hasattr(Control, name)
    return Verdict(
        APP, f"app.control.{name}", SAME_HERE if here else MISSING, "", "" if here else "comes later"
    )


def of_workflow(name: str) -> Verdict:
    """Return what is said of a chain, group or chord that is made without being imported."""
    return Verdict(WORKFLOW, name, MISSING, "", names._CANVAS)


# -- what stands beside the code


def of_installed_app(name: str) -> Verdict | None:
    """Return what has become of an entry of INSTALLED_APPS; None if it has nothing to do with Celery."""
    name = name.partition(".")[0] if name.startswith("django_celery") else name
    if name in imports.APPS_HERE:
        return Verdict(APP_ENTRY, name, RENAMED, "celeriac.django", imports.APPS_HERE[name])
    if name in imports.APPS_ABSENT:
        return Verdict(APP_ENTRY, name, MISSING, "", imports.APPS_ABSENT[name])
    return None


def of_package(name: str) -> Verdict | None:
    """Return what has become of a package that is installed; None if it has nothing to do with Celery."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in imports.PACKAGES_HERE:
        return Verdict(PACKAGE, name, RENAMED, "", imports.PACKAGES_HERE[name])
    if name in imports.PACKAGES_ABSENT:
        return Verdict(PACKAGE, name, MISSING, "", imports.PACKAGES_ABSENT[name])
    if "celery" in name:
        return Verdict(PACKAGE, name, MISSING, "", imports.PACKAGE_UNKNOWN)
    return None


def of_command(name: str) -> Verdict:
    """Return what has become of a command of Celery's."""
    state, why = _rows(_COMMANDS).get(name, (ABSENT_HERE, ""))
    if state == SAME:
        return Verdict(COMMAND, f"celery {name}", RENAMED, f"celeriac {name}")
    return Verdict(COMMAND, f"celery {name}", MISSING, "", why)


def of_flag(command: str, written: str, value: str) -> Verdict | None:
    """Return what has become of a flag of `celery worker` or `celery beat`; None for one that is not known."""
    if command == "beat" and written == "-S":
        written = "--scheduler"  # of the worker it is --statedb
    for listed, (state, why) in _rows(_FLAGS).items():
        flags = listed.split("/")
        if written not in flags:
            continue
        wrong = _wrong_value("worker_pool", [value]) if "--pool" in flags else ""
        if wrong:
            return Verdict(FLAG, listed, MISSING, "", wrong)
        if state == SAME or (state == DIFFERS and "--pool" in flags):
            return Verdict(FLAG, listed, SAME_HERE)
        refused = tuple(flags) in REFUSED
        return Verdict(FLAG, listed, MISSING if refused or state == LATER else RENAMED, "", why)
    return None


# -- the table


def _of_row(kind: str, section: Section, name: str, unknown: str = "") -> Verdict:
    state, why = _rows(section).get(name, (ABSENT_HERE, unknown))
    if state == SAME:
        return Verdict(kind, name, SAME_HERE)
    # "may be set, without effect", "may be handed on": nothing has to be done.
    harmless = state == DIFFERS or why.startswith("may be")
    return Verdict(kind, name, RENAMED if harmless else MISSING, "", why)


def _renamed(verdict: Verdict, name: str) -> Verdict:
    return Verdict(verdict.kind, name, verdict.state, verdict.here, verdict.advice)


_told: dict[str, dict[str, tuple[str, str]]] = {}


def _rows(section: Section) -> dict[str, tuple[str, str]]:
    """Return state and reason by name."""
    if section.title not in _told:
        _told[section.title] = {
            name: (state, why) for listed, state, why in section.lines() for name in listed
        }
    return _told[section.title]


def _by_name(reasons: Mapping[str, str]) -> dict[str, str]:
    return {name: why for listed, why in reasons.items() for name in listed.split()}


def _longest(reasons: Mapping[str, str], dotted: str) -> str:
    """Return the reason that stands for `dotted` or for the nearest module above it."""
    by_name = _by_name(reasons)
    while dotted:
        if dotted in by_name:
            return by_name[dotted]
        dotted = dotted.rpartition(".")[0]
    return "it is not here"
