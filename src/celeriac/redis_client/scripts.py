"""Lua scripts: read from files, given their constants, run by their hash.

A script's file says at its top what it takes and returns. Names of keys and other constants are put before its
text as Lua locals, so a script has arguments only for what differs from call to call.
"""

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from celeriac.redis_client.connection import Connection, ServerError, pack

Argument = str | bytes | int | float
_COMMENT = re.compile(rb"^ *--.*\n", re.MULTILINE)
_DEFINES = re.compile(rb"^local (?:function )?(\w+)", re.MULTILINE)


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
    """Return the scripts `names` of `folder`, each with what it uses of `constants` and `shared` before it.

    `shared` is Lua in paragraphs, each with local definitions that use only what is above them. Every function that is
    defined costs half a microsecond at every call of a script, whether it is used or not.
    """
    heads = [b"local %s = %s" % (name.encode(), literal(value)) for name, value in constants.items()]
    heads += _COMMENT.sub(b"", shared).split(b"\n\n")
    texts = {name: _COMMENT.sub(b"", (folder / f"{name}.lua").read_bytes()) for name in names}
    return {name: Script(_with_heads(heads, text)) for name, text in texts.items()}


def _with_heads(heads: list[bytes], text: bytes) -> bytes:
    for head in reversed(heads):
        if any(re.search(rb"\b%s\b" % name, text) for name in _DEFINES.findall(head)):
            text = head + b"\n\n" + text
    return text


def literal(value: bytes) -> bytes:
    """Return `value` as a Lua string."""
    plain = frozenset(string.ascii_letters.encode())
    return b'"%s"' % b"".join(b"%c" % byte if byte in plain else b"\\%03d" % byte for byte in value)
