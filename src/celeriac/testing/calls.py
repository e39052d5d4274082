"""`EnqueuedCall`, a call as it went to the broker, and whether it is the one that a test asks for.

Used by `celeriac.testing.queue`. Reads messages, sends nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from celeriac.broker import Publication
from celeriac.config import Settings
from celeriac.errors import EncodeError
from celeriac.message import compression, protocol, serializers
from celeriac.message.message import Message
from celeriac.message.moments import parse_time
from celeriac.unpacking import Codec


class EnqueuedCall(Struct, frozen=True, kw_only=True):
    """A call that was sent: what a worker would get of it."""

    id: str
    task: str  #: the task's name
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    sent: datetime  #: when the call was made, by the clock of the test, in UTC as the others
    eta: datetime | None  #: not before then; what `countdown` and `eta` came to
    expires: datetime | None
    headers: dict[str, Any]  #: the sender's own

    @property
    def countdown(self) -> float | None:
        """Seconds from the sending to `eta`, None where it may run at once."""
        return None if self.eta is None else (self.eta - self.sent).total_seconds()

    def __str__(self) -> str:
        words = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        text = f"{self.task}({', '.join(words)}) on queue {self.queue!r}"
        return text if self.countdown is None else f"{text}, in {self.countdown:.0f} s ({self.eta})"


def read_call(publication: Publication, sent: float, conf: Settings) -> EnqueuedCall:
    """Return what a message says; raises MessageError where a worker could not read it either."""
    message = Codec(conf).read(publication.payload)
    args, kwargs = _arguments(message, conf)
    headers = message.headers
    return EnqueuedCall(
        id=headers.id,
        task=headers.task,
        args=tuple(args),
        kwargs=dict(kwargs),
        queue=publication.queue,
        priority=publication.priority,
        sent=datetime.fromtimestamp(message.properties.timestamp or sent, UTC),
        eta=None if publication.due is None else datetime.fromtimestamp(publication.due, UTC),
        expires=_moment(headers.expires),
        headers=dict(protocol.custom_headers(message) or {}),
    )


def _arguments(message: Message, conf: Settings) -> tuple[Sequence[Any], Mapping[str, Any]]:
    body = message.body
    if message.compression is not None:
        body = compression.decompress(body, message.compression, conf.worker_max_message_bytes)
    accept = serializers.content_types(conf.accept_content)
    args, kwargs, _ = serializers.loads(body, message.content_type, accept)
    return args, kwargs


def _moment(text: str | None) -> datetime | None:
    stamp = None if text is None else parse_time(text)
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)


class Wanted(Struct, kw_only=True):
    """What a test asks for; None for what it does not ask about. `due` is a unix time, `within` in seconds."""

    task: str
    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    queue: str | None = None
    countdown: float | None = None
    due: float | None = None
    within: float = 1.0

    def fits(self, call: EnqueuedCall) -> bool:
        """Return whether `call` is one."""
        return (
            call.task == self.task
            and (self.args is None or same(self.args, call.args))
            and (self.kwargs is None or same(self.kwargs, call.kwargs))
            and self.queue in (None, call.queue)
            and self._fits_time(call)
        )

    def _fits_time(self, call: EnqueuedCall) -> bool:
        if self.countdown is not None and abs((call.countdown or 0.0) - self.countdown) > self.within:
            return False
        if self.due is None:
            return True
        return call.eta is not None and abs(call.eta.timestamp() - self.due) <= self.within

    def __str__(self) -> str:
        parts = [f"args={self.args!r}" if self.args is not None else ""]
        parts.append(f"kwargs={self.kwargs!r}" if self.kwargs is not None else "")
        parts.append(f"queue={self.queue!r}" if self.queue is not None else "")
        parts.append(f"countdown={self.countdown:g}" if self.countdown is not None else "")
        if self.due is not None:
            parts.append(f"eta={datetime.fromtimestamp(self.due, UTC)}")
        told = ", ".join(filter(None, parts))
        return f"{self.task} with {told}" if told else self.task


def same(expected: Any, sent: Any) -> bool:
    """Return whether a worker gets `sent` where `expected` was given: JSON makes lists of tuples, texts of enums."""
    if isinstance(expected, Mapping) and isinstance(sent, Mapping):
        return expected.keys() == sent.keys() and all(same(expected[key], sent[key]) for key in expected)
    if isinstance(expected, list | tuple) and isinstance(sent, list | tuple):
        return len(expected) == len(sent) and all(map(same, expected, sent))
    if expected == sent:
        return True
    try:
        return bool(serializers.json_loads(serializers.json_dumps(expected)) == sent)
    except EncodeError:
        return False
