"""The exams catch keepers that break one promise, and the check that is meant for it does."""

import inspect
import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest

from celeriac.brokers.memory import MemoryBroker
from celeriac.config import Settings
from celeriac.errors import LeaseLost
from celeriac.stores.memory import MemoryStore
from celeriac.testing import broker_exam, store_exam
from tests.exams.saboteurs import BROKERS, STORES, Sabotage

_numbers = itertools.count()
#: How a check fails: by an assert, a future that does not come, an unexpected LeaseLost, or `pytest.raises`.
CAUGHT = (AssertionError, TimeoutError, LeaseLost, pytest.fail.Exception)


def _maker(keeper: type[Any]) -> Callable[..., Any]:
    url = f"memory://saboteur-{next(_numbers)}"
    return lambda **settings: keeper(url, Settings(**settings))


def _sit(exam: Any, sabotage: Sabotage, keeper: type[Any], **fixtures: Any) -> None:
    """Run the check that is to catch `sabotage` on `keeper`."""
    check = getattr(exam(), sabotage.check)
    make = _maker(keeper)
    known = {"make_broker": make, "make_store": make} | fixtures
    wanted = inspect.signature(check).parameters
    known["broker"] = make() if "broker" in wanted else None
    known.setdefault("store", make() if "store" in wanted else None)
    check(**{name: known[name] for name in wanted if name in known}, **sabotage.parameters)


def _is_caught(exam: Any, sabotage: Sabotage, **fixtures: Any) -> bool:
    """Whether the check fails. In memory and in one process nothing takes long, and what does not come never comes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("celeriac.testing."):
                for patience, seconds in (("SOON", 1.0), ("LONG", 2.0)):
                    patch.setattr(module, patience, seconds, raising=False)
        try:
            _sit(exam, sabotage, sabotage.keeper, **fixtures)
        except CAUGHT:
            return True
    return False


def _await_caught(exam: Any, sabotage: Sabotage, **fixtures: Any) -> None:
    """See that the check fails. Where it depends on the moment, a machine that stalls makes it milder now and then."""
    assert any(_is_caught(exam, sabotage, **fixtures) for _ in range(10)), "it passes"


class TestBrokers:
    @pytest.mark.parametrize(
        "sabotage", BROKERS, ids=lambda sabotage: f"{sabotage.keeper.__name__}-{sabotage.check}"
    )
    def test_is_caught(self, sabotage: Sabotage) -> None:
        store = _maker(MemoryStore)()
        _sit(broker_exam.BrokerExam, sabotage, MemoryBroker, store=store)  # the honest keeper passes
        _await_caught(broker_exam.BrokerExam, sabotage, store=store)

    def test_there_are_enough_of_them(self) -> None:
        assert len({sabotage.keeper for sabotage in BROKERS}) >= 12


class TestStores:
    @pytest.mark.parametrize(
        "sabotage", STORES, ids=lambda sabotage: f"{sabotage.keeper.__name__}-{sabotage.check}"
    )
    def test_is_caught(self, sabotage: Sabotage) -> None:
        _sit(store_exam.StoreExam, sabotage, MemoryStore)
        _await_caught(store_exam.StoreExam, sabotage)

    def test_there_are_enough_of_them(self) -> None:
        assert len({sabotage.keeper for sabotage in STORES}) >= 4
