"""The table of Celery's names is complete and true: Celery 5.7 is asked for its names, Celeriac for what it has."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import celery
import celery.app.defaults
import celery.app.task
import celery.bin.celery
import celery.bin.worker
import celery.contrib.django.task
import celery.contrib.pytest
import celery.exceptions
import celery.result
import celery.schedules
import celery.signals
import kombu
import msgspec
import pytest

import celeriac
import celeriac.signals
from celeriac import config, errors, options, schedules
from celeriac.cli import main
from celeriac.cli.from_celery import imports, names, told
from celeriac.cli.options import own_options
from celeriac.cli.program import COMMANDS, make_program
from celeriac.context import Request
from celeriac.result import EagerResult
from celeriac.testing import celery_fixtures
from tests.docs.pages import DOCS, blocks


def public(*things: Any) -> set[str]:
    return {name for thing in things for name in dir(thing) if not name.startswith("_")}


def parameters(*functions: Callable[..., Any]) -> set[str]:
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [p for each in functions for p in inspect.signature(each).parameters.values()]
    return {p.name for p in found if p.kind in plain} - {"self", "name", "fun"}


def flags(commands: Iterable[Any]) -> set[str]:
    return {option for command in commands for each in command.params for option in each.opts}


#: Options of tasks that are no attributes of Celery's class until they are given.
GIVEN_ONLY = set(
    "base bind name autoretry_for dont_autoretry_for retry_kwargs retry_backoff retry_backoff_max retry_jitter queue "
    "exchange routing_key exchange_type delivery_mode compression shared lazy".split()
)
#: Options of calls that Celery takes as `**options` and hands on.
HANDED_ON = {"ignore_result", "queue", "exchange_type", "stamped_headers"}

celerys_app = celery.Celery("names", broker="memory://", backend="cache+memory://", set_as_current=False)
our_app = celeriac.Celeriac("names", broker="memory://names", set_as_current=False)


A_TASK = "names.of.a.task"


def a_task() -> None: ...


celerys_app.task(name=A_TASK, shared=False)(a_task)
our_task = our_app.task(name=A_TASK)(a_task)


def has_option(name: str) -> bool:
    return name in options.TASK or name in options.METHODS or hasattr(our_task, name)


def has_call_option(name: str) -> bool:
    return name in options.CALL or name in parameters(celeriac.Task.apply_async)


def has_app_name(name: str) -> bool:
    settings = config.ROWS.keys() & parameters(celery.Celery.__init__)
    return name in parameters(celeriac.Celeriac.__init__) | settings or hasattr(our_app, name)


#: For each section: Celery's names, and whether Celeriac has one.
SIDES: dict[str, tuple[set[str], Callable[[str], bool]]] = {
    "Tasks": (
        public(celerys_app.tasks[A_TASK], celery.contrib.django.task.DjangoTask)
        | parameters(celery.Celery._task_from_fun)
        | GIVEN_ONLY,
        has_option,
    ),
    "Calls": (
        parameters(celery.Task.apply_async, celery.Celery.send_task, kombu.Producer.publish) | HANDED_ON,
        has_call_option,
    ),
    "The running call": (
        public(celery.app.task.Context()),
        lambda name: name in dir(Request) or name in Request.__struct_fields__,
    ),
    "The app": (public(celerys_app) | parameters(celery.Celery.__init__) - {"tasks", "kwargs"}, has_app_name),
    "Results": (
        public(celery.result.AsyncResult, celery.result.EagerResult),
        lambda name: hasattr(celeriac.AsyncResult, name) and hasattr(EagerResult, name),
    ),
    "Sets of results": (
        public(celery.result.ResultSet, celery.result.GroupResult),
        lambda name: any(
            hasattr(getattr(celeriac.result, cls, None), name) for cls in ("ResultSet", "GroupResult")
        ),
    ),
    "Schedules": (
        {*celery.schedules.__all__, "BaseSchedule", "schedstate"}
        | public(celery.schedules.schedule, celery.schedules.crontab, celery.schedules.solar),
        lambda name: any(
            hasattr(each, name) for each in (schedules, schedules.schedule(1), schedules.crontab())
        ),
    ),
    "Signals": (
        public(celery.signals) - {"Signal"},
        lambda name: isinstance(getattr(celeriac.signals, name, None), celeriac.signals.Signal),
    ),
    "Exceptions": (set(celery.exceptions.__all__), lambda name: hasattr(errors, name)),
    "Fixtures of pytest": (
        {name for name in public(celery.contrib.pytest) if "celery_" in name or name == "depends_on_current_app"},
        lambda name: hasattr(celery_fixtures, name),
    ),
    # flower is a plugin.
    "Commands": ({*celery.bin.celery.celery.commands, "flower"}, lambda name: name in COMMANDS),
}  # fmt: skip


@pytest.mark.parametrize("title", SIDES)
def test_each_name_has_a_row_that_is_true(title: str) -> None:
    (section,) = (each for each in told.sections() if each.title == title)
    celerys, has = SIDES[title]
    rows = section.states()
    assert sorted(celerys - rows.keys()) == [], "names of Celery's without a row in cli/from_celery/names.py"
    assert sorted(rows.keys() - celerys) == [], "rows for names that Celery has not"
    here = {name for name, state in rows.items() if state in (names.SAME, names.DIFFERS)}
    assert sorted(name for name in here if not has(name)) == [], "said to be here, and are not"
    gone = sorted(name for name in rows.keys() - here if has(name))
    assert gone == [], "here by now: move them to `same` or `differs` in cli/from_celery/names.py"


def test_no_name_has_two_rows() -> None:
    for section in told.sections():
        listed = [name for each, _, _ in section.lines() for name in each]
        assert len(listed) == len(set(listed)), sorted(name for name in listed if listed.count(name) > 1)


def test_each_setting_has_a_row_that_is_true() -> None:
    defaults = {
        name: option.default for name, option in celery.app.defaults.flatten(celery.app.defaults.NAMESPACES)
    }
    rows = told.settings().states()
    beginnings = tuple(name.removesuffix("*") for name in rows if name.endswith("*"))
    assert sorted(name for name in defaults if name not in rows and not name.startswith(beginnings)) == []
    assert config.ROWS.keys() & defaults.keys() == config.ROWS.keys() - names.OWN_SETTINGS
    for field in msgspec.structs.fields(config.Settings):
        if field.name in defaults and rows[field.name] == names.SAME:
            ours = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            assert alike(ours, defaults[field.name]), (
                f"{field.name} differs by its default, and no row says so"
            )


def alike(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, timedelta):
        theirs = theirs.total_seconds()
    return bool(ours == (list(theirs) if isinstance(theirs, tuple) else theirs))


def test_each_flag_has_a_row_that_is_true() -> None:
    said = {flag: state for row, state in told.flags().states().items() for flag in row.split("/")}
    theirs = flags((celery.bin.worker.worker, celery.bin.celery.celery))
    # Celery's later spellings of the same flags.
    assert theirs - said.keys() <= {"--events", "--schedule"}
    assert said.keys() <= theirs
    ours = flags([make_program()]) | {option for each in own_options() for option in each.opts}
    here = {flag for flag, state in said.items() if state in (names.SAME, names.DIFFERS)}
    assert here <= ours
    assert sorted((said.keys() - here) & ours) == []


def test_the_states_are_celerys() -> None:
    for name in public(celery.states):
        if name.isupper() and isinstance(getattr(celery.states, name), str):
            assert getattr(celeriac.states, name, None) == getattr(celery.states, name), name


def test_imports_lead_somewhere() -> None:
    for theirs, ours in imports.IMPORTS.items():
        for dotted in (theirs, ours):
            assert pkgutil.resolve_name(dotted) is not None or importlib.import_module(dotted)


def test_the_page_on_moving_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("shop", "blog"):
        Path(folder).mkdir()
    Path("shop/tasks.py").write_text("\n\nfrom celery import chain, shared_task\n")
    Path("blog/tasks.py").write_text("from celery import shared_task\n")
    lines = 'CELERY_BROKER_URL = "amqp://localhost"', "", "CELERY_TASK_TIME_LIMIT = 60"
    Path("shop/settings.py").write_text("\n" * 140 + "\n".join(lines))
    main(["migrate-from-celery"])
    printed = capsys.readouterr().out
    (shown,) = (each for each in blocks(DOCS / "how-to/from-celery.md") if each.words == ("moving",))
    assert printed.startswith(shown.text), printed
