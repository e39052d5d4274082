"""Bodies are compressed as kombu does it, and unpacked within bounds whatever arrives."""

import gzip
import lzma
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import compression as kombu

from celeriac.errors import ImproperlyConfigured, MessageError, NotInstalled, TooLarge
from celeriac.message import compression
from celeriac.message.compression import compress, decompress


def _packed(name: str, data: bytes) -> bytes:
    return compress(data, name)[0]


NAMES = ["gzip", "bzip2", "lzma", "zstd", "brotli"]
DATA = b"text " * 20_000 + bytes(range(256)) * 100
#: With the windows of ours, but for those that take long to make made with less effort.
BOMBS: dict[str, Callable[[bytes], bytes]] = {
    **{name: partial(_packed, name) for name in ("gzip", "bzip2", "zstd")},
    "lzma": partial(lzma.compress, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 23}]),
    "brotli": partial(brotli.compress, quality=2, lgwin=22),
}
PACKAGES = {
    "zstd": "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd",
    "brotli": "brotli",
}


def test_the_names_are_all_that_kombu_has() -> None:
    assert compression.names() == NAMES
    assert set(compression._by_name) == {*kombu._aliases, *kombu.encoders()}
    for name in compression._by_name:
        assert compress(b"", name)[1] == kombu.get_encoder(name)[1]


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_kombu_reads_ours(self, name: str) -> None:
        packed, content_type = compress(DATA, name)
        assert len(packed) < len(DATA)
        assert kombu.decompress(packed, content_type) == DATA

    def test_we_read_kombus(self, name: str) -> None:
        packed, content_type = kombu.compress(DATA, name)
        assert decompress(packed, content_type, len(DATA)) == DATA

    def test_nothing_at_all(self, name: str) -> None:
        assert decompress(compress(b"", name)[0], name, 10) == b""

    def test_exactly_the_limit_and_one_more(self, name: str) -> None:
        packed, _ = compress(DATA, name)
        assert decompress(packed, name, len(DATA)) == DATA
        with pytest.raises(TooLarge, match="more than 125,599 bytes when decompressed"):
            decompress(packed, name, len(DATA) - 1)

    @pytest.mark.slow
    def test_a_bomb_takes_little_memory(self, name: str) -> None:
        limit = 1024 * 1024
        bomb = BOMBS[name](bytes(32 * limit))
        assert len(bomb) < limit
        decompress(compress(b"", name)[0], name, 1)  # imports what it needs
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge):
                decompress(bomb, name, limit)
            # lzma and zstd have a window besides, whose size the packed data ask for within bounds.
            assert tracemalloc.get_traced_memory()[1] < 16 * limit
        finally:
            tracemalloc.stop()

    def test_what_is_broken_is_a_message_error(self, name: str) -> None:
        packed, content_type = compress(DATA, name)
        for broken in (
            b"",
            b"[[],{},{}]",
            packed[:1],
            packed[: len(packed) // 2],
            packed[:-1],
            packed + b"more",
        ):
            with pytest.raises(MessageError, match=f"cannot be decompressed as {content_type}"):
                decompress(broken, name, len(DATA))


@given(st.sampled_from(NAMES), st.binary())
def test_any_bytes_are_unpacked_or_refused(name: str, data: bytes) -> None:
    try:
        assert len(decompress(data, name, 1000)) <= 1000
    except MessageError:
        pass


@given(st.sampled_from(NAMES), st.binary())
def test_any_body_comes_back(name: str, data: bytes) -> None:
    assert decompress(compress(data, name)[0], name, len(data)) == data


def test_gzip_is_raw_zlib_as_kombu_writes_it_and_a_real_gzip_file_is_read_too() -> None:
    assert compress(DATA, "gzip") == (zlib.compress(DATA), "application/x-gzip")
    assert decompress(gzip.compress(DATA), "application/x-gzip", len(DATA)) == DATA


def test_a_greedy_dictionary_is_refused() -> None:
    """An xz file can ask for 4 GiB of memory before it unpacks the first byte."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    greedy = lzma.compress(b"x", filters=filters)
    with pytest.raises(MessageError, match="Memory usage limit"):
        decompress(greedy, "lzma", 1000)


def test_unknown_names() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"no compression 'snappy'\. Known: gzip, bzip2, lzma, zstd, brotli"
    ):
        compress(b"", "snappy")
    with pytest.raises(MessageError, match="compressed as 'application/x-snappy', and known are gzip"):
        decompress(b"", "application/x-snappy", 10)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    with pytest.raises(NotInstalled, match=rf"pip install 'celeriac\[{name}\]'"):
        compress(b"", name)
    with pytest.raises(MessageError, match=rf"pip install 'celeriac\[{name}\]'"):
        decompress(b"", name, 10)
