"""The memory keepers are real keepers: they pass the exams."""

import itertools
from collections.abc import Callable

import pytest

from celeriac.brokers.memory import MemoryBroker
from celeriac.config import Settings
from celeriac.stores.memory import MemoryStore
from celeriac.testing.broker_exam import BrokerExam
from celeriac.testing.store_exam import StoreExam

_numbers = itertools.count()


class TestMemoryBroker(BrokerExam):
    @pytest.fixture
    def make_broker(self) -> Callable[..., MemoryBroker]:
        url = f"memory://exam-{next(_numbers)}"
        return lambda **settings: MemoryBroker(url, Settings(**settings))

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore(f"memory://exam-{next(_numbers)}")


class TestMemoryStore(StoreExam):
    shared = False

    @pytest.fixture
    def make_store(self) -> Callable[..., MemoryStore]:
        url = f"memory://exam-{next(_numbers)}"
        return lambda **settings: MemoryStore(url, Settings(**settings))
