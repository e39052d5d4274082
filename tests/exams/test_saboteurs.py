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


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory and in one process nothing takes long."""
    for name, module in sys.modules.items():
        if name.startswith("celeriac.testing."):
            for patience, seconds in (("SOON", 2.0), ("LONG", 5.0)):
                monkeypatch.setattr(module, patience, seconds, raising=False)


class TestBrokers:
    @pytest.mark.parametrize(
        "sabotage", BROKERS, ids=lambda sabotage: f"{sabotage.keeper.__name__}-{sabotage.check}"
    )
    def test_is_caught(self, sabotage: Sabotage) -> None:
        store = _maker(MemoryStore)()
        _sit(broker_exam.BrokerExam, sabotage, MemoryBroker, store=store)  # the honest keeper passes
        with pytest.raises(CAUGHT):
            _sit(broker_exam.BrokerExam, sabotage, sabotage.keeper, store=store)

    def test_there_are_enough_of_them(self) -> None:
        assert len({sabotage.keeper for sabotage in BROKERS}) >= 12


class TestStores:
    @pytest.mark.parametrize(
        "sabotage", STORES, ids=lambda sabotage: f"{sabotage.keeper.__name__}-{sabotage.check}"
    )
    def test_is_caught(self, sabotage: Sabotage) -> None:
        _sit(store_exam.StoreExam, sabotage, MemoryStore)
        with pytest.raises(CAUGHT):
            _sit(store_exam.StoreExam, sabotage, sabotage.keeper)

    def test_there_are_enough_of_them(self) -> None:
        assert len({sabotage.keeper for sabotage in STORES}) >= 4
