"""Protocol 1: what Celery sends with `task_protocol = 1` is read, and what we write in it Celery reads."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from celery import Celery
from celery.worker.request import Request
from celery.worker.strategy import proto1_to_proto2
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Channel

from celeriac.errors import ContentDisallowed, EncodeError, MessageError, TooLarge
from celeriac.message import compression, serializers
from celeriac.message.message import Headers, Message, Properties
from celeriac.message.protocol import custom_headers, decode, encode, encode_protocol_1
from tests.unit.celerys import celery_app, channel_of

EVERY = serializers.content_types(["json", "msgpack", "yaml", "pickle"])
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.fixture(scope="module")
def celery() -> Iterator[Celery]:
    accept = ["json", "msgpack", "yaml", "pickle"]
    with celery_app("shop.collect", task_protocol=1, accept_content=accept) as app:
        yield app


@pytest.fixture
def channel(celery: Celery) -> Iterator[Channel]:
    with channel_of(celery) as opened:
        yield opened


def envelope(body: Any, headers: str = "{}", **properties: Any) -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    properties = json.dumps({"body_encoding": "utf-8", **properties})
    return f'{{"body":{json.dumps(text)},"headers":{headers},"properties":{properties}}}'.encode()


def message(body: Any = None, serializer: str = "json", packing: str | None = None, **fields: Any) -> Message:
    row = serializers.find(serializer)
    written = row.dumps([[1, "ä"], {"key": None}, EMBED] if body is None else body)
    content_type = None
    if packing:
        written, content_type = compression.compress(written, packing)
    custom = fields.pop("custom", None)
    return Message(
        Headers("shop.collect", "some-id", **fields),
        Properties(correlation_id="some-id", reply_to="", delivery_mode=2, priority=0),
        written,
        row.content_type,
        row.content_encoding,
        custom,
        content_type,
    )


def sent(channel: Channel) -> bytes:
    return json.dumps(channel._queue_for("shop").get_nowait()).encode()


@pytest.mark.parametrize("packing", [None, "gzip", "zstd"])
@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
class TestBothWays:
    def test_we_read_celerys(
        self, celery: Celery, channel: Channel, serializer: str, packing: str | None
    ) -> None:
        celery.send_task(
            "shop.collect",
            [1, "ä"],
            {"key": b"\xff"},
            task_id="some-id",
            queue="shop",
            priority=3,
            eta=dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC),
            expires=dt.datetime(2031, 1, 1, tzinfo=dt.UTC),
            time_limit=5,
            soft_time_limit=3,
            headers={"x-trace": [1, {"a": None}]},
            serializer=serializer,
            compression=packing,
        )
        seen = decode(sent(channel), accept=EVERY)
        assert (seen.headers.task, seen.headers.id, seen.headers.retries) == ("shop.collect", "some-id", 0)
        assert seen.headers.timelimit == (5.0, 3.0)
        assert seen.headers.eta == "2030-01-01T12:00:00+00:00"
        assert seen.headers.expires == "2031-01-01T00:00:00+00:00"
        assert (seen.headers.argsrepr, seen.headers.kwargsrepr) == ("(1, 'ä')", "{'key': b'\\xff'}")
        assert (seen.properties.priority, seen.properties.correlation_id) == (3, "some-id")
        assert custom_headers(seen) == {"x-trace": [1, {"a": None}]}
        assert (seen.compression is None) == (packing is None)
        body = compression.decompress(seen.body, seen.compression, 10_000) if seen.compression else seen.body
        assert serializers.loads(body, seen.content_type, accept=EVERY) == [[1, "ä"], {"key": b"\xff"}, EMBED]
        assert decode(encode(seen, "shop"), accept=EVERY) == seen

    def test_celery_reads_ours(
        self, celery: Celery, channel: Channel, serializer: str, packing: str | None
    ) -> None:
        ours = message(
            [["ä"], {"key": b"\xff"}, EMBED],
            serializer,
            packing,
            eta="2030-01-01T12:00:00+00:00",
            timelimit=(5.0, 3.0),
            group="g",
            group_index=2,
            retries=1,
            custom={"x-trace": "ä"},
        )
        written = json.loads(encode_protocol_1(ours, "shop"))
        received = channel.message_to_python(written)
        received.accept = EVERY
        body, headers, decoded, utc = proto1_to_proto2(received, received.decode())
        assert (body[0], body[1], body[2], utc) == (["ä"], {"key": b"\xff"}, EMBED, True)
        request = Request(
            received,
            app=celery,
            task=celery.tasks["shop.collect"],
            body=body,
            headers=headers,
            decoded=decoded,
            on_ack=None,
            on_reject=None,
        )
        assert (request.id, request.name, request.args) == ("some-id", "shop.collect", ["ä"])
        assert request.eta is not None
        assert request.eta.isoformat() == "2030-01-01T12:00:00+00:00"
        assert tuple(request.time_limits) == (5.0, 3.0)
        assert request.group == "g"
        assert received.headers["x-trace"] == "ä"
        assert set(written["headers"]) <= {"x-trace", "compression"}

    def test_there_and_back(self, serializer: str, packing: str | None) -> None:
        ours = message(None, serializer, packing, group="g", group_index=2, retries=3, custom={"x": 1})
        ours.properties.celeriac_losses = 2
        seen = decode(encode_protocol_1(ours, "q"), accept=EVERY)
        assert (seen.body, seen.custom, seen.properties) == (ours.body, ours.custom, ours.properties)
        assert (seen.content_type, seen.compression) == (ours.content_type, ours.compression)
        assert (seen.headers.group, seen.headers.group_index, seen.headers.retries) == ("g", 2, 3)


def test_the_body_has_the_keys_that_celerys_has(celery: Celery, channel: Channel) -> None:
    celery.send_task("shop.collect", [1], queue="shop", task_id="some-id")
    theirs = channel.message_to_python(json.loads(sent(channel))).decode()
    ours = channel.message_to_python(json.loads(encode_protocol_1(message(), "shop"))).decode()
    assert list(ours) == list(theirs)


def test_what_follows_travels(celery: Celery, channel: Channel) -> None:
    """A worker that does not send it on must see it: nothing is dropped in silence."""
    celery.send_task("shop.collect", [1], queue="shop", link=celery.signature("shop.next"))
    seen = decode(sent(channel))
    _, _, embed = serializers.loads(seen.body, seen.content_type, accept=EVERY)
    assert embed["callbacks"][0]["task"] == "shop.next"


def test_a_chain_has_no_place_in_it() -> None:
    with pytest.raises(EncodeError, match="followed by a chain"):
        encode_protocol_1(message([[], {}, {"chain": [{"task": "shop.next"}]}]), "q")


def test_taskset_is_the_old_name_of_group() -> None:
    assert decode(envelope({"task": "t", "id": "i", "taskset": "g"})).headers.group == "g"


def test_values_keep_their_types() -> None:
    when = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    seen = decode(encode_protocol_1(message([[when, 1e400, b"\xff"], {}, None]), "q"))
    assert serializers.json_loads(seen.body)[0] == [when, 1e400, b"\xff"]


def test_only_what_is_accepted_is_read_at_all() -> None:
    for serializer in ("msgpack", "yaml", "pickle"):
        with pytest.raises(ContentDisallowed, match="accept_content allows application/json"):
            decode(encode_protocol_1(message(None, serializer), "q"))


def test_a_bomb_is_refused() -> None:
    payload = encode_protocol_1(message([["x" * 100_000], {}, EMBED], packing="gzip"), "q")
    assert decode(payload).headers.task == "shop.collect"
    with pytest.raises(TooLarge):
        decode(payload, limit=100_000)


def test_a_small_yaml_that_stands_for_a_lot() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    body = "task: t\nid: i\nargs:\n- {" + ", ".join(lines) + "}\n"
    payload = json.dumps(
        {"body": body, "headers": {}, "properties": {}, "content-type": "application/x-yaml"}
    ).encode()
    seen = decode(payload, accept=EVERY)
    assert len(seen.headers.argsrepr or "") <= 1024
    assert len(seen.body) < 10_000


GARBAGE = [
    "",
    "null",
    "[]",
    "5",
    '"text"',
    "{",
    '{"id":"i"}',
    '{"task":"t"}',
    '{"task":null,"id":"i"}',
    '{"task":["t"],"id":"i"}',
    '{"task":"t","id":5}',
    '{"task":"t\\ud800","id":"i"}',
    '{"task":"t","id":"i","args":5}',
    '{"task":"t","id":"i","args":{"a":1}}',
    '{"task":"t","id":"i","kwargs":[1]}',
    '{"task":"t","id":"i","retries":"1"}',
    '{"task":"t","id":"i","eta":5}',
    '{"task":"t","id":"i","timelimit":"1"}',
    '{"task":"t","id":"i","taskset":5}',
    '{"task":"t","id":"i","args":[' + "[" * 100_000,
    '{"task":"t","id":"i","args":[{"__type__":"odd","__value__":1}]}',
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: body[:50])
def test_garbage_is_a_message_error_with_a_reason(body: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(envelope(body))
    assert 10 < len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "headers", ['{"compression":5}', '{"compression":"odd"}', '{"compression":["x"]}', "null"]
)
def test_odd_headers_are_too(headers: str) -> None:
    with pytest.raises(MessageError):
        decode(envelope({"task": "t", "id": "i"}, headers))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {"task": st.text(max_size=3), "id": st.text(max_size=3)},
        optional=dict.fromkeys(
            "args kwargs group taskset retries eta expires timelimit chord utc".split(), JSON
        ),
    )
)
def test_what_looks_like_it_is_decoded_or_refused(fields: dict[str, Any]) -> None:
    """And what is decoded can be written again, in either protocol."""
    try:
        seen = decode(envelope(fields))
    except MessageError:
        return
    assert repr(decode(encode(seen, "q"))) == repr(seen)
    again = decode(encode_protocol_1(seen, "q"))
    assert again.body == seen.body
    assert msgspec.structs.replace(again.headers) == seen.headers
