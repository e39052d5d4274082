"""Dead letters as an operator sees them: found by what they are, put back to run once more, or dropped.

For the command line, the admin, and workers, which put back what they know by now (`celeriac.worker.revival`) and drop
what is too old. Reads messages and never runs them.
"""

import fnmatch
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, structs

from celeriac.broker import Broker, DeadLetter, Publication
from celeriac.errors import MessageError
from celeriac.message import protocol
from celeriac.message.message import Message

Decode = Callable[[bytes], Message]

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
    """A dead letter, and the message in it if that can be read."""

    letter: DeadLetter
    message: Message | None

    @property
    def id(self) -> str:
        """The task's id, "" if it cannot be read."""
        return "" if self.message is None else self.message.headers.id

    @property
    def task(self) -> str:
        """The task's name, "" if it cannot be read."""
        return "" if self.message is None else self.message.headers.task


def read(letter: DeadLetter, decode: Decode) -> Found:
    """Return a dead letter with its message."""
    try:
        return Found(letter, decode(letter.payload))
    except MessageError:
        return Found(letter, None)


def find(broker: Broker, wanted: Wanted, decode: Decode = protocol.decode) -> Iterator[Found]:
    """Yield the dead letters that are wanted, the newest first; raises BrokerError."""
    offset = 0
    while letters := broker.dead_letters(_PAGE, offset):
        offset += len(letters)
        for letter in letters:
            found = read(letter, decode)
            if wanted.fits(found):
                yield found


def retry(broker: Broker, wanted: Wanted, decode: Decode = protocol.decode) -> int:
    """Put dead letters back into their queues, for a run as if they were sent now; return how many.

    Those that cannot be read stay where they are. Raises BrokerError.
    """
    return _sweep(broker, wanted, decode, put_back)


def discard(broker: Broker, wanted: Wanted, decode: Decode = protocol.decode) -> int:
    """Drop dead letters for good; return how many. Raises BrokerError."""
    return _sweep(broker, wanted, decode, drop)


def put_back(broker: Broker, letters: Sequence[Found]) -> int:
    """`retry` for letters that were found, which go back in this order."""
    again = {
        each.letter.key: fresh(each.letter, each.message) for each in letters if each.message is not None
    }
    return broker.revive(again) if again else 0


def drop(broker: Broker, letters: Sequence[Found]) -> int:
    """`discard` for letters that were found."""
    return broker.discard([each.letter.key for each in letters])


def _sweep(broker: Broker, wanted: Wanted, decode: Decode, act: Callable[[Broker, list[Found]], int]) -> int:
    """Call `act` with batches of the dead letters that are wanted, the oldest first; return the sum of what it returns.

    `act` returns how many of them it took away. Letters that come meanwhile, such as those that it has just put back
    and that died again, are left alone.
    """
    newest = broker.dead_letters(1)
    done = passed = 0
    while newest and (left := broker.count_dead_letters() - passed) > 0:
        size = min(_PAGE, left)
        page = broker.dead_letters(size, left - size)
        found = [read(letter, decode) for letter in reversed(page) if letter.died <= newest[0].died]
        chosen = [each for each in found if wanted.fits(each)]
        taken = act(broker, chosen) if chosen else 0
        done += taken
        passed += len(page) - taken
        if not found or done == (None if wanted.ids is None else len(wanted.ids)):
            break
    return done


def fresh(letter: DeadLetter, message: Message, retries: int | None = 0) -> Publication:
    """Return the message of a dead letter for another run, before which no process is counted as lost."""
    headers = structs.replace(message.headers, retries=retries)
    properties = structs.replace(message.properties, celeriac_losses=0, celeriac_suspect=False)
    again = structs.replace(message, headers=headers, properties=properties)
    payload = protocol.encode(again, letter.queue)
    return Publication(headers.id, headers.task, letter.queue, payload, properties.priority or 0)


def expire(broker: Broker, before: float) -> int:
    """Drop some of the dead letters that died before then, the oldest first; return how many, 0 if none is left."""
    count = broker.count_dead_letters()
    oldest = broker.dead_letters(1, count - 1) if count else []
    if not oldest or oldest[0].died >= before:
        return 0
    some = broker.dead_letters(_EXPIRE, max(0, count - _EXPIRE))
    return broker.discard([letter.key for letter in some if letter.died < before])
