"""Lua scripts: read from files, given their constants, run by their hash.

A script's file says at its top what it takes and returns. Names of keys and other constants are put before its
text as Lua locals, so a script has arguments only for what differs from call to call.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from celeriac.redis_client.connection import Connection, ServerError, pack

Argument = str | bytes | int | float


class Script:
    """A script's text and hash. `run` sends the text only to a server that does not know it."""

    __slots__ = ("_hash", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._hash = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()

    def run(
        self, connection: Connection, args: Iterable[Argument], timeout: float, before: bytes = b"", count: int = 0
    ) -> Any:
        """Return the script's result. `before` are packed commands, `count` of them, sent in the same write.

        They must be ones that do no harm when sent again. Raises as `Connection.exchange` does.
        """
        args = tuple(args)
        try:
            command = pack((b"EVALSHA", self._hash, 0, *args))
            return connection.exchange(before + command, count + 1, timeout)[-1]
        except ServerError as error:
            if error.kind != "NOSCRIPT":
                raise
        return connection.exchange(pack((b"EVAL", self._text, 0, *args)), 1, timeout)[0]


def load(folder: Path, names: Iterable[str], constants: Mapping[str, bytes], shared: bytes = b"") -> dict[str, Script]:
    """Return the scripts `names` of `folder`, with `constants` and the functions of `shared` before each."""
    head = b"".join(b"local %s = %s\n" % (name.encode(), literal(value)) for name, value in constants.items())
    return {name: Script(head + shared + (folder / f"{name}.lua").read_bytes()) for name in names}


def literal(value: bytes) -> bytes:
    """Return `value` as a Lua string."""
    return b'"%s"' % b"".join(b"%c" % byte if chr(byte).isalnum() and byte < 128 else b"\\%03d" % byte for byte in value)
