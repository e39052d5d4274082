"""Serializers, compression and protocols on the whole way: settings and options, a worker, results, dead letters."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celeriac import Celeriac, Task, serialization
from celeriac.broker import Publication, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.errors import EncodeError, ImproperlyConfigured
from celeriac.message import compression, protocol, serializers
from celeriac.message.message import Headers, Message, Properties
from celeriac.stores.memory import MemoryStore
from celeriac.worker.death import Death
from celeriac.worker.options import WorkerOptions
from celeriac.worker.recorder import Recorder
from celeriac.worker.recovery import Recovery
from celeriac.worker.solo import SoloWorker
from tests.unit.running import PATIENCE, until, working


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celeriac]:
    made = Celeriac("wire", broker="memory://wire", backend="memory://wire", worker_state_dir=str(tmp_path))
    yield made
    MemoryBroker("memory://wire").clear()
    MemoryStore("memory://wire").clear()
    made.close()


@pytest.fixture
def echo(app: Celeriac) -> Task:
    @app.task(name="wire.echo", bind=True, max_retries=2)
    def run(self: Task, value: Any, again: bool = False) -> Any:
        if again and self.request.retries == 0:
            raise self.retry(args=[value], kwargs={"again": True}, countdown=0)
        if again and self.request.retries == 1:
            raise self.retry(countdown=0)
        return [value, self.request.retries, self.request.headers]

    return run


def waiting(app: Celeriac) -> Message:
    """Take the one message that waits."""
    app.broker.register("looker", 60)
    (delivery,) = app.broker.claim("looker", ["celery"], 10, 1)
    app.broker.settle("looker", [Settlement(delivery.tag)], None)
    app.broker.unregister("looker")
    accept = serializers.content_types(["json", "msgpack", "yaml", "pickle"])
    return protocol.decode(delivery.payload, accept=accept)


def put(app: Celeriac, message: Message) -> None:
    app.broker.publish([Publication("x", "t", "celery", protocol.encode(message, "celery"))], 1)


def reason(app: Celeriac) -> str:
    until(app.broker.dead_letters)
    (letter,) = app.broker.dead_letters()
    return letter.reason


EVERY = ["json", "msgpack", "yaml", "pickle"]


@pytest.mark.parametrize("written", [1, 2], ids=["protocol1", "protocol2"])
@pytest.mark.parametrize("packing", [None, "gzip", "bzip2", "lzma", "zstd", "brotli"])
@pytest.mark.parametrize("serializer", EVERY)
def test_every_mixture_runs_retries_and_gives_its_result(
    app: Celeriac, echo: Task, serializer: str, packing: str | None, written: int
) -> None:
    app.conf.update(
        accept_content=EVERY, task_serializer=serializer, task_compression=packing, task_protocol=written
    )
    with working(app):
        first = echo.apply_async([b"\xff"], headers={"x": 1})
        second = echo.apply_async(["ä" * 100], {"again": True}, headers={"x": 1})
        assert first.get(PATIENCE) == [b"\xff", 0, {"x": 1}]
        assert second.get(PATIENCE) == ["ä" * 100, 2, {"x": 1}]
    assert not app.broker.dead_letters()


def test_eager_tasks_take_the_same_way(app: Celeriac, echo: Task) -> None:
    app.conf.update(accept_content=EVERY, task_serializer="msgpack", task_compression="zstd", task_protocol=1)
    assert echo.apply(["ä"], {"again": True}).get() == ["ä", 2, None]


class TestWhatCounts:
    def test_the_call_then_the_task_then_the_settings(self, app: Celeriac) -> None:
        @app.task(serializer="msgpack", compression="bzip2")
        def special() -> None: ...

        @app.task
        def usual() -> None: ...

        app.conf.update(task_serializer="yaml", task_compression="gzip")
        for task, options, expected in [
            (usual, {}, ("application/x-yaml", "application/x-gzip")),
            (special, {}, ("application/x-msgpack", "application/x-bz2")),
            (
                special,
                {"serializer": "json", "compression": "lzma"},
                ("application/json", "application/x-lzma"),
            ),
            (special, {"compression": ""}, ("application/x-msgpack", None)),
            (usual, {"compression": ""}, ("application/x-yaml", None)),
        ]:
            task.apply_async(**options)
            seen = waiting(app)
            assert (seen.content_type, seen.compression) == expected

    def test_older_names(self) -> None:
        app = Celeriac("old", broker="memory://old", set_as_current=False)
        app.config_from_object({"CELERY_MESSAGE_COMPRESSION": "zlib", "CELERY_TASK_PROTOCOL": 1})
        assert (app.conf.task_compression, app.conf.task_protocol) == ("zlib", 1)
        app.close()

    def test_there_are_two_protocols(self) -> None:
        app = Celeriac("three", broker="memory://three", set_as_current=False, task_protocol=3)
        with pytest.raises(ImproperlyConfigured, match="task_protocol = 3"):
            app.conf  # noqa: B018
        app.close()

    def test_unknown_names_are_told_where_the_task_is_sent(self, app: Celeriac, echo: Task) -> None:
        with pytest.raises(ImproperlyConfigured, match="no compression 'snappy'"):
            echo.apply_async([1], compression="snappy")
        with pytest.raises(ImproperlyConfigured, match="no serializer 'toml'"):
            echo.apply_async([1], serializer="toml")
        assert app.broker.depths() == {}

    def test_a_worker_does_not_start_with_an_unknown_name_in_accept_content(self, app: Celeriac) -> None:
        app.conf.update(accept_content=["json", "toml"])
        with pytest.raises(ImproperlyConfigured, match="no serializer 'toml'"):
            SoloWorker(app, WorkerOptions().resolve(app.conf))


@pytest.mark.parametrize("serializer", EVERY)
def test_a_process_that_dies_of_a_message_of_protocol_1_is_counted(
    app: Celeriac, tmp_path: Path, serializer: str
) -> None:
    """Its supervisor has to read the body for that, as the worker had."""
    app.conf.update(accept_content=EVERY)
    row = serializers.find(serializer)
    message = Message(
        Headers("t", "i"), Properties(), row.dumps([[], {}, None]), row.content_type, row.content_encoding
    )
    payload = protocol.encode_protocol_1(message, "celery")
    app.broker.register("dead", 60)
    app.broker.publish([Publication("i", "t", "celery", payload)], 1)
    (delivery,) = app.broker.claim("dead", ["celery"], 1, 1)
    recorder = Recorder.create(tmp_path / "dead.flight", "dead", "b", 1)
    recorder.begin(0, delivery.tag, 1.0)
    Recovery(app.broker, app.store, "w@h", 3, app.codec).child(recorder, Death("signal 9 (SIGKILL)"))
    seen = waiting(app)
    assert (seen.headers.id, seen.properties.celeriac_losses) == ("i", 1)


def test_an_own_serializer_found_by_its_name_in_the_settings(app: Celeriac, echo: Task) -> None:
    serialization.register("own", msgspec.json.encode, msgspec.json.decode, "application/x-own")
    try:
        app.conf.update(accept_content=["own"], task_serializer="own")
        with working(app):
            assert echo.delay(dt.date(2026, 1, 2)).get(PATIENCE) == ["2026-01-02", 0, None]
            with pytest.raises(
                EncodeError, match=r'Argument "value" of wire\.echo is an object, which OWN cannot hold'
            ):
                echo.delay(object())
            echo.apply_async([1], serializer="json")
            assert "accept_content allows application/x-own" in reason(app)
    finally:
        serialization.unregister("own")


@pytest.mark.parametrize("serializer", ["msgpack", "yaml", "pickle"])
def test_what_accept_content_does_not_name_becomes_a_dead_letter(
    app: Celeriac, echo: Task, serializer: str
) -> None:
    with working(app):
        echo.apply_async([1], serializer=serializer)
        assert "is refused; accept_content allows application/json" in reason(app)


class TestBadCompression:
    BODY = b'[["%s"],{},null]' % (b"x" * 300_000)

    def message(self, app: Celeriac, body: bytes, content_type: str) -> Message:
        return Message(Headers("wire.echo", "some-id"), Properties(), body, compression=content_type)

    @pytest.mark.parametrize("name", compression.names())
    def test_a_bomb(self, app: Celeriac, echo: Task, name: str) -> None:
        app.conf.update(worker_max_message_bytes=250_000)
        with working(app):
            put(app, self.message(app, *compression.compress(self.BODY, name)))
            assert reason(app) == "too large: its body is more than 250,000 bytes when decompressed"
            assert app.AsyncResult("some-id").state == "FAILURE"

    def test_an_unknown_one(self, app: Celeriac, echo: Task) -> None:
        with working(app):
            put(app, self.message(app, self.BODY, "application/x-snappy"))
            assert "compressed as 'application/x-snappy', and known are gzip" in reason(app)

    def test_a_broken_one(self, app: Celeriac, echo: Task) -> None:
        with working(app):
            put(app, self.message(app, self.BODY, "application/x-gzip"))
            assert "cannot be decompressed as application/x-gzip" in reason(app)

    def test_the_sender_is_told_first(self, app: Celeriac, echo: Task) -> None:
        app.conf.update(worker_max_message_bytes=250_000)
        with pytest.raises(EncodeError, match="worker_max_message_bytes allows 250,000"):
            echo.apply_async(["x" * 300_000], compression="gzip")
        echo.apply_async(["x" * 240_000], compression="gzip")


def test_errors_name_the_types_that_json_would_hold(echo: Task) -> None:
    with pytest.raises(
        EncodeError, match=r"which MSGPACK cannot hold.*work with serializer='json': None, bool"
    ):
        echo.apply_async([dt.date(2026, 1, 2)], serializer="msgpack")
