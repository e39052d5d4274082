"""Compression of bodies, one row each, under the names and content types that kombu gives them.

Called by `celeriac.sending` and `celeriac.execute`, and by `celeriac.message.protocol1`. Nothing is unpacked beyond a
limit: a few bytes can stand for gigabytes. `gzip` is written as raw zlib, which is what kombu means by it; real
gzip files are read as well.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from celeriac.errors import ImproperlyConfigured, MessageError, NotInstalled, TooLarge

#: What unpacking may take of memory besides what it returns: lzma's highest preset needs 65 MiB, zstd's 8 MiB.
_WORKSPACE = 128 * 1024 * 1024
_WINDOW_LOG = 27  # the same, as a power of two
_CHUNK = 64 * 1024


class _Decompressor(Protocol):
    """What bz2, lzma and zstd have in common: the standard library's shape."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most `max_length` bytes; called again with b"" it goes on."""


class Compression(Struct, frozen=True):
    """One way to compress. `unpack(data, limit)` returns at most `limit` bytes, and whether that was all."""

    content_type: str
    names: tuple[str, ...]
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes, int], tuple[bytes, bool]]


def compress(body: bytes, name: str) -> tuple[bytes, str]:
    """Return a body compressed, and the content type for the header; raises ImproperlyConfigured."""
    row = _by_name.get(name)
    if row is None:
        raise ImproperlyConfigured(f"There is no compression {name!r}. Known: {', '.join(names())}.")
    return row.pack(body), row.content_type


def decompress(body: bytes, name: str, limit: int) -> bytes:
    """Return what `compress` was given; raises MessageError, and TooLarge above `limit` bytes."""
    row = _by_name.get(name)
    if row is None:
        raise MessageError(f"its body is compressed as {name!r}, and known are {', '.join(names())}")
    try:
        unpacked, whole = row.unpack(body, limit + 1)
    except NotInstalled as error:
        raise MessageError(str(error)) from None
    except Exception as error:
        # Each library has its own way to complain, and zlib.error is not even a ValueError.
        raise MessageError(f"its body cannot be decompressed as {row.content_type}: {error}") from None
    if len(unpacked) > limit:
        raise TooLarge(f"too large: its body is more than {limit:,} bytes when decompressed")
    if not whole:
        raise MessageError(
            f"its body cannot be decompressed as {row.content_type}: it is cut off, or goes on after its end"
        )
    return unpacked


def names() -> list[str]:
    """Return the names that settings and options may use."""
    return [row.names[0] for row in _rows]


def _whole(decompressor: _Decompressor, data: bytes, limit: int) -> tuple[bytes, bool]:
    # One call may return less than it could.
    parts = [decompressor.decompress(data, limit)]
    size = len(parts[0])
    while size < limit and not decompressor.eof:
        part = decompressor.decompress(b"", min(_CHUNK, limit - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts), decompressor.eof and not decompressor.unused_data


def _package(module: str, extra: str) -> Any:
    """Import a module that may be missing, and say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise NotInstalled(
            f"The compression {extra} needs the package {module!r}. Install it: pip install 'celeriac[{extra}]'"
        ) from None


# The modules are imported when they are first used: most projects need none of them.


def _pack_gzip(data: bytes) -> bytes:
    packed: bytes = importlib.import_module("zlib").compress(data)
    return packed


def _unpack_gzip(data: bytes, limit: int) -> tuple[bytes, bool]:
    decompressor = importlib.import_module("zlib").decompressobj(wbits=32 + 15)  # zlib's header or gzip's
    return decompressor.decompress(data, limit), decompressor.eof and not decompressor.unused_data


def _pack_bzip2(data: bytes) -> bytes:
    packed: bytes = importlib.import_module("bz2").compress(data)
    return packed


def _unpack_bzip2(data: bytes, limit: int) -> tuple[bytes, bool]:
    return _whole(importlib.import_module("bz2").BZ2Decompressor(), data, limit)


def _pack_lzma(data: bytes) -> bytes:
    packed: bytes = importlib.import_module("lzma").compress(data)
    return packed


def _unpack_lzma(data: bytes, limit: int) -> tuple[bytes, bool]:
    return _whole(importlib.import_module("lzma").LZMADecompressor(memlimit=_WORKSPACE), data, limit)


def _zstd() -> Any:
    return _package("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", "zstd")


def _pack_zstd(data: bytes) -> bytes:
    packed: bytes = _zstd().compress(data)
    return packed


def _unpack_zstd(data: bytes, limit: int) -> tuple[bytes, bool]:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return _whole(zstd.ZstdDecompressor(options=options), data, limit)


def _pack_brotli(data: bytes) -> bytes:
    packed: bytes = _package("brotli", "brotli").compress(data)
    return packed


def _unpack_brotli(data: bytes, limit: int) -> tuple[bytes, bool]:
    decompressor = _package("brotli", "brotli").Decompressor()
    unpacked = decompressor.process(data, output_buffer_limit=limit)
    # The limit is checked between blocks, so there may be a little more.
    while len(unpacked) < limit and not decompressor.is_finished():
        more = decompressor.process(b"", output_buffer_limit=limit - len(unpacked))
        if not more:
            break
        unpacked += more
    return unpacked, decompressor.is_finished()


_rows = (
    Compression("application/x-gzip", ("gzip", "zlib"), _pack_gzip, _unpack_gzip),
    Compression("application/x-bz2", ("bzip2", "bzip"), _pack_bzip2, _unpack_bzip2),
    Compression("application/x-lzma", ("lzma", "xz"), _pack_lzma, _unpack_lzma),
    Compression("application/zstd", ("zstd", "zstandard"), _pack_zstd, _unpack_zstd),
    Compression("application/x-brotli", ("brotli",), _pack_brotli, _unpack_brotli),
)
_by_name = {name: row for row in _rows for name in (*row.names, row.content_type)}
