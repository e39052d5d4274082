"""The Redis keepers pass the exams over a real server."""

from collections.abc import Callable, Iterator

import pytest

from celeriac.brokers.redis import RedisBroker
from celeriac.config import Settings
from celeriac.stores.redis import RedisStore
from celeriac.testing.broker_exam import BrokerExam
from celeriac.testing.store_exam import StoreExam
from tests.servers import RedisServer

pytestmark = pytest.mark.redis


class TestRedisBroker(BrokerExam):
    @pytest.fixture
    def make_broker(self, redis_server: RedisServer) -> Callable[..., RedisBroker]:
        redis_server.flush()
        return lambda **settings: RedisBroker(redis_server.url, Settings(**settings))

    @pytest.fixture
    def store(self, redis_server: RedisServer) -> Iterator[RedisStore]:
        store = RedisStore(redis_server.url, Settings())
        yield store
        store.close()


class TestRedisStore(StoreExam):
    @pytest.fixture
    def make_store(self, redis_server: RedisServer) -> Callable[..., RedisStore]:
        redis_server.flush()
        return lambda **settings: RedisStore(redis_server.url, Settings(**settings))
