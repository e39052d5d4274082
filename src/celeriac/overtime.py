"""Time limits of coroutine tasks: a timer of the event loop cancels what the task awaits.

What it awaits is cancelled as asyncio does it, so that nothing is left behind that waits for nobody; the task itself
gets SoftTimeLimitExceeded. At the hard limit it is closed, and gets no second chance. Called by `celeriac.execute`; a
coroutine that lets its loop do nothing else is the supervisor's to end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from celeriac.errors import SoftTimeLimitExceeded, TimeLimitExceeded


class _SoftlyCancelled(SoftTimeLimitExceeded, asyncio.CancelledError):
    """What strikes inside: asyncio's own code (`timeout`, `TaskGroup`) must see that it is cancelled."""


class _Limited:
    """Awaits a coroutine on behalf of the asyncio task that it runs in."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], soft: float | None, hard: float | None) -> None:
        self.coroutine = coroutine
        self.soft = soft
        self.hard = hard
        #: What the next CancelledError means: that limit is over. Else somebody else cancels.
        self.over: type[Exception] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        timers = []
        if self.soft is not None:
            timers.append(loop.call_later(self.soft, self._cancel, task, SoftTimeLimitExceeded))
        if self.hard is not None:
            timers.append(loop.call_later(self.hard, self._cancel, task, TimeLimitExceeded))
        try:
            return (yield from self._steps(task))
        except _SoftlyCancelled as error:
            raise SoftTimeLimitExceeded(self.soft).with_traceback(error.__traceback__) from error.__cause__
        finally:
            for timer in timers:
                timer.cancel()

    def _cancel(self, task: Any, kind: type[Exception]) -> None:
        if self.over is None or kind is TimeLimitExceeded:
            self.over = kind
            task.cancel()

    def _steps(self, task: Any) -> Generator[Any, Any, Any]:
        """Do what `await self.coroutine` does, but for what is thrown into it."""
        step: Callable[[Any], Any] = self.coroutine.send
        given: Any = None
        while True:
            try:
                awaited = step(given)
            except StopIteration as stop:
                return stop.value
            try:
                step, given = self.coroutine.send, (yield awaited)
            except GeneratorExit:
                self.coroutine.close()
                raise
            except BaseException as thrown:
                step, given = self.coroutine.throw, self._translate(thrown, task)

    def _translate(self, thrown: BaseException, task: Any) -> BaseException:
        if self.over is None or not isinstance(thrown, asyncio.CancelledError):
            return thrown
        task.uncancel()
        kind, self.over = self.over, None
        if kind is SoftTimeLimitExceeded:
            return _SoftlyCancelled(self.soft)
        try:
            self.coroutine.close()
        except BaseException:
            pass  # it wants to go on, or failed when it could not: it is over all the same
        raise TimeLimitExceeded(self.hard)


async def limited(
    function: Callable[..., Coroutine[Any, Any, Any]],
    soft: float | None,
    hard: float | None,
    args: Any,
    kwargs: Any,
) -> Any:
    """Await a coroutine function within its limits."""
    return await _Limited(function(*args, **kwargs), soft, hard)
