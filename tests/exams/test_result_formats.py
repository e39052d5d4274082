"""Results in every serializer and compression: Celery 5.7 reads ours on Redis, and we read Celery's."""

import datetime as dt
import decimal
import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.settings")

from tests.django import databases

databases.set_up()

from django.core.cache import caches  # noqa: E402

import celeriac  # noqa: E402
from celeriac.brokers.redis import RedisBroker  # noqa: E402
from celeriac.cli.checks import prepare  # noqa: E402
from celeriac.config import Settings  # noqa: E402
from celeriac.django.cache_store import CacheStore  # noqa: E402
from celeriac.errors import (  # noqa: E402
    ContentDisallowed,
    ImproperlyConfigured,
    MessageError,
    StoreError,
    UnstorableResult,
)
from celeriac.message import result_format  # noqa: E402
from celeriac.message.message import new_id  # noqa: E402
from celeriac.serialization import register, unregister  # noqa: E402
from celeriac.store import Record  # noqa: E402
from celeriac.stores.redis import RedisStore  # noqa: E402
from tests.celery_close import close_celery  # noqa: E402
from tests.servers import RedisServer  # noqa: E402

pytestmark = [
    pytest.mark.redis,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # Celery on redis-py 8
]

ALL = ["json", "msgpack", "yaml", "pickle"]
EVERY = [(name, packing) for name in ALL for packing in (None, "gzip")] + [
    ("json", packing) for packing in ("bzip2", "lzma", "zstd", "brotli")
]
PLAIN = {"text": "ü" * 200, "list": [1, 2.5, None, True], "nested": {"a": {"b": []}}}
#: What each serializer can hold besides.
OWN: dict[str, Any] = {
    "json": {"when": dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC), "id": UUID(int=7), "price": decimal.Decimal("1.10")},
    "msgpack": {"raw": b"\xff\x00"},
    "yaml": {"day": dt.date(2026, 11, 21), "raw": b"\xff\x00"},
    "pickle": {"pair": (1, 2), "set": {3}, "kind": dt.timedelta},
}  # fmt: skip


def settings(serializer: str, packing: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "result_serializer": serializer,
        "result_compression": packing,
        "result_accept_content": ALL,
        **more,
    }


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.flush()
    return redis_server


@pytest.fixture
def make_store(server: RedisServer) -> Iterator[Callable[..., RedisStore]]:
    made = []

    def make(*given: Any, **more: Any) -> RedisStore:
        made.append(RedisStore(server.url, Settings(**settings(*given, **more))))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def make_celery(server: RedisServer) -> Iterator[Callable[..., Celery]]:
    made = []

    def make(*given: Any) -> Celery:
        app = Celery(uuid4().hex, broker=server.url, backend=server.url, set_as_current=False)
        app.conf.update(settings(*given))
        made.append(app)
        return app

    yield make
    for app in made:
        close_celery(app)


def written(value: Any, serializer: str, **fields: Any) -> Record:
    """The record of a task that has returned `value`."""
    conf = Settings(**settings(serializer))
    return Record(new_id(), "SUCCESS", result_format.writer(conf)(value), finished=1.0, **fields)


def value_of(record: Record) -> Any:
    return result_format.read(record.result, Settings(result_accept_content=ALL))


@pytest.mark.parametrize(("serializer", "packing"), EVERY)
def test_celery_reads_ours(make_store: Any, make_celery: Any, serializer: str, packing: str | None) -> None:
    celery, store = make_celery(serializer, packing), make_store(serializer, packing)
    value = {**PLAIN, **OWN[serializer]}
    good = written(value, serializer, name="shop.add", args="(1, 2)", worker="w@h", traceback="ü")
    failure = b'{"exc_type":"ValueError","exc_message":["no"],"exc_module":"builtins"}'
    bad = Record(new_id(), "FAILURE", failure, "Traceback ...", finished=1.0)
    going = Record(new_id(), "PROGRESS", b'{"when":{"__type__":"date","__value__":"2026-11-21"}}')
    store.store([good, bad, going])
    result = celery.AsyncResult(good.id)
    assert result.get(timeout=60) == value
    assert (result.name, result.args, result.worker) == ("shop.add", "(1, 2)", "w@h")
    with pytest.raises(ValueError, match="no"):
        celery.AsyncResult(bad.id).get(timeout=60)
    assert celery.AsyncResult(bad.id).traceback == "Traceback ..."
    assert celery.AsyncResult(going.id).state == "PROGRESS"
    if serializer != "msgpack":  # which has no dates: those go with JSON's tags
        assert celery.AsyncResult(going.id).info == {"when": dt.date(2026, 11, 21)}
    seen = store.fetch([good.id, bad.id, going.id])
    assert value_of(seen[good.id]) == value
    assert (seen[bad.id].state, json.loads(seen[bad.id].result)) == ("FAILURE", json.loads(failure))


@pytest.mark.parametrize(("serializer", "packing"), EVERY)
def test_we_read_celerys(make_store: Any, make_celery: Any, serializer: str, packing: str | None) -> None:
    celery, store = make_celery(serializer, packing), make_store(serializer, packing)
    celery.conf.result_extended = True
    value = {**PLAIN, **OWN[serializer]}
    good, bad, quiet = new_id(), new_id(), new_id()
    celery.backend.store_result(good, value, "SUCCESS")
    celery.backend.store_result(bad, ValueError("no"), "FAILURE", traceback="tb")
    celery.backend.store_result(quiet, None, "SUCCESS")
    seen = (
        make_store("json").fetch([good, bad, quiet])
        if serializer != "yaml"
        else store.fetch([good, bad, quiet])
    )
    assert seen == store.fetch([good, bad, quiet])
    assert value_of(seen[good]) == value
    assert (seen[good].state, seen[bad].state, seen[bad].traceback) == ("SUCCESS", "FAILURE", "tb")
    told = json.loads(seen[bad].result)
    assert told == {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}
    assert seen[quiet].result == b"null"


@pytest.mark.parametrize(("serializer", "packing"), EVERY)
def test_both_wait_for_each_other(
    make_store: Any, make_celery: Any, serializer: str, packing: str | None
) -> None:
    celery, store = make_celery(serializer, packing), make_store(serializer, packing)
    ours, theirs = written(5, serializer), new_id()
    result = celery.AsyncResult(ours.id)
    result.backend.result_consumer.consume_from(ours.id)
    store.store([ours])
    assert result.get(timeout=60) == 5
    celery.backend.store_result(theirs, 6, "SUCCESS")
    assert value_of(store.wait(theirs, 60)) == 6


@pytest.mark.parametrize(("serializer", "packing"), EVERY)
def test_a_success_stays(make_store: Any, serializer: str, packing: str | None) -> None:
    store = make_store(serializer, packing)
    success = written([1], serializer)
    late = Record(success.id, "FAILURE", b'{"exc_type":"ValueError"}')
    beside = Record(new_id(), "STARTED")
    store.store([beside, success, late])
    store.store([late])
    seen = store.fetch([success.id, beside.id])
    assert value_of(seen[success.id]) == [1] and seen[beside.id].state == "STARTED"
    store.store([Record(beside.id, "RETRY"), written(2, serializer)])
    assert store.fetch([beside.id])[beside.id].state == "RETRY"


@pytest.mark.parametrize(("serializer", "packing"), EVERY)
def test_the_broker_writes_plain_ones_only(
    make_store: Any, server: RedisServer, serializer: str, packing: str | None
) -> None:
    broker = RedisBroker(server.url, Settings())
    assert broker.shares(make_store(serializer, packing)) is (serializer == "json" and packing is None)
    broker.close()


@pytest.mark.parametrize(("serializer", "packing"), [("msgpack", None), ("pickle", "gzip"), ("json", "zstd")])
def test_in_a_cache(serializer: str, packing: str | None) -> None:
    caches.settings["formats"] = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "formats",
    }
    store = CacheStore("cache://formats", Settings(**settings(serializer, packing)))
    meant = written({**PLAIN, **OWN[serializer]}, serializer)
    store.store([meant])
    store.store([Record(meant.id, "FAILURE")])
    assert value_of(store.fetch([meant.id])[meant.id]) == {**PLAIN, **OWN[serializer]}
    caches["formats"].clear()
    del caches["formats"], caches.settings["formats"]


# -- what is not accepted


@pytest.mark.parametrize("serializer", ["msgpack", "yaml", "pickle"])
def test_what_is_not_accepted_is_not_read(make_store: Any, make_celery: Any, serializer: str) -> None:
    task_id = new_id()
    make_celery(serializer).backend.store_result(task_id, 1, "SUCCESS")
    with pytest.raises(StoreError, match=r"content type .* is refused.*result_accept_content"):
        make_store("json", result_accept_content=["json"]).fetch([task_id])
    with pytest.raises(ContentDisallowed):
        result_format.read(written(1, serializer).result, Settings())


@pytest.mark.parametrize("serializer", ["msgpack", "yaml", "pickle"])
def test_nothing_is_written_that_nobody_could_read(serializer: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=f"result_serializer is '{serializer}'.*Add '{serializer}' to it"
    ):
        result_format.writer(Settings(result_serializer=serializer))
    result_format.writer(Settings(result_serializer=serializer, accept_content=["json", serializer]))
    app = celeriac.Celeriac("bad", broker="memory://bad", result_serializer=serializer, set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="nobody could read"):
        prepare(app)  # what a worker does before it starts
    with pytest.raises(ImproperlyConfigured, match="There is no serializer 'xml'"):
        result_format.writer(Settings(result_serializer="xml"))
    with pytest.raises(ImproperlyConfigured, match="There is no compression 'rar'"):
        result_format.ResultFormat(Settings(result_compression="rar"))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\x80\x04.", b"\x81\xa6status", b"status: SUCCESS", b"- 1", b"\x80\x04]\x94.", b"\xff",
     b"\x00celery-compressed\x00application/x-gzip\x00no", b"\x00celery-compressed\x00"],
)  # fmt: skip
def test_what_is_no_result(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        result_format.ResultFormat(Settings(result_accept_content=ALL)).decode(data)


def test_what_is_no_wrapped_value() -> None:
    for result in (
        b'{"__type__":"serialized","__value__":5}',
        b'{"__type__":"serialized","__value__":["a/b","?"]}',
    ):
        with pytest.raises(MessageError):
            result_format.read(result, Settings())


def test_a_registered_serializer(make_store: Any) -> None:
    register(
        "plain-text", str, lambda data: json.loads(data.decode().replace("'", '"')), "text/x-plain", "utf-8"
    )
    try:
        with pytest.raises(ImproperlyConfigured):
            result_format.writer(Settings(result_serializer="plain-text"))
        conf = Settings(result_serializer="plain-text", result_accept_content=["json", "plain-text"])
        result = result_format.writer(conf)({"a": "b"})
        assert result_format.read(result, conf) == {"a": "b"}
    finally:
        unregister("plain-text")


# -- the whole trip


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


@pytest.mark.parametrize("backend", ["memory", "redis"])
@pytest.mark.parametrize("packing", [None, "gzip"])
def test_objects_by_pickle(server: RedisServer, backend: str, packing: str | None) -> None:
    url = f"memory://{uuid4().hex}"
    app = celeriac.Celeriac(
        "formats",
        broker=url,
        backend=server.url if backend == "redis" else url,
        **settings("pickle", packing),
    )

    @app.task
    def point(x: int) -> Point:
        return Point(x)

    @app.task
    def fails() -> None:
        raise ValueError("no")

    @app.task(bind=True)
    def lambdas(self: Any) -> Any:
        self.update_state(state="PROGRESS", meta={"done": 1})
        return lambda: None

    from celeriac.testing import worker

    with worker(app, timeout=60):
        sent = point.delay(7), fails.delay(), lambdas.delay()
        assert sent[0].get(timeout=60).x == 7
        with pytest.raises(ValueError):
            sent[1].get(timeout=60)
        with pytest.raises(UnstorableResult):
            sent[2].get(timeout=60)
    assert point.apply((8,)).get().x == 8
    app.close()
