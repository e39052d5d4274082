"""Exceptions written down and rebuilt: which classes come back, and which never do."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from celeriac import Celeriac
from celeriac.errors import TaskError
from celeriac.failure import failure_json, rebuild_exception


class OutOfStock(Exception):
    """A project's own exception."""


class Demanding(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    "error", [ValueError("bad", 3), KeyError("k"), OSError(2, "gone"), TaskError("ours")]
)
def test_built_in_exceptions_and_ours_come_back(error: Exception) -> None:
    found = rebuild_exception(failure_json(error))
    assert type(found) is type(error) and found.args == error.args


def test_a_project_s_exceptions_come_back_where_it_says_so() -> None:
    stored = failure_json(OutOfStock("celeriac", 3))
    other = rebuild_exception(stored)
    assert type(other).__name__ == "OutOfStock" and isinstance(other, TaskError)
    assert other.args == ("celeriac", 3)
    for allowed in ([f"{__name__}.OutOfStock"], [f"{__name__}.*"], ["nothing", "tests.*"]):
        assert type(rebuild_exception(stored, allowed)) is OutOfStock
    assert type(rebuild_exception(stored, [f"{__name__}.Others", "test"])) is not OutOfStock


@pytest.fixture
def trap() -> Iterator[list[str]]:
    """A module whose names do something when they are called."""
    called: list[str] = []
    module = ModuleType("trapped")
    module.system = called.append  # type: ignore[attr-defined]
    module.Exit = type("Exit", (SystemExit,), {})  # type: ignore[attr-defined]
    sys.modules["trapped"] = module
    yield called
    del sys.modules["trapped"]


@pytest.mark.parametrize("name", ["system", "Exit", "missing", "__class__", "a b"])
def test_nothing_but_exceptions_is_called(trap: list[str], name: str) -> None:
    stored = b'{"exc_type":"%s","exc_message":["rm"],"exc_module":"trapped"}' % name.encode()
    found = rebuild_exception(stored, ["*"])
    assert isinstance(found, TaskError)
    assert trap == []


def test_a_module_that_is_not_imported_is_not_imported() -> None:
    assert "antigravity" not in sys.modules
    stored = b'{"exc_type":"X","exc_message":[],"exc_module":"antigravity"}'
    assert isinstance(rebuild_exception(stored, ["*"]), TaskError)
    assert "antigravity" not in sys.modules


def test_one_that_cannot_be_made_again_is_told_all_the_same() -> None:
    found = rebuild_exception(failure_json(Demanding(1, 2)), ["*"])
    assert isinstance(found, TaskError) and "Demanding" in str(found) and "1 and 2" in str(found)


def test_get_raises_what_the_settings_allow() -> None:
    app = Celeriac("x", broker="memory://", backend="memory://failure", result_exceptions=["tests.*"])

    @app.task(bind=True)
    def fails(self: object) -> None: ...

    fails.update_state("an-id", "FAILURE", OutOfStock("none left"))
    with pytest.raises(OutOfStock, match="none left"):
        app.AsyncResult("an-id").get()
    app.close()
