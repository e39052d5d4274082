"""A task's arguments as a form: each type is asked for, stored as the wire has it, and shown as it was filled in."""

import datetime as dt
import enum
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal, Optional

import pytest

from celeriac.app import Celeriac
from celeriac.django.admin.call_field import CallForm
from celeriac.message import serializers


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("forms", broker="memory://", set_as_current=False)
    yield app
    app.close()


def taking(app: Celeriac, hint: Any, default: Any = ...) -> Any:
    """A task with one parameter, `x`."""

    def function(x: Any) -> None: ...

    function.__annotations__["x"] = hint
    if default is not ...:
        function.__defaults__ = (default,)
    return app.task(name="shop.tasks.f")(function)


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
PARIS = dt.timezone(dt.timedelta(hours=1))
TYPES = [
    (int, "7", 7),
    (float, "1.5", 1.5),
    (bool, "on", True),
    (bool, None, False),
    (str, " a ", " a "),
    (Decimal, "1.50", Decimal("1.50")),
    (dt.date, "2026-12-24", dt.date(2026, 12, 24)),
    (dt.time, "08:30:00", dt.time(8, 30)),
    (dt.datetime, "2026-12-24T08:30:00", dt.datetime(2026, 12, 24, 8, 30, tzinfo=PARIS)),
    (uuid.UUID, str(UUID), UUID),
    (Level, "2", 2),
    (Literal["a", 3], "3", 3),
    (Literal["a", 3], '"a"', "a"),
    (int | None, "7", 7),
    (int | None, "", None),
    (Optional[Level], "", None),  # noqa: UP045 - as many still write it
    (bool | None, "false", False),
    (list[int], "[1, 2]", [1, 2]),
    (dict, '{"a": {"b": null}}', {"a": {"b": None}}),
    (int | str, "7", 7),
    (int | str, '"7"', "7"),
    (Any, "plain words", "plain words"),
    ("not to be found", "x", "x"),
]


@pytest.mark.parametrize(("hint", "written", "value"), TYPES)
def test_there_and_back(app: Celeriac, hint: Any, written: str | None, value: Any) -> None:
    task = taking(app, hint)
    form = CallForm(task, {} if written is None else {"c-x": written}, "c")
    assert form.is_valid(), form.errors
    args, kwargs = form.call
    assert args == []
    read = serializers.json_loads(serializers.json_dumps(kwargs))["x"]
    assert (type(read), read) == (type(value), value)
    shown = CallForm(task, None, "c", form.call)["x"]
    again = CallForm(task, {"c-x": shown.value()} if shown.value() not in (None, False) else {}, "c")
    if isinstance(value, dt.datetime | dt.date | dt.time):
        assert f'value="{written}"' in str(shown)
    else:
        assert again.is_valid(), again.errors
        assert again.call == form.call


@pytest.mark.parametrize(
    ("hint", "written"),
    [
        (int, "x"),
        (int, ""),
        (dt.date, "soon"),
        (Level, "3"),
        (Any, "[1"),
        (Any, '"open'),
        (str, ""),
        (uuid.UUID, "1"),
    ],
)
def test_what_is_refused(app: Celeriac, hint: Any, written: str) -> None:
    form = CallForm(taking(app, hint), {"c-x": written}, "c")
    assert not form.is_valid()
    assert "x" in form.errors


@pytest.mark.parametrize(
    ("hint", "default", "written", "stored"),
    [
        (int, 10, "", {}),
        (int, 10, "10", {}),
        (int, 10, "0", {"x": 0}),
        (bool, True, "on", {}),
        (bool, True, None, {"x": False}),
        (bool, False, None, {}),
        (str, "a", "", {}),
        (Level, Level.LOW, "1", {}),
        (Level, Level.LOW, "2", {"x": 2}),
        (Literal["a", "b"], "a", '"b"', {"x": "b"}),
        (Any, None, "", {}),
        (Any, 1, "true", {"x": True}),
    ],
)
def test_defaults_are_left_out(
    app: Celeriac, hint: Any, default: Any, written: str | None, stored: Any
) -> None:
    form = CallForm(taking(app, hint, default), {} if written is None else {"c-x": written}, "c")
    assert form.is_valid(), form.errors
    assert form.call == ([], stored)


@pytest.mark.parametrize(
    "function",
    [lambda *args: None, lambda **kwargs: None, lambda x, /: None],
    ids=["any by place", "any by name", "by place only"],
)
def test_json_where_fields_will_not_do(app: Celeriac, function: Any) -> None:
    form = CallForm(app.task(name="shop.tasks.f")(function), {"c-args": "[1]", "c-kwargs": ""}, "c")
    assert form.is_json
    assert form.is_valid()
    assert form.call == ([1], {})


def test_without_the_check_of_types_it_is_json(app: Celeriac) -> None:
    assert CallForm(app.task(name="shop.tasks.f", typing=False)(lambda x: None), None, "c").is_json
