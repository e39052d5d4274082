"""Signatures of task messages: HMAC-SHA256 over all of a message that has a meaning, by keys that its project knows.

`celeriac.message.protocol` asks for them where it writes and reads envelopes, if `task_signing` is on. What is signed
does not depend on how the JSON is written, so that a message may be read and written again on its way.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from celeriac.errors import BadSignature, ImproperlyConfigured
from celeriac.message.message import Properties

logger = logging.getLogger("celeriac")

_VERSION = "1:"
_PURPOSE = b"celeriac task message 1\0"
_COMMAND = b"\n"  # no message begins like this when it is signed
_encode = msgspec.json.Encoder(enc_hook=str, order="sorted").encode
#: How many task names are told of that come unsigned (anybody can make up more), and after how many seconds again.
_TOLD, _AGAIN = 200, 3600.0


class Signer:
    """Signs with the first of `secrets` and accepts signatures of all of them.

    Messages without any are let through while `clock`, which tells unix seconds, is before `optional_until`.
    """

    def __init__(
        self,
        secrets: Sequence[str | bytes],
        optional_until: datetime | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not secrets or not all(secrets):
            raise ImproperlyConfigured(
                "task_signing is on, and there is no key to sign with, or an empty one. Under Django that is "
                "SECRET_KEY; elsewhere set task_signing_keys to a list of long random texts, the newest first."
            )
        # Keys of our own: the project's secret is used for other things as well.
        self._keys = [
            hashlib.sha256(_PURPOSE + (each.encode() if isinstance(each, str) else each)).digest()
            for each in secrets
        ]
        self._optional_until = optional_until
        self._clock = clock
        #: When it was last told of a task that it comes unsigned.
        self._told: dict[str, float] = {}

    def sign(
        self, queue: str, headers: Mapping[str, Any], properties: Properties, content: str, body: bytes
    ) -> str:
        """Return the signature of a message in `queue`, with `headers` as on the wire but for the signature.

        `content` says how the body is to be read.
        """
        signed = _signed(queue, headers, properties, content, body)
        return _VERSION + hmac.digest(self._keys[0], signed, "sha256").hex()

    def check(
        self,
        signature: object,
        queue: str,
        headers: Mapping[str, Any],
        properties: Properties,
        content: str,
        body: bytes,
    ) -> None:
        """Raise BadSignature unless `signature` is what `sign` returns for the rest, or there may be none yet."""
        if signature is None:
            self._check_unsigned(headers)
        elif not self._is_of(signature, _signed(queue, headers, properties, content, body)):
            raise BadSignature(
                "its signature is wrong: it was changed or moved here from another queue, or its sender has another "
                "key (celeriac help E126)"
            )

    def _check_unsigned(self, headers: Mapping[str, Any]) -> None:
        until = self._optional_until
        if until is None:
            raise BadSignature("it is not signed, and task_signing is on (celeriac help E126)")
        now = self._clock()
        if now >= until.timestamp():
            raise BadSignature(
                f"it is not signed, and had to be from {until.isoformat()} on: task_signing_optional_until (celeriac "
                "help E126)"
            )
        task = str(headers.get("task", "(in its body)"))  # so it is in protocol 1
        told = self._told.get(task)
        if len(self._told) < _TOLD if told is None else now >= told + _AGAIN:
            self._told[task] = now
            logger.warning(
                "A message of %.200s, sent by %.200s, is not signed. Such messages run until %s "
                "(task_signing_optional_until), and are set aside from then on: set task_signing where it is sent.",
                task, headers.get("origin") or "a process that does not say its name", until.isoformat(),
            )  # fmt: skip

    def sign_command(self, command: bytes) -> str:
        """Return the signature of what workers are told."""
        return _VERSION + hmac.digest(self._keys[0], _COMMAND + command, "sha256").hex()

    def check_command(self, signature: object, command: bytes) -> None:
        """Raise BadSignature unless `signature` is what `sign_command` returns."""
        if not self._is_of(signature, _COMMAND + command):
            raise BadSignature("it is not signed by a key that is known here, and task_signing is on")

    def _is_of(self, signature: object, signed: bytes) -> bool:
        if not isinstance(signature, str) or not signature.isascii() or not signature.startswith(_VERSION):
            return False
        given = signature.removeprefix(_VERSION)
        return any(hmac.compare_digest(hmac.digest(key, signed, "sha256").hex(), given) for key in self._keys)


def _signed(
    queue: str, headers: Mapping[str, Any], properties: Properties, content: str, body: bytes
) -> bytes:
    """Return what is signed. JSON has no bare newline, so that no two messages can come to the same bytes."""
    how = (
        queue,
        content,
        properties.priority,
        properties.timestamp,
        properties.celeriac_losses,
        properties.celeriac_suspect,
        properties.celeriac_scheduled,
        headers,
    )
    return _encode(how) + b"\n" + body
