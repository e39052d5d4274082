"""The cache store sits the exam: in this process's memory, in files, in a table, and on Redis."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import ConnectionPool

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.settings")

from tests.django import databases

databases.set_up()

from django.core.cache import caches  # noqa: E402

from celeriac.config import Settings  # noqa: E402
from celeriac.django.cache_store import CacheStore  # noqa: E402
from celeriac.errors import ImproperlyConfigured, StoreError  # noqa: E402
from celeriac.testing.store_exam import StoreExam  # noqa: E402
from tests.servers import RedisServer  # noqa: E402

ROOMY = {"MAX_ENTRIES": 100_000}


class _Cache(StoreExam):
    @pytest.fixture
    def entry(self) -> dict[str, Any]:
        raise NotImplementedError

    @pytest.fixture
    def make_store(self, entry: dict[str, Any]) -> Iterator[Callable[..., CacheStore]]:
        caches.settings["exam"] = entry
        caches["exam"].clear()
        yield lambda **settings: CacheStore("cache://exam", Settings(**settings))
        del caches["exam"]
        del caches.settings["exam"]


class TestMemory(_Cache):
    shared = False

    @pytest.fixture
    def entry(self) -> dict[str, Any]:
        return {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "exam",
            "OPTIONS": ROOMY,
        }


class TestFiles(_Cache):
    many = 500  # Django lists the folder at each

    @pytest.fixture
    def entry(self, tmp_path: Path) -> dict[str, Any]:
        return {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(tmp_path),
            "OPTIONS": ROOMY,
        }


@pytest.mark.redis
class TestRedis(_Cache):
    @pytest.fixture
    def entry(self, redis_server: RedisServer) -> Iterator[dict[str, Any]]:
        """Django leaves it to the garbage collection to close connections, and each thread has some of its own."""
        pools: list[ConnectionPool] = []

        class Kept(ConnectionPool):
            def __init__(self, *parameters: Any, **options: Any) -> None:
                super().__init__(*parameters, **options)
                pools.append(self)

        yield {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis_server.url,
            "OPTIONS": {"pool_class": Kept},
        }
        for pool in pools:
            pool.disconnect()


def test_a_cache_that_is_away() -> None:
    caches.settings["away"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://127.0.0.1:1/0",
    }
    try:
        with pytest.raises(StoreError, match="Cannot reach the cache 'away'"):
            CacheStore("cache://away").fetch(["1"])
    finally:
        del caches["away"]
        del caches.settings["away"]


def test_no_such_cache() -> None:
    with pytest.raises(ImproperlyConfigured, match="nowhere"):
        CacheStore("cache://nowhere")
