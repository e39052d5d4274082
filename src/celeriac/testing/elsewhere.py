"""A second process for the exams: a keeper of its own, in a thread. And how patient they are."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar


class Closes(Protocol):
    """A broker or a store."""

    def close(self) -> None:
        """Let go of connections."""


K = TypeVar("K", bound=Closes)
T = TypeVar("T")

#: What has to happen at once, happens within this time also on a machine that stalls. It is waited for, not slept.
SOON = 60.0
#: Longer than any check takes, and what a wait takes that nobody ends.
LONG = 100.0


def start(make: Callable[..., K], work: Callable[[K], T]) -> "Future[T]":
    """Run `work` in a thread with a keeper of its own, as another process would."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            keeper = make()
            try:
                result = work(keeper)
            finally:
                keeper.close()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future


def elsewhere(make: Callable[..., K], work: Callable[[K], T]) -> T:
    """`start`, and wait for the result."""
    return start(make, work).result(LONG)
