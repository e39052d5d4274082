"""Ctrl-C and SIGTERM, noted instead of raised: the command asks between two steps.

Raised wherever Python happens to be, an interrupt gets lost in a finalizer, or leaves a transaction open between BEGIN
and what Django notes of it, for which the worker would then wait.
"""

import signal
from types import FrameType, TracebackType


class Interrupts:
    """Notes the first one within a `with` block; the second does what it always did."""

    def __init__(self) -> None:
        self._noted = False

    def __enter__(self) -> "Interrupts":
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._put_back()

    def check(self) -> None:
        """Raise KeyboardInterrupt if one was noted."""
        if self._noted:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = True
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
