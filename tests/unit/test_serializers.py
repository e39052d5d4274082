"""Serializers write and read what kombu writes and reads, and refuse what they cannot hold."""

import ast
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import sys
import uuid
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import exceptions as kombu_errors
from kombu import serialization as kombu
from kombu.utils import json as kombu_json

from celeriac import serialization
from celeriac.errors import ContentDisallowed, EncodeError, ImproperlyConfigured, MessageError, NotInstalled
from celeriac.message import serializers
from celeriac.message.serializers import json_dumps, json_dumps_plain, json_loads

TAGGED = [
    dt.datetime(2026, 2, 3, 4, 5, 6, 789),  # noqa: DTZ001 - a naive one is meant
    dt.datetime(2026, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    dt.datetime(2026, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30))),
    dt.date(2026, 2, 3),
    dt.time(4, 5, 6, 7),
    dt.time(4, tzinfo=dt.UTC),
    decimal.Decimal("1.10"),
    decimal.Decimal("-0"),
    decimal.Decimal("1E+400"),
    decimal.Decimal("Infinity"),
    uuid.UUID("01234567-89ab-7def-8123-456789abcdef"),
    uuid.UUID(int=0),
    b"",
    b"text",
    "käse".encode(),
    b"\xff\x00",
]


class Colour(enum.Enum):
    RED = "red"
    KEY = uuid.UUID(int=1)


class Size(enum.IntEnum):
    BIG = 3


class Mood(enum.StrEnum):
    GOOD = "good"


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __json__(self) -> Any:
        return {"cents": self.cents}


@pytest.mark.parametrize("value", TAGGED, ids=repr)
class TestTags:
    def test_there_and_back(self, value: Any) -> None:
        seen = json_loads(json_dumps([value, {"key": value}]))
        assert seen == [value, {"key": value}]
        assert type(seen[0]) is type(value)

    def test_kombu_reads_ours(self, value: Any) -> None:
        assert kombu_json.loads(json_dumps([value])) == [value]

    def test_we_read_kombus(self, value: Any) -> None:
        assert json_loads(kombu_json.dumps([value]).encode()) == [value]

    def test_alike_but_for_blanks(self, value: Any) -> None:
        assert json.loads(json_dumps(value)) == json.loads(kombu_json.dumps(value))


def test_a_named_zone_becomes_an_offset() -> None:
    summer = dt.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    assert json_loads(json_dumps(summer)) == summer
    assert json_loads(json_dumps(summer)).utcoffset() == dt.timedelta(hours=2)


def test_a_date_may_be_written_with_a_time() -> None:
    """Kombu reads that too."""
    assert json_loads(b'{"__type__":"date","__value__":"2026-02-03T00:00:00"}') == dt.date(2026, 2, 3)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Colour.KEY, uuid.UUID(int=1)),
        (Size.BIG, 3),
        (Mood.GOOD, "good"),
        (Point(1, Point(2, b"\xff")), {"x": 1, "y": {"x": 2, "y": b"\xff"}}),
        pytest.param(Money(5), {"cents": 5}, id="money"),
        ((1, (2, 3)), [1, [2, 3]]),
        (bytearray(b"a"), b"a"),
        pytest.param(memoryview(b"a"), b"a", id="memoryview"),
        ({1: "a", None: "b", False: "c", 1.5: "d"}, {"1": "a", "null": "b", "false": "c", "1.5": "d"}),
        ({"a": {}}, {"a": {}}),
    ],
    ids=repr,
)
def test_what_becomes_something_plainer(value: Any, plain: Any) -> None:
    assert json_loads(json_dumps(value)) == plain


def test_registered_types() -> None:
    class Celsius:
        degrees = 21.5

    with pytest.raises(EncodeError, match="Celsius is not JSON serializable"):
        json_dumps(Celsius())
    serialization.register_type(Celsius, None, lambda value: [value.degrees])
    assert json_loads(json_dumps({"t": Celsius()})) == {"t": [21.5]}


def test_registered_types_with_a_tag_come_back_as_with_kombu() -> None:
    class Degrees:
        def __init__(self, number: float) -> None:
            self.number = number

    for register in (serialization.register_type, kombu_json.register_type):
        register(Degrees, "shop.Degrees", lambda value: value.number, Degrees)
    assert json_dumps(Degrees(1.5)) == b'{"__type__":"shop.Degrees","__value__":1.5}'
    assert kombu_json.loads(json_dumps(Degrees(1.5))).number == 1.5
    assert json_loads(kombu_json.dumps(Degrees(2.5)).encode()).number == 2.5


def test_an_objects_own_json_comes_first_as_with_kombu() -> None:
    class Special(dt.date):
        def __json__(self) -> str:
            return "special"

    class Choice(enum.Enum):
        ONE = 1

        def __json__(self) -> str:
            return "one"

    for value, written in ((Special(2026, 1, 1), b'"special"'), (Choice.ONE, b'"one"')):
        assert json_dumps(value) == written == kombu_json.dumps(value).encode()


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset(),
        object(),
        Money,
        Point,
        1j,
        range(3),
        iter([]),
        dt.timedelta(1),
        ValueError("x"),
        {(1, 2): 3},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "wrap", [lambda value: value, lambda value: [{"deep": [value]}]], ids=["bare", "deep"]
)
def test_what_cannot_be_held_is_refused(value: Any, wrap: Any) -> None:
    with pytest.raises(EncodeError):
        json_dumps(wrap(value))


def test_an_encode_error_is_a_type_error_as_celery_users_expect() -> None:
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        json_dumps({1})


@pytest.mark.parametrize("number", [0, -1, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 2**200, -(10**4000)])
def test_big_numbers_stay_exact(number: int) -> None:
    for value in (number, [number], {"n": number}):
        assert json_loads(json_dumps(value)) == value


@pytest.mark.parametrize("dumps", [json_dumps, json_dumps_plain])
def test_numbers_of_thousands_of_digits_are_refused(dumps: Any) -> None:
    for value in (10**5000, [10**5000]):
        with pytest.raises(EncodeError):
            dumps(value)
    with pytest.raises(MessageError):
        json_loads(b"1" * 5000)


@pytest.mark.parametrize("number", [math.inf, -math.inf, 1e308, 5e-324, -0.0, 0.1, 1e22])
def test_floats(number: float) -> None:
    assert json_loads(json_dumps(number)) == number
    assert json_dumps(number) == kombu_json.dumps(number).encode()


def test_nan() -> None:
    assert json_dumps([math.nan]) == b"[NaN]"
    assert math.isnan(json_loads(b"[NaN]")[0])
    assert json_loads(b"[Infinity,-Infinity]") == [math.inf, -math.inf]


@pytest.mark.parametrize("dumps", [json_dumps, json_dumps_plain])
@pytest.mark.parametrize("text", ["", "\x00", "\u2028", "ä → 😀", "\ud800", "\udc80x", '"\\/'])
def test_text(dumps: Any, text: str) -> None:
    for value in (text, [text], {text: text}):
        assert json_loads(dumps(value)) == value
        assert kombu_json.loads(dumps(value)) == value


def test_nesting() -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    assert json_loads(json_dumps(deep)) == deep
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodeError, match="nested too deeply"):
        json_dumps(deep)
    with pytest.raises(MessageError, match="nested too deeply"):
        json_loads(b"[" * 100_000)
    itself: list[Any] = []
    itself.append(itself)
    with pytest.raises(EncodeError, match="Circular"):
        json_dumps(itself)
    while deep:  # a list this deep overflows the stack when it is freed at once
        deep = deep.pop()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[",
        b"\xff",
        b'"\xff"',
        b"\xef\xbb\xbf1",
        '"utf-16"'.encode("utf-16"),
        b"nul",
        b"[1,]",
        b"{1:2}",
        b"1 2",
        b'{"__type__":"shop.Order","__value__":1}',
        b'{"__type__":["list"],"__value__":1}',
        b'{"__type__":null,"__value__":1}',
        b'{"__type__":"datetime","__value__":1}',
        b'{"__type__":"datetime","__value__":"yesterday"}',
        b'{"__type__":"date","__value__":null}',
        b'{"__type__":"time","__value__":[]}',
        b'{"__type__":"decimal","__value__":"x"}',
        b'{"__type__":"decimal","__value__":{}}',
        b'{"__type__":"uuid","__value__":{}}',
        b'{"__type__":"uuid","__value__":{"hex":5}}',
        b'{"__type__":"uuid","__value__":"x"}',
        b'{"__type__":"bytes","__value__":1}',
        b'{"__type__":"bytes","__value__":"\\ud800"}',
        b'{"__type__":"base64","__value__":"x"}',
        b'{"__type__":"base64","__value__":{}}',
        b'["__type__",' + b"1" * 5000 + b"]",
        b'{"__type__":' * 50_000,
    ],
    ids=lambda data: repr(data[:50]),
)
def test_what_is_unreadable_is_a_message_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        json_loads(data)


def test_an_unknown_tag_is_named() -> None:
    with pytest.raises(MessageError, match=r"unknown type 'shop\.Order'"):
        json_loads(b'[{"__type__":"shop.Order","__value__":1}]')


@pytest.mark.parametrize(
    "value",
    [{"__type__": "uuid"}, {"__value__": 1}, {"__type__": "uuid", "__value__": "x", "more": 1}],
    ids=repr,
)
def test_only_exactly_two_keys_make_a_tag(value: Any) -> None:
    assert json_loads(json_dumps(value)) == value
    assert kombu_json.loads(json_dumps(value)) == value


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.datetimes(timezones=st.just(dt.UTC))
)
KEYS = st.text().filter(lambda text: text not in {"__type__", "__value__"})
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@given(VALUES)
def test_any_value_goes_there_and_back(value: Any) -> None:
    written = json_dumps(value)
    assert json_loads(written) == value
    assert kombu_json.loads(written) == value
    assert json_loads(kombu_json.dumps(value).encode()) == value


@given(st.lists(SCALARS, max_size=4), st.dictionaries(st.text(), SCALARS, max_size=4))
def test_plain_arguments_are_written_alike_by_the_fast_encoder(
    args: list[Any], kwargs: dict[str, Any]
) -> None:
    if serializers.is_plain(args, kwargs):
        assert (
            json_loads(json_dumps_plain([args, kwargs]))
            == json_loads(json_dumps([args, kwargs]))
            == [args, kwargs]
        )
    else:
        assert any(
            isinstance(value, float | bytes | decimal.Decimal | uuid.UUID | dt.date | dt.time)
            for value in [*args, *kwargs.values()]
        )


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        json_loads(data)
    except MessageError:
        pass


@pytest.mark.parametrize("args", [[1.5], [[1]], [{}], [b""], [Size.BIG], [Mood.GOOD], [(1,)]], ids=repr)
def test_what_the_fast_encoder_might_write_differently_is_not_plain(args: list[Any]) -> None:
    assert not serializers.is_plain(args, {})
    assert not serializers.is_plain([], {"key": args[0]})
    assert serializers.is_plain([1, "a", True, None], {"key": 2})


class TestTable:
    def test_find_by_name_and_type(self) -> None:
        assert serializers.find("json") is serializers.find("application/json") is serializers.JSON
        assert serializers.find("pickle").content_type == "application/x-python-serialize"

    def test_unknown(self) -> None:
        with pytest.raises(
            ImproperlyConfigured, match=r"no serializer 'toml'\. Known: json, msgpack, pickle, yaml"
        ):
            serializers.find("toml")

    def test_names_and_types_are_celerys(self) -> None:
        from kombu.serialization import registry

        for name in serializers.by_name:
            content_type, encoding, _ = registry.dumps({"a": 1}, name)
            assert (content_type, encoding) == (
                serializers.find(name).content_type,
                serializers.find(name).content_encoding,
            )

    def test_only_accepted_types_are_read(self) -> None:
        accept = serializers.content_types(["json"])
        assert accept == {"application/json"}
        assert serializers.loads(b"[1]", "application/json", accept) == [1]
        bomb = serializers.find("pickle").dumps({"a": 1})
        for content_type in ("application/x-python-serialize", "application/x-yaml", "", "text/plain"):
            with pytest.raises(ContentDisallowed, match="accept_content allows application/json"):
                serializers.loads(bomb, content_type, accept)

    def test_pickle_where_it_is_named(self) -> None:
        accept = serializers.content_types(["json", "application/x-python-serialize"])
        pickled = serializers.find("pickle").dumps({"a": {1, 2}})
        assert serializers.loads(pickled, "application/x-python-serialize", accept) == {"a": {1, 2}}
        with pytest.raises(MessageError, match="not readable as pickle"):
            serializers.loads(b"garbage", "application/x-python-serialize", accept)
        with pytest.raises(EncodeError, match="function cannot be written as pickle"):
            serializers.find("pickle").dumps(lambda: None)


PLAIN = [None, True, 0, -1, 2**63, 1.5, math.inf, "ä", "", b"", b"\xff\x00", [1, [2]], {"a": {"b": None}}]
DATED = [dt.date(2026, 2, 3), dt.datetime(2026, 2, 3, 4, 5, 6, 7), {1, 2}]  # noqa: DTZ001
OTHERS = [
    *(("msgpack", value) for value in PLAIN),
    *(("yaml", value) for value in (*PLAIN, *DATED, 2**200)),
    *(("pickle", value) for value in (*PLAIN, *DATED, *TAGGED, (1, (2,)), Colour.RED, Point(1))),
]


@pytest.mark.parametrize(("name", "value"), OTHERS, ids=repr)
class TestOthers:
    def test_there_and_back(self, name: str, value: Any) -> None:
        row = serializers.find(name)
        assert row.loads(row.dumps([value, {"key": value}])) == [value, {"key": value}]

    def test_kombu_reads_ours(self, name: str, value: Any) -> None:
        row = serializers.find(name)
        read = kombu.loads(row.dumps([value]), row.content_type, row.content_encoding, {row.content_type})
        assert read == [value]

    def test_we_read_kombus(self, name: str, value: Any) -> None:
        content_type, encoding, written = kombu.dumps([value], name)
        written = written.encode() if isinstance(written, str) else written
        assert serializers.loads(written, content_type, {content_type}) == [value]
        assert encoding == serializers.find(name).content_encoding


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("msgpack", value)
            for value in (*DATED, uuid.UUID(int=0), decimal.Decimal(1), object(), 2**64, Money)
        ),
        *(
            ("yaml", value)
            for value in (uuid.UUID(int=0), decimal.Decimal(1), object(), Money, Colour.RED, Point(1))
        ),
        ("pickle", lambda: None),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_others_refuse_what_kombus_refuse(name: str, value: Any) -> None:
    if not isinstance(value, Point):
        with pytest.raises(kombu_errors.EncodeError):
            kombu.dumps([value], name)
    with pytest.raises(EncodeError):
        serializers.find(name).dumps([value])


def test_msgpack_holds_the_plainer_form_of_enums_dataclasses_and_the_like() -> None:
    row = serializers.find("msgpack")
    assert row.loads(row.dumps([Colour.RED, Size.BIG, Mood.GOOD, Point(1, Point(2)), Money(5), (1,)])) == [
        "red", 3, "good", {"x": 1, "y": {"x": 2, "y": None}}, {"cents": 5}, [1]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *(
            ("msgpack", data)
            for data in (b"", b"\xc1", b"\x91" * 50_000, b"\x92\x01", b"\x01\x01", b"\x81\x01\x01")
        ),
        *(
            ("yaml", data)
            for data in (b"{", b"&", b"[" * 3_000, b"\xff", b"a: *b", b"1: 2: 3", b"2026-99-99")
        ),
        *(("pickle", data) for data in (b"", b"{", b"\x80\x04.", b"\x80\x04cnosuch\nthing\n.")),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_others_garbage_is_a_message_error(name: str, data: bytes) -> None:
    with pytest.raises(MessageError, match=f"not readable as {name}"):
        serializers.find(name).loads(data)


def test_yaml_makes_no_objects() -> None:
    with pytest.raises(MessageError, match="python/object"):
        serializers.find("yaml").loads(b"!!python/object/apply:os.getpid []")


def test_yaml_is_refused_at_a_depth_before_it_takes_long() -> None:
    row = serializers.find("yaml")
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    assert row.loads(row.dumps(deep)) == deep
    for data in (b"[" * 10_000 + b"]" * 10_000, b"[" * 1_000_000, b"{a: " * 5_000):
        with pytest.raises(
            MessageError, match=r"not readable as yaml: RecursionError\('it is nested too deeply'\)"
        ):
            row.loads(data)


@pytest.mark.parametrize("name", ["msgpack", "yaml"])
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    for attempt in (lambda: serializers.content_types([name]), lambda: serializers.find(name).dumps(1)):
        with pytest.raises(NotInstalled, match=rf"pip install 'celeriac\[{name}\]'"):
            attempt()
    with pytest.raises(MessageError, match=rf"pip install 'celeriac\[{name}\]'"):
        serializers.find(name).loads(b"1")


class TestOwn:
    @pytest.fixture(autouse=True)
    def _forget(self) -> Iterator[None]:
        yield
        serialization.unregister("own")
        with contextlib.suppress(kombu_errors.SerializerNotInstalled):
            kombu.unregister("own")

    def test_with_kombus_signature(self) -> None:
        for register in (serialization.register, kombu.register):
            register("own", repr, lambda data: ast.literal_eval(data.decode()), "text/x-own", "utf-8")
        row = serializers.find("own")
        assert (row.content_type, row.content_encoding) == ("text/x-own", "utf-8")
        assert serializers.content_types(["own"]) == {"text/x-own"}
        assert serializers.loads(row.dumps((1, {2})), "text/x-own", {"text/x-own"}) == (1, {2})
        assert kombu.loads(row.dumps((1, {2})), "text/x-own", "utf-8", {"text/x-own"}) == (1, {2})
        assert serializers.loads(kombu.dumps((1,), "own")[2].encode(), "text/x-own", {"text/x-own"}) == (1,)

    def test_what_it_raises_becomes_ours(self) -> None:
        def fail(value: Any) -> Any:
            raise KeyError("odd")

        serialization.register("own", fail, fail, "text/x-own")
        with pytest.raises(EncodeError, match="int cannot be written as own: 'odd'"):
            serializers.find("own").dumps(1)
        with pytest.raises(MessageError, match=r"not readable as own: KeyError\('odd'\)"):
            serializers.find("own").loads(b"1")

    def test_one_half(self) -> None:
        serialization.register("own", None, None, "text/x-own")
        with pytest.raises(EncodeError, match="only reads"):
            serializers.find("own").dumps(1)
        with pytest.raises(MessageError, match="without a decoder"):
            serializers.find("own").loads(b"1")

    def test_another_of_the_name_replaces_it(self) -> None:
        serialization.register("own", repr, None, "text/x-one")
        serialization.register("own", repr, None, "text/x-two")
        assert serializers.find("own").content_type == "text/x-two"
        with pytest.raises(ImproperlyConfigured):
            serializers.find("text/x-one")

    @pytest.mark.parametrize(("name", "content_type"), [("json", "text/x-own"), ("own", "application/json")])
    def test_json_stays(self, name: str, content_type: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="json cannot be replaced"):
            serialization.register(name, repr, None, content_type)
