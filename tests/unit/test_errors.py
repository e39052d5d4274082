"""The tree of errors is the one that its module draws."""

import copy
import pickle
import re
from typing import Any

import pytest

from celeriac import errors

CLASSES: list[type[BaseException]] = [getattr(errors, name) for name in errors.__all__]
DRAWN = dict(re.findall(r"(\w+) \((E\d+)\)", errors.__doc__ or ""))


def test_all_are_exported() -> None:
    own = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__ == errors.__name__
    }
    assert own == set(errors.__all__)
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
class TestEachClass:
    def test_says_what_it_is(self, cls: type[BaseException]) -> None:
        assert cls.__doc__
        assert cls.__doc__ not in {base.__doc__ for base in cls.__mro__[1:]}

    def test_is_in_the_drawing(self, cls: type[BaseException]) -> None:
        assert re.search(rf"\b{cls.__name__}\b", errors.__doc__ or "")

    def test_has_the_code_that_is_drawn(self, cls: type[BaseException]) -> None:
        own = cls.__dict__.get("code", "")
        assert own == DRAWN.get(cls.__name__, "")

    def test_belongs_to_the_tree(self, cls: type[BaseException]) -> None:
        assert issubclass(cls, errors.CeleriacError) or cls is errors.SoftTimeLimitExceeded

    def test_can_be_copied_between_processes(self, cls: type[BaseException]) -> None:
        error = cls("what happened")
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is cls
            assert (again.args, str(again)) == (error.args, str(error))
            assert vars(again) == vars(error)


def test_codes_are_unique() -> None:
    codes = [cls.__dict__["code"] for cls in CLASSES if cls.__dict__.get("code")]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"E1\d\d", code) for code in codes)


def test_the_drawing_shows_who_descends_from_whom() -> None:
    """Depth in the drawing is depth in the tree, for the first name of each line."""
    parents: dict[int, str] = {}
    for indent, name in re.findall(r"^( {4,})(\w+)(?= |$)", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent)
        parents[depth] = name
        if depth > 4:
            parent = getattr(errors, parents[depth - 2])
            assert issubclass(getattr(errors, name), parent), (name, parent)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.EncodeError, TypeError),
        (errors.CallError, TypeError),
        (errors.UnknownOption, TypeError),
        (errors.NotRegistered, KeyError),
        (errors.TaskTimeout, TimeoutError),
        (errors.WaitInTask, RuntimeError),
    ],
)
def test_what_celery_users_catch(cls: type[BaseException], builtin: type[BaseException]) -> None:
    assert issubclass(cls, builtin)


def test_a_key_error_without_quotes() -> None:
    assert str(errors.NotRegistered("no task 'x'")) == "no task 'x'"
    assert str(errors.NotRegistered()) == ""


def test_a_lost_reply_says_so() -> None:
    error = errors.BrokerDown("gone", maybe_queued=True, task_id="i")
    again: Any = pickle.loads(pickle.dumps(error))
    assert (again.maybe_queued, again.task_id) == (True, "i")
    assert (errors.BrokerDown("x").maybe_queued, errors.BrokerDown("x").task_id) == (False, None)


def test_the_text_of_a_retry() -> None:
    cause = ValueError("no")
    assert str(errors.Retry("by hand", cause, 5)) == "by hand"
    assert str(errors.Retry(None, cause, 5)) == "Retry in 5 s: ValueError('no')"
    assert str(errors.Retry(when=0.5)) == "Retry in 0.5 s"


def test_a_reject_carries_its_wish() -> None:
    error = errors.Reject("broken", requeue=True)
    assert (error.reason, error.requeue) == ("broken", True)
    assert errors.Reject().requeue is False
