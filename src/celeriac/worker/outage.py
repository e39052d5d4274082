"""Saying once that the broker or the result store is away, however many processes of a worker notice it.

A child writes what it met into its `Notice` and pokes its supervisor, which reads the notices of all, looks at its
own, and has `Outage` say it: one line when the first of them is in trouble, one when none is any more.
"""

import logging
import mmap
import struct
import time
from collections.abc import Callable, Iterable

from celeriac.errors import sentences

logger = logging.getLogger("celeriac.worker")

_SIZE = 1024
_length = struct.Struct("<H")
#: Seconds without trouble after which it is over: processes do not notice at the same moment.
_CALM = 0.5
#: Seconds after the end of an outage in which a process may still hear of it, from a call that was begun before.
_ECHO = 6.0


class Notice:
    """A short text that one process writes and another reads. Made before the fork."""

    __slots__ = ("_memory",)

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)

    def write(self, text: str) -> None:
        """Leave `text`, "" where all is well."""
        data = text.encode(errors="replace")[: _SIZE - _length.size]
        _length.pack_into(self._memory, 0, 0)
        self._memory[_length.size : _length.size + len(data)] = data
        _length.pack_into(self._memory, 0, len(data))

    def read(self) -> str:
        """Return the text, "" while it is being written."""
        (size,) = _length.unpack_from(self._memory, 0)
        return self._memory[_length.size : _length.size + size].decode(errors="ignore")

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()


class Outage:
    """Whether something is away, and since when. `look` is to be called after each change, and when `next` is due."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: When trouble was first seen, whether it has been told yet or not.
        self._since: float | None = None
        self._told = False
        self._over_since: float | None = None
        self._ended = -_ECHO

    def look(self, texts: Iterable[str]) -> None:
        """Say what has changed, given what each process says of its trouble."""
        text = next(filter(None, texts), "")
        now = self._clock()
        if text:
            self._over_since = None
            if self._since is None:
                self._since = now
            if not self._told and not self._may_be_an_echo(now):
                self._told = True
                logger.warning("%s", sentences(text, "The worker waits and goes on when it is back."))
        elif self._told and self._since is not None:
            if self._over_since is None:
                self._over_since = now
            if now - self._over_since >= _CALM:
                logger.info("Back after %.1f s: the worker goes on.", self._over_since - self._since)
                self._since = self._over_since = None
                self._told, self._ended = False, now
        else:
            self._since = None

    def _may_be_an_echo(self, now: float) -> bool:
        """Whether this may be the last outage, which one process hears of late: then it is over in a moment."""
        since = now if self._since is None else self._since
        return since < self._ended + _ECHO and now - since < _CALM

    @property
    def next(self) -> float | None:
        """When to look again even if nothing has changed, on the clock's time; None: not at all."""
        waits_since = self._over_since if self._told else self._since
        return None if waits_since is None else waits_since + _CALM
