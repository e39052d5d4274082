"""What the Redis client and the Redis keepers decide without a server."""

import ssl
from pathlib import Path

import pytest

from celeriac.broker import Publication
from celeriac.brokers import redis_values
from celeriac.brokers.redis_layout import Layout
from celeriac.errors import ImproperlyConfigured
from celeriac.redis_client.address import Place, parse
from celeriac.redis_client.connection import Lost, ServerError, Unsent, reason_of
from celeriac.redis_client.failures import explain, is_outage
from celeriac.redis_client.scripts import literal, load


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://", Place("localhost", 6379, "", 0)),
        ("redis://cache", Place("cache", 6379, "", 0)),
        ("redis://cache:7000/3", Place("cache", 7000, "", 3)),
        ("redis://cache/?db=4", Place("cache", 6379, "", 4)),
        ("redis://[::1]:7000/1", Place("::1", 7000, "", 1)),
        ("valkey://u:p@cache/2", Place("cache", 6379, "", 2)),
        ("rediss://cache:7001", Place("cache", 7001, "", 0)),
        ("redis+socket:///run/redis.sock", Place("", 0, "/run/redis.sock", 0)),
        ("redis+socket:///run/redis.sock?virtual_host=5", Place("", 0, "/run/redis.sock", 5)),
        ("redis+socket:///run/redis.sock?virtual_host=/5", Place("", 0, "/run/redis.sock", 5)),
    ],
)
def test_where_a_url_leads(url: str, place: Place) -> None:
    assert parse(url).place == place


@pytest.mark.parametrize(
    ("url", "username", "password", "safe_url"),
    [
        ("redis://host/0", None, None, "redis://host/0"),
        ("redis://:geheim@host/0", None, "geheim", "redis://:***@host/0"),
        ("redis://ann:geheim@host", "ann", "geheim", "redis://ann:***@host"),
        ("redis://ann:p%40ss%2F%3A@host", "ann", "p@ss/:", "redis://ann:***@host"),
        ("redis+socket://:geheim@/run/r.sock", None, "geheim", "redis+socket://:***@/run/r.sock"),
        (
            "redis+socket:///r.sock?virtual_host=1&password=geheim",
            None,
            "geheim",
            "redis+socket:///r.sock?virtual_host=1&password=***",
        ),
    ],
)
def test_passwords_are_read_and_hidden(
    url: str, username: str | None, password: str | None, safe_url: str
) -> None:
    address = parse(url)
    assert (address.username, address.password, address.safe_url) == (username, password, safe_url)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("redis://u:geheim@host/zero", "'zero' is not the number of a Redis database"),
        ("redis://u:geheim@host:port/0", "port is not a number"),
        ("redis://u:geheim@host:99999/0", "port is not a number"),
        ("redis://u:geheim@a/0;redis://u:geheim@b/0", "Name one"),
        ("rediss://u:geheim@host/0?ssl_cert_reqs=maybe", "ssl_cert_reqs is 'maybe'"),
    ],
)
def test_urls_that_make_no_sense(url: str, part: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=part) as caught:
        parse(url)
    assert "geheim" not in str(caught.value)


def test_tls_verifies_unless_told_otherwise() -> None:
    assert parse("redis://host").tls is None
    tls = parse("rediss://host").tls
    assert tls is not None
    context = tls.context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    lax = parse("rediss://host?ssl_cert_reqs=CERT_NONE").tls
    assert lax is not None
    context = lax.context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_priority_steps_as_kombu_counts_them() -> None:
    layout = Layout({})
    assert [layout.step(n) for n in range(-1, 11)] == [0, 0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9]
    assert layout.list_key("q", 0) == b"q"
    assert layout.list_key("q", 7) == b"q\x06\x166"
    assert layout.list_keys("q") == [b"q", b"q\x06\x163", b"q\x06\x166", b"q\x06\x169"]


def test_transport_options() -> None:
    layout = Layout({"global_keyprefix": "shop:", "sep": "|", "priority_steps": range(10)})
    assert layout.list_key("q", 0) == b"shop:q"
    assert layout.list_key("q", 7) == b"shop:q|7"
    assert layout.binding("q") == "shop:_kombu.binding.q"
    assert b"shop:_kombu.binding_permanent.q" in layout.declare("q")
    assert b"q||q" in layout.declare("q")
    assert layout.dead == "shop:celeriac:dead"


@pytest.mark.parametrize("steps", [[], ["low"], [-1], [100], 3])
def test_impossible_priority_steps(steps: object) -> None:
    with pytest.raises(ImproperlyConfigured, match="priority_steps"):
        Layout({"priority_steps": steps})


def test_reading_order_follows_the_mixed_fleet_option() -> None:
    def order(**options: object) -> list[object]:
        return list(Layout(options).reading(("a", "b"))[3::3])

    assert Layout({}).reading(("a", "b"))[:6] == (2, "a", "b", b"a\x06\x169", 0, "09a")
    highest_first = [b"a\x06\x169", b"b\x06\x169", b"a\x06\x166", b"b\x06\x166"]
    highest_first += [b"a\x06\x163", b"b\x06\x163", b"a", b"b"]
    assert order() == highest_first
    lowest_first = [b"a", b"b", b"a\x06\x163", b"b\x06\x163", b"a\x06\x166", b"b\x06\x166"]
    assert order(mixed_fleet=True) == [*lowest_first, b"a\x06\x169", b"b\x06\x169"]


def test_a_script_gets_only_what_it_uses(tmp_path: Path) -> None:
    shared = b"""\
local call = redis.call

-- Uses call.
local function used()
  return call('GET', KEY)
end

-- Says used.
local function idle()
  return used()
end
"""
    (tmp_path / "one.lua").write_bytes(b"-- Not idle.\nreturn used()\n")
    text = load(tmp_path, ["one"], {"KEY": b"k", "OTHER": b"o"}, shared)["one"]._text
    assert b"local call" in text
    assert b'local KEY = "k"' in text
    assert b"function used" in text
    for absent in (b"OTHER", b"idle", b"--"):
        assert absent not in text


def test_lua_strings() -> None:
    assert literal(b'a"\\\n\x06') == b'"a\\034\\092\\010\\006"'


def publications(*sizes: int) -> list[Publication]:
    return [Publication(str(n), "t", "q", b"x" * size) for n, size in enumerate(sizes)]


def test_only_very_large_batches_are_cut() -> None:
    small = publications(1, 2, 3)
    assert list(redis_values.portions(small)) == [small]
    mega = redis_values.PORTION_BYTES
    big = publications(mega - 1, 1, 1, 2 * mega, 5)
    assert [[len(p.payload) for p in part] for part in redis_values.portions(big)] == [
        [mega - 1, 1],
        [1],
        [2 * mega],
        [5],
    ]


def test_many_small_ones_are_cut_by_number() -> None:
    many = publications(*[0] * (redis_values.PORTION + 1))
    assert [len(part) for part in redis_values.portions(many)] == [redis_values.PORTION, 1]


@pytest.mark.parametrize(
    ("failure", "outage", "text"),
    [
        (Unsent("connection refused"), True, "Cannot reach URL (connection refused)."),
        (
            Unsent("connection refused", 4, 1.04),
            True,
            "Cannot reach URL (connection refused, tried 4 times in 1.0 s).",
        ),
        (Lost("no answer within 2.0 s"), True, "Lost the connection to URL (no answer within 2.0 s)."),
        (ServerError("LOADING it is loading"), True, "URL refuses: LOADING it is loading."),
        (ServerError("OOM no memory."), True, "URL refuses: OOM no memory."),
        (
            ServerError("WRONGPASS bad"),
            False,
            "URL does not let us in: WRONGPASS bad. Check the user and the password in the URL.",
        ),
        (ServerError("WRONGTYPE bad"), False, "URL refuses: WRONGTYPE bad."),
        (
            ServerError("TOOOLD it is Redis 5.0, older than 6.2"),
            False,
            "URL cannot be used: it is Redis 5.0, older than 6.2.",
        ),
    ],
)
def test_failures_in_words(failure: Unsent | Lost | ServerError, outage: bool, text: str) -> None:
    assert explain(failure, "URL") == text
    assert is_outage(failure) is outage


def test_reasons_of_sockets() -> None:
    assert reason_of(ConnectionRefusedError(111, "Connection refused"), 1) == "connection refused"
    assert reason_of(TimeoutError(), 2.0) == "no answer within 2.0 s"
    assert reason_of(BlockingIOError(), 0.5) == "no answer within 0.5 s"
    assert reason_of(OSError(113, "No route to host"), 1) == "no route to host"
