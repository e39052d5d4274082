"""Lua scripts: read from files, given their constants, run by their hash.

A script's file says at its top what it takes and returns. Names of keys and other constants are put before its
text as Lua locals, so a script has arguments only for what differs from call to call.
"""

import hashlib
import string
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

    def run(self, connection: Connection, args: Iterable[Argument], timeout: float) -> Any:
        """Return the script's result; raises as `Connection.exchange` does."""
        return self.run_after(connection, b"", 0, args, timeout)[0]

    def run_after(
        self, connection: Connection, before: bytes, count: int, args: Iterable[Argument], timeout: float
    ) -> list[Any]:
        """Send `before`, which are `count` packed commands, and the script in one write; return all replies.

        To a server that does not know the script all is sent again, so the commands must be such as do no harm twice.
        """
        args = tuple(args)
        try:
            return connection.exchange(before + pack((b"EVALSHA", self._hash, 0, *args)), count + 1, timeout)
        except ServerError as error:
            if error.kind != "NOSCRIPT":
                raise
        return connection.exchange(before + pack((b"EVAL", self._text, 0, *args)), count + 1, timeout)


def load(
    folder: Path, names: Iterable[str], constants: Mapping[str, bytes], shared: bytes = b""
) -> dict[str, Script]:
    """Return the scripts `names` of `folder`, with `constants` and the functions of `shared` before each."""
    head = b"".join(b"local %s = %s\n" % (name.encode(), literal(value)) for name, value in constants.items())
    return {name: Script(head + shared + (folder / f"{name}.lua").read_bytes()) for name in names}


def literal(value: bytes) -> bytes:
    """Return `value` as a Lua string."""
    plain = frozenset(string.ascii_letters.encode())
    return b'"%s"' % b"".join(b"%c" % byte if byte in plain else b"\\%03d" % byte for byte in value)
