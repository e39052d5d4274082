"""The envelope is kombu's: Celery reads what we write, we read what Celery writes, and nothing else gets in."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.transport.virtual import Channel

from celeriac.errors import EncodeError, MessageError
from celeriac.message import protocol, serializers
from celeriac.message.protocol import Headers, Message, Properties, custom_headers, decode, encode, new_id
from tests.unit.celerys import celery_app, channel_of

BODY = b'[[1,2],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


def message(**fields: Any) -> Message:
    custom = fields.pop("custom", None)
    task_id = new_id()
    headers = Headers("shop.pay", task_id, root_id=task_id, argsrepr="(1, 2)", kwargsrepr="{}", **fields)
    properties = Properties(correlation_id=task_id, reply_to="", delivery_mode=2, priority=0)
    return Message(headers, properties, BODY, custom=custom)


def envelope(
    headers: bytes = b'{"task":"t","id":"i"}', body: bytes = b'"W10="', properties: bytes | None = None
) -> bytes:
    properties = b'{"body_encoding":"base64"}' if properties is None else properties
    return b'{"body":%s,"headers":%s,"properties":%s}' % (body, headers, properties)


@pytest.fixture(scope="module")
def celery() -> Iterator[Celery]:
    with celery_app("shop.pay") as app:
        yield app


@pytest.fixture
def channel(celery: Celery) -> Iterator[Channel]:
    with channel_of(celery) as opened:
        yield opened


class TestShape:
    def test_as_it_lies_in_a_redis_list(self) -> None:
        ours = message(eta="2030-01-01T12:00:00+00:00", timelimit=(5.0, None))
        seen = json.loads(encode(ours, "celery"))
        assert set(seen) == {"body", "content-encoding", "content-type", "headers", "properties"}
        assert (seen["content-encoding"], seen["content-type"]) == ("utf-8", "application/json")
        assert list(seen["headers"]) == list(Headers.__struct_fields__)
        assert seen["headers"]["timelimit"] == [5.0, None]
        assert seen["properties"].pop("delivery_tag")
        assert seen["properties"] == {
            "correlation_id": ours.headers.id,
            "reply_to": "",
            "delivery_mode": 2,
            "priority": 0,
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
        }

    def test_two_messages_of_one_task_differ_in_their_tag(self) -> None:
        """Kombu keys what a worker holds by it."""
        ours = message()
        tags = {json.loads(encode(ours, "q"))["properties"]["delivery_tag"] for _ in range(100)}
        assert len(tags) == 100

    def test_ids_sort_by_time(self) -> None:
        import uuid

        ids = [new_id() for _ in range(1000)]
        assert len(set(ids)) == 1000
        for each in map(uuid.UUID, ids):
            assert (each.version, each.variant) == (7, uuid.RFC_4122)
        assert [each[:13] for each in ids] == sorted(each[:13] for each in ids)


class TestInterop:
    def test_celery_reads_ours(self, celery: Celery, channel: Channel) -> None:
        ours = message(
            eta="2030-01-01T12:00:00+00:00", timelimit=(5.0, 3.0), custom={"x-trace": "ä"}, ignore_result=True
        )
        ours.body = serializers.json_dumps([["ä"], {"key": b"\xff"}, {"callbacks": None, "chain": None}])
        received = channel.message_to_python(json.loads(encode(ours, "shop")))
        request = Request(received, app=celery, task=celery.tasks["shop.pay"], on_ack=None, on_reject=None)
        assert (request.id, request.name, request.args) == (ours.headers.id, "shop.pay", ["ä"])
        assert request.kwargs == {"key": b"\xff"}
        assert request.eta is not None
        assert request.eta.isoformat() == "2030-01-01T12:00:00+00:00"
        assert request.time_limits == [5.0, 3.0]
        assert request.ignore_result is True
        assert received.headers["x-trace"] == "ä"
        assert received.delivery_info == {"exchange": "", "routing_key": "shop"}
        assert received.delivery_tag

    def test_we_read_celerys(self, celery: Celery, channel: Channel) -> None:
        celery.send_task(
            "shop.pay",
            [1, "ä"],
            {"key": b"\xff"},
            task_id="some-id",
            queue="shop",
            priority=3,
            countdown=3600,
            expires=7200,
            time_limit=5,
            soft_time_limit=3,
            shadow="pays",
            ignore_result=True,
            headers={"x-trace": [1, {"a": None}]},
        )
        raw = json.dumps(channel._queue_for("shop").get_nowait())
        seen = decode(raw.encode())
        assert (seen.headers.task, seen.headers.id, seen.headers.root_id) == (
            "shop.pay",
            "some-id",
            "some-id",
        )
        assert (seen.headers.timelimit, seen.headers.shadow, seen.headers.ignore_result) == (
            (5.0, 3.0),
            "pays",
            True,
        )
        assert seen.headers.eta is not None
        assert seen.headers.expires is not None
        assert (seen.properties.priority, seen.properties.correlation_id) == (3, "some-id")
        assert seen.properties.expiration == "7200000"
        assert custom_headers(seen) == {"x-trace": [1, {"a": None}]}
        args, kwargs, embed = serializers.loads(seen.body, seen.content_type, {"application/json"})
        assert (args, kwargs) == ([1, "ä"], {"key": b"\xff"})
        assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}

    def test_celerys_message_comes_through_us_unchanged(self, celery: Celery, channel: Channel) -> None:
        celery.send_task("shop.pay", [1], queue="shop", headers={"x": 1}, stamped_headers=["s"], s="v")
        theirs = channel._queue_for("shop").get_nowait()
        again = json.loads(encode(decode(json.dumps(theirs).encode()), "shop"))
        for envelope_ in (theirs, again):
            envelope_["properties"].pop("delivery_tag")
        assert again == theirs


class TestRoundTrip:
    def test_everything_comes_back(self) -> None:
        ours = message(
            retries=3, group="g", group_index=0, parent_id="p", stamps={"a": [1]}, custom={"x": {"y": [None]}}
        )
        ours.properties.celeriac_losses = 2
        ours.properties.celeriac_suspect = True
        ours.properties.timestamp = 1234.5
        assert decode(encode(ours, "q")) == ours

    def test_a_body_of_any_bytes(self) -> None:
        ours = message()
        ours.body, ours.content_type, ours.content_encoding = bytes(range(256)), "application/x-odd", "binary"
        assert decode(encode(ours, "q")) == ours

    def test_custom_headers_survive_a_retry(self) -> None:
        """What a worker sends again keeps the sender's own headers, and shows its changes."""
        first = decode(encode(message(custom={"x-trace": "abc", "n": [1]}), "q"))
        second = msgspec.structs.replace(first, headers=msgspec.structs.replace(first.headers, retries=1))
        third = decode(encode(second, "other"))
        assert custom_headers(third) == {"x-trace": "abc", "n": [1]}
        assert third.headers.retries == 1
        assert third.properties.delivery_info == {"exchange": "", "routing_key": "other"}

    def test_custom_headers_never_hide_the_protocols(self) -> None:
        seen = decode(encode(message(custom={"task": "evil", "id": "other", "x": 1}), "q"))
        assert seen.headers.task == "shop.pay"
        assert custom_headers(seen) == {"x": 1}
        again = decode(encode(message(custom={"compression": "gzip", "x": 1}), "q"))
        assert (again.compression, custom_headers(again)) == (None, {"x": 1})

    def test_no_custom_headers(self) -> None:
        assert custom_headers(decode(encode(message(), "q"))) == {}

    def test_a_plain_text_body(self) -> None:
        for properties in (b"{}", b'{"body_encoding":"utf-8"}', b'{"body_encoding":null}'):
            assert (
                decode(envelope(body='"[\\"ä\\"]"'.encode(), properties=properties)).body == '["ä"]'.encode()
            )

    def test_only_task_and_id_are_needed(self) -> None:
        seen = decode(
            b'{"body":"","headers":{"task":"t","id":"i"},"properties":{},"content-type":null,"content-encoding":null}'
        )
        assert (seen.headers.task, seen.headers.id, seen.headers.retries) == ("t", "i", 0)
        assert (seen.content_type, seen.content_encoding) == ("application/json", "utf-8")

    def test_nulls_where_celery_may_write_them(self) -> None:
        nulls = {name: None for name in Headers.__struct_fields__ if name not in {"task", "id", "lang"}}
        seen = decode(envelope(json.dumps({"task": "t", "id": "i", **nulls}).encode()))
        assert decode(encode(seen, "q")).headers == seen.headers

    def test_unknown_properties_are_left_aside(self) -> None:
        assert decode(envelope(properties=b'{"body_encoding":"base64","app_id":{"x":[1]}}')).body == b"[]"


NESTED = b"[" * 500 + b"]" * 500
GARBAGE = [
    b"",
    b" ",
    b"null",
    b"1",
    b'"text"',
    b"[1]",
    b"{",
    b"{}",
    b"\x80\x04\x95pickle",
    b"\xff\xfe\x00",
    b"<xml/>",
    b"{'single': 'quotes'}",
    envelope()[:-5],
    b'{"body":1,"headers":{"task":"t","id":"i"},"properties":{}}',
    b'{"headers":{"task":"t","id":"i"},"properties":{}}',
    b'{"body":"","properties":{}}',
    b'{"body":"","headers":{"task":"t","id":"i"}}',
    envelope(b"null"),
    envelope(b"[]"),
    envelope(b'"t"'),
    envelope(b"{}"),
    envelope(b'{"task":"t"}'),
    envelope(b'{"id":"i"}'),
    envelope(b'{"task":null,"id":"i"}'),
    envelope(b'{"task":"t","id":5}'),
    envelope(b'{"task":"t","id":["i"]}'),
    envelope(b'{"task":"t","id":"i","retries":"3"}'),
    envelope(b'{"task":"t","id":"i","retries":1.5}'),
    envelope(b'{"task":"t","id":"i","eta":5}'),
    envelope(b'{"task":"t","id":"i","timelimit":5}'),
    envelope(b'{"task":"t","id":"i","timelimit":[1,2,3]}'),
    envelope(b'{"task":"t","id":"i","timelimit":["1",2]}'),
    envelope(b'{"task":"t","id":"i","stamps":[]}'),
    envelope(b'{"task":"t","id":"i","x":NaN}'),
    envelope(b'{"task":"t","id":"i","x":1e999}'),
    envelope(b'{"task":"t","id":"i","x":%s}' % (b"1" * 5000)),
    envelope(b'{"task":"t","id":"i","x":"\xff"}'),
    envelope(b'{"task":"t","id":"i","\xff":1}'),
    envelope(b'{"task":"t\xff","id":"i"}'),
    envelope(b'{"task":"t","id":"\\ud800"}'),
    envelope(b'{"task":"t","id":"i","x":%s}' % NESTED),
    envelope(b'{"task":"t","id":"i","stamps":{"x":%s}}' % NESTED),
    envelope(b'{"task":"t","id":"i","x":%s}' % (b"[" * 200_000)),
    envelope(b'{"task":"t","id":"i","x":%s}' % (b'{"x":' * 200_000)),
    envelope(body=b"null"),
    envelope(body=b'"W"'),
    envelope(body='"ä"'.encode()),
    envelope(body=b'"\xff"'),
    envelope(properties=b"null"),
    envelope(properties=b'{"priority":"9"}'),
    envelope(properties=b'{"delivery_info":[]}'),
    envelope(properties=b'{"body_encoding":5}'),
    envelope(properties=b'{"celeriac_losses":"many"}'),
    envelope(properties=b'{"timestamp":"now"}'),
]


@pytest.mark.parametrize("payload", GARBAGE, ids=lambda payload: repr(payload[:60]))
def test_garbage_is_a_message_error_with_a_reason(payload: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        decode(payload)
    assert 10 < len(str(caught.value)) < 300


def test_the_reason_says_what_it_looks_like() -> None:
    with pytest.raises(MessageError, match=r"not a task message: it starts with b'\\x80\\x04"):
        decode(b"\x80\x04pickle")
    with pytest.raises(MessageError, match="no header `task`, as in protocol 2, and none in its body"):
        decode(envelope(b'{"id":"i"}'))
    with pytest.raises(MessageError, match="protocol 2: Object missing required field `id`"):
        decode(envelope(b'{"task":"t"}'))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=200))
@example(b"{" * 1000)
@example(b'{"body":"","headers":' + b"[" * 1000)
def test_any_bytes_are_decoded_or_refused(payload: bytes) -> None:
    with pytest.raises(MessageError):
        decode(payload)


@pytest.mark.slow
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "body": JSON,
            "properties": JSON
            | st.fixed_dictionaries({}, optional=dict.fromkeys(Properties.__struct_fields__, JSON)),
            "headers": JSON
            | st.fixed_dictionaries(
                {"task": st.text(max_size=3), "id": st.text(max_size=3)},
                optional=dict.fromkeys(Headers.__struct_fields__[2:], JSON),
            ),
            "content-type": JSON,
            "content-encoding": JSON,
            "more": JSON,
        },
    )
)
def test_anything_that_looks_like_a_message_is_decoded_or_refused(fields: dict[str, Any]) -> None:
    """And what is decoded can be encoded again: a retry and a dead child's heir rely on it."""
    try:
        seen = decode(json.dumps(fields).encode())
    except MessageError:
        return
    again = decode(encode(seen, "q"))
    assert (again.headers, again.body, again.custom) == (seen.headers, seen.body, seen.custom)


@pytest.mark.slow
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), JSON, max_size=4))
def test_any_custom_headers_come_back(custom: dict[str, Any]) -> None:
    seen = decode(encode(message(custom=custom), "q"))
    assert custom_headers(seen) == {
        name: value for name, value in custom.items() if name not in protocol.HEADER_NAMES
    }


@pytest.mark.parametrize("custom", [{"x": "\ud800"}, {"\udc80": 1}], ids=repr)
def test_headers_that_json_cannot_hold_are_the_senders_error(custom: Any) -> None:
    with pytest.raises(EncodeError, match=r"headers of shop\.pay"):
        encode(message(custom=custom), "q")
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(EncodeError):
        encode(message(custom={"x": deep}), "q")


def test_what_is_nested_just_deep_enough_goes_round() -> None:
    depth = protocol.MAX_DEPTH - 1
    payload = envelope(b'{"task":"t","id":"i","x":%s}' % (b"[" * depth + b"]" * depth))
    assert decode(encode(decode(payload), "q")).custom == decode(payload).custom
    wide = envelope(b'{"task":"t","id":"i","x":[%s]}' % b",".join([b"[[]]"] * 1000))
    assert len(custom_headers(decode(wide))["x"]) == 1000
