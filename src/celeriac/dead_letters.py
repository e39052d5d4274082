"""Dead letters as an operator sees them: found by what they are, put back to run once more, or dropped.

For the command line, the admin, and workers, which put back what they know by now (`celeriac.worker.revival`) and drop
what is too old. Reads messages and never runs them.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from celeriac.broker import Broker, DeadLetter, Publication
from celeriac.config import Settings
from celeriac.errors import BadSignature, CallError, EncodeError, MessageError
from celeriac.message import serializers
from celeriac.message.message import Message
from celeriac.message.reprs import bounded_repr
from celeriac.queues import Queues
from celeriac.sensitive import BY_NAME
from celeriac.task import Task
from celeriac.unpacking import PLAIN, Codec, Unpacker

_PAGE = 100  # dead letters to read at a time; each may be large
_EXPIRE = 20


class Wanted(Struct, kw_only=True, frozen=True):
    """Which dead letters: those that fit all that is given.

    `ids` are ids of tasks or keys of letters, `task` is a name that may hold *, `reason` a part of the text, `before` a
    unix time.
    """

    ids: frozenset[str] | None = None
    task: str | None = None
    queue: str | None = None
    reason: str | None = None
    before: float | None = None

    def fits(self, found: "Found") -> bool:
        """Return whether a dead letter is one of them."""
        letter = found.letter
        return (
            (self.ids is None or letter.key in self.ids or found.id in self.ids)
            and (self.task is None or fnmatch.fnmatchcase(found.task, self.task))
            and self.queue in (None, letter.queue)
            and (self.reason is None or self.reason.lower() in letter.reason.lower())
            and (self.before is None or letter.died < self.before)
        )


class Found(Struct):
    """A dead letter, and the message in it if that can be read. `genuine` is False where a signature is wanting."""

    letter: DeadLetter
    message: Message | None
    genuine: bool = True

    @property
    def id(self) -> str:
        """The task's id, "" if it cannot be read."""
        return "" if self.message is None else self.message.headers.id

    @property
    def task(self) -> str:
        """The task's name, "" if it cannot be read."""
        return "" if self.message is None else self.message.headers.task


def read(letter: DeadLetter, codec: Codec = PLAIN) -> Found:
    """Return a dead letter with its message."""
    try:
        return Found(letter, codec.decode(letter.payload, letter.queue))
    except BadSignature:
        return Found(letter, _forged(letter, codec), genuine=False)
    except MessageError:
        return Found(letter, None)


def _forged(letter: DeadLetter, codec: Codec) -> Message | None:
    try:
        return codec.read(letter.payload)
    except MessageError:
        return None


def find(broker: Broker, wanted: Wanted, codec: Codec = PLAIN) -> Iterator[Found]:
    """Yield the dead letters that are wanted, the newest first; raises BrokerError."""
    offset = 0
    while letters := broker.dead_letters(_PAGE, offset):
        offset += len(letters)
        for letter in letters:
            found = read(letter, codec)
            if wanted.fits(found):
                yield found


def retry(broker: Broker, wanted: Wanted, codec: Codec = PLAIN, *, vouched: bool = False) -> int:
    """Put dead letters back into their queues, for a run as if they were sent now; return how many.

    Those that cannot be read stay where they are, as do those that are not genuine, unless somebody has `vouched` for
    them. Raises BrokerError.
    """

    def act(broker: Broker, letters: Sequence[Found]) -> int:
        return put_back(broker, letters, codec, vouched=vouched)

    return _sweep(broker, wanted, codec, act)


def discard(broker: Broker, wanted: Wanted, codec: Codec = PLAIN) -> int:
    """Drop dead letters for good; return how many. Raises BrokerError."""
    return _sweep(broker, wanted, codec, drop)


def put_back(broker: Broker, letters: Sequence[Found], codec: Codec = PLAIN, *, vouched: bool = False) -> int:
    """`retry` for letters that were found, which go back in this order."""
    again = {
        each.letter.key: fresh(each.letter, each.message, codec)
        for each in letters
        if each.message is not None and (each.genuine or vouched)
    }
    return broker.revive(again) if again else 0


def drop(broker: Broker, letters: Sequence[Found]) -> int:
    """`discard` for letters that were found."""
    return broker.discard([each.letter.key for each in letters])


class Amendment(Struct, frozen=True):
    """What a dead letter is to run with instead of what it has; None: as it is."""

    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    queue: str | None = None

    @classmethod
    def read(cls, args: str | None, kwargs: str | None, queue: str | None) -> "Amendment":
        """Return what is given as JSON; None and "" stand for "as it is". Raises CallError."""
        return cls(
            _read_json(args, list, 'Arguments by position are a JSON list, such as [4711, "pdf"]'),
            _read_json(kwargs, dict, 'Arguments by name are a JSON object, such as {"order": 4711}'),
            queue or None,
        )


def _read_json(text: str | None, kind: type, what: str) -> Any:
    if not text or not text.strip():
        return None
    try:
        value = serializers.json_loads(text.encode())
    except (ValueError, MessageError) as error:
        raise CallError(f"{what}; this is {error}.") from None
    if type(value) is not kind:
        raise CallError(f"{what}; this is {value!r:.100}.")
    return value


def call_in(message: Message, conf: Settings) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments in a message; raises MessageError if they cannot be read."""
    return Unpacker(conf).unpack(message)[:2]


def amend(found: Found, amendment: Amendment, tasks: Mapping[str, Task], conf: Settings) -> Found:
    """Return a dead letter with other arguments or another queue, to be `put_back`.

    Raises CallError where its task, if that is one of `tasks`, takes no such arguments; MessageError where what it has
    cannot be read; EncodeError where its serializer does not take them; QueueNotFound.
    """
    letter, message = found.letter, found.message
    if message is None:
        raise MessageError("What cannot be read cannot be changed either.")
    if amendment.args is not None or amendment.kwargs is not None:
        message = _with_arguments(message, amendment, tasks.get(message.headers.task), conf)
    if amendment.queue is not None:
        letter = structs.replace(letter, queue=Queues(conf).name(amendment.queue))
    return structs.replace(found, letter=letter, message=message)


def _with_arguments(message: Message, amendment: Amendment, task: Task | None, conf: Settings) -> Message:
    old_args, old_kwargs, embed = Unpacker(conf).unpack(message)
    args = old_args if amendment.args is None else amendment.args
    kwargs = old_kwargs if amendment.kwargs is None else amendment.kwargs
    covers = BY_NAME if task is None else task.covers
    if task is not None and task.arity is not None:
        try:
            task.arity.explain(task.name, covers, args, kwargs)
        except CallError as error:
            raise CallError(str(error).partition("  At ")[0]) from None  # no code has made this call
    body = serializers.find(message.content_type).dumps([args, kwargs, embed])
    if len(body) > conf.worker_max_message_bytes:
        raise EncodeError(
            f"These are {len(body):,} bytes; worker_max_message_bytes allows {conf.worker_max_message_bytes:,}."
        )
    shown, named = (tuple(args), kwargs) if covers is None else covers.cover(args, kwargs)
    headers = structs.replace(
        message.headers,
        argsrepr=bounded_repr(shown, len(body)),
        kwargsrepr=bounded_repr(named, len(body)),
    )
    return structs.replace(message, headers=headers, body=body, compression=None)


def _sweep(broker: Broker, wanted: Wanted, codec: Codec, act: Callable[[Broker, list[Found]], int]) -> int:
    """Call `act` with batches of the dead letters that are wanted, the oldest first; return the sum of what it returns.

    `act` returns how many of them it took away. Letters that come meanwhile, such as those that it has just put back
    and that died again, are left alone.
    """
    newest = broker.dead_letters(1)
    done = passed = 0
    while newest and (left := broker.count_dead_letters() - passed) > 0:
        size = min(_PAGE, left)
        page = broker.dead_letters(size, left - size)
        found = [read(letter, codec) for letter in reversed(page) if letter.died <= newest[0].died]
        chosen = [each for each in found if wanted.fits(each)]
        taken = act(broker, chosen) if chosen else 0
        done += taken
        passed += len(page) - taken
        if not found or done == (None if wanted.ids is None else len(wanted.ids)):
            break
    return done


def fresh(letter: DeadLetter, message: Message, codec: Codec = PLAIN, retries: int | None = 0) -> Publication:
    """Return the message of a dead letter for another run, before which no process is counted as lost."""
    headers = structs.replace(message.headers, retries=retries)
    properties = structs.replace(message.properties, celeriac_losses=0, celeriac_suspect=False)
    again = structs.replace(message, headers=headers, properties=properties)
    payload = codec.encode(again, letter.queue)
    return Publication(headers.id, headers.task, letter.queue, payload, properties.priority or 0)


def expire(broker: Broker, before: float) -> int:
    """Drop some of the dead letters that died before then, the oldest first; return how many, 0 if none is left."""
    count = broker.count_dead_letters()
    oldest = broker.dead_letters(1, count - 1) if count else []
    if not oldest or oldest[0].died >= before:
        return 0
    some = broker.dead_letters(_EXPIRE, max(0, count - _EXPIRE))
    return broker.discard([letter.key for letter in some if letter.died < before])
