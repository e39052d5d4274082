"""What a contender's module offers; the producer process calls it and nothing else.

A module under ``contenders/`` is this protocol: plain functions at its top level. ``bulk`` and ``schedule`` may
be missing where the library has no such thing. Its tasks are two: ``noop(n)`` calls ``tally.tick(n)``,
``note(moment)`` calls ``tally.note(moment)``.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Contender(Protocol):
    """A task queue as the bench sees it."""

    def prepare(self) -> None:
        """Make what the library needs before the first task: tables, groups. The server is empty."""

    def one_by_one(self, numbers: Iterable[int]) -> None:
        """Enqueue ``noop(n)`` for each number, each call confirmed by the server before the next."""

    def fill(self, numbers: Iterable[int]) -> None:
        """Enqueue ``noop(n)`` for each number in whichever way is quickest. Not measured."""

    def note(self, moment: int) -> None:
        """Enqueue one ``note(moment)``."""

    def waiting(self) -> int:
        """How many tasks the broker still holds, waiting or claimed."""

    def stored(self) -> int:
        """How many results are stored."""


class BulkContender(Contender, Protocol):
    """A contender with a way to send many tasks at once."""

    def bulk(self, numbers: Iterable[int]) -> None:
        """Enqueue ``noop(n)`` for each number in one operation of the library's."""


class SchedulingContender(Contender, Protocol):
    """A contender that takes tasks ahead of their time."""

    def schedule(self, moments: Sequence[int]) -> None:
        """Enqueue ``note(moment)`` due at each moment (``time.time_ns()``)."""
