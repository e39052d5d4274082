"""What the transaction of a test holds back: a `TestCase` never commits, which what is sent after a commit waits for.

Called by `celeriac.testing`. Runs callbacks of ours alone, and those early by no more than the test's own transaction.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync
from django.db import connections

from celeriac.deferred import AfterCommit

T = TypeVar("T")
_PATIENCE = 30.0  # seconds for what takes none


def of_the_test(function: Callable[[], T]) -> Callable[[], T]:
    """Have `function` called on the thread of the test, whose connections it looks at, also from an `async def` test.

    There asgiref keeps that thread waiting for the coroutine, and for what is to be called on it meanwhile.
    """

    @functools.wraps(function)
    def call() -> T:
        waiting = getattr(AsyncToSync.executors, "current", None)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            waiting = None
        return function() if waiting is None else waiting.submit(function).result(_PATIENCE)

    return call


@of_the_test
def publish_committed() -> None:
    """Publish what waits for nothing but the commit of the test's own transaction, which never comes."""
    for connection in _in_tests():
        inside = _open_blocks(connection)
        for savepoints, callback, *_ in list(connection.run_on_commit):
            if isinstance(callback, AfterCommit) and inside.isdisjoint(savepoints):
                callback()


@of_the_test
def held_back() -> tuple[int, int]:
    """Return how many sendings wait for a commit, and how many callbacks of others that a test will not run."""
    ours = others = 0
    for connection in connections.all(initialized_only=True):
        for _, callback, *_ in connection.run_on_commit:
            if isinstance(callback, AfterCommit):
                ours += callback.pending()
            else:
                others += bool(_test_blocks(connection))
    return ours, others


def _in_tests() -> list[Any]:
    return [c for c in connections.all(initialized_only=True) if c.in_atomic_block and _test_blocks(c)]


def _test_blocks(connection: Any) -> int:
    """How many of the open blocks are `TestCase`'s: its own mark, by which Django lets `durable` blocks begin in it."""
    return sum(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _open_blocks(connection: Any) -> set[Any]:
    """The savepoints of the open blocks that are not the test's; the outermost block has none."""
    return set(connection.savepoint_ids[_test_blocks(connection) - 1 :])
