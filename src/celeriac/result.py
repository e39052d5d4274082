"""What a caller holds of a task that it sent: `AsyncResult`, and `EagerResult` for one that ran at once.

Reads the result store through the app; never touches the broker. Has all the names of `celery.result`.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, overload

from celeriac import registry, result_tree, states
from celeriac.errors import StoreError, TaskRevokedError, TaskTimeout, WaitInTransaction
from celeriac.generics import R
from celeriac.result_set import Callback
from celeriac.result_set import GroupResult as GroupResult
from celeriac.result_set import ResultSet as ResultSet
from celeriac.store import Record
from celeriac.stored_result import StoredResult
from celeriac.waiting import SLICE, HasStore, Looks, store_of
from celeriac.waiting import ResultBase as ResultBase
from celeriac.waiting import allow_join_result as allow_join_result
from celeriac.waiting import assert_will_not_block as assert_will_not_block
from celeriac.waiting import denied_join_result as denied_join_result


class AsyncResult(StoredResult, Generic[R]):
    """A handle on one task, by id. Equal to another with the same id; `str()` is the id.

    Without `app` the result is looked for where the current app keeps its results. `parent` is the result that comes
    before it in a chain.
    """

    __slots__ = ("_sent_to", "_then", "_unpublished", "ignored", "parent")

    def __init__(
        self,
        id: str,
        app: HasStore | None = None,
        sent_to: str | None = None,
        *,
        parent: Any = None,
        unpublished: Callable[[], bool] | None = None,
        ignored: bool = False,
    ) -> None:
        if id is None:
            raise ValueError("AsyncResult needs the id of a task, not None.")
        self.id = id
        self._app = registry.current_app() if app is None else app
        self._record = None
        #: The result that comes before it in a chain.
        self.parent = parent
        #: Whether the task was sent with `ignore_result`: then there is nothing to wait for.
        self.ignored = ignored
        # What is to be called when its end is seen: callback and errback.
        self._then: list[tuple[Callback, Callback | None]] | None = None
        # Set where the task is published by a commit or at a batch's end: tells whether that is still to come.
        self._unpublished = unpublished
        # The queue that it was sent to by this process, None where that is not known.
        self._sent_to = sent_to

    # -- for sets of results

    def leaves(self) -> list["AsyncResult[Any]"]:
        """Return the single results in it: itself."""
        return [self]

    def awaited(self) -> list["AsyncResult[Any]"]:
        """Return itself if its end was not seen, and will come."""
        return [] if self.ignored or self.ended() else [self]

    def worry(self) -> None:
        """Have it told if nobody is there to run the task, which is waited for and does not end at once."""
        self.app.awaited(self.id, self._sent_to)

    def see(self, record: Record | None) -> None:
        """Take note of what is stored now, and carry out what `then` has asked for."""
        super().see(record)
        if self._then and self.ended():
            self._fulfil()

    @property
    def children(self) -> list[Any] | None:
        """Handles of the tasks that it has sent, and that followed it; None where nothing is stored for the id.

        Of a task that sent very many the first 1,000 are known, of one with `trail=False` none.
        """
        record = self._fetch()
        if record is None:
            return None
        return [result_from_tuple(child, self.app) for child in record.children or ()]

    @overload
    def get(
        self,
        timeout: float | None = None,
        propagate: Literal[True] = True,
        interval: float | None = None,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callback | None = None,
        on_message: Callback | None = None,
        on_interval: Callback | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R: ...
    @overload
    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callback | None = None,
        on_message: Callback | None = None,
        on_interval: Callback | None = None,
        disable_sync_subtasks: bool = True,
    ) -> Any: ...
    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callback | None = None,
        on_message: Callback | None = None,
        on_interval: Callback | None = None,
        disable_sync_subtasks: bool = True,
    ) -> Any:
        """Wait for the end of the task and return its value.

        `timeout` is in seconds, None waits for ever. A failed task's exception is raised, or returned with
        `propagate=False`; with `follow_parents` that of a task before it in its chain as well. `callback(id, value)` is
        called at the end, `on_interval()` every `interval` seconds (0.5) until then, `on_message(meta)` with what is
        stored then if it has changed. Of a task sent with `ignore_result` it is None, at once. Raises TaskTimeout when
        the time is over (the task goes on), WaitInTask inside a task (unless `disable_sync_subtasks=False` says that
        others will run it, or `allow_join_result`), WaitInTransaction where the task is only published by a commit, or
        a batch's end, that comes after.
        """
        if self.ignored:
            return None
        self.refuse_endless_wait(inside_task=not disable_sync_subtasks)
        follow = follow_parents and propagate and self.parent is not None
        looks = Looks(self, follow, on_interval, on_message)
        looks.before()
        if not self._wait_looking(timeout, interval or SLICE, looks):
            raise self._late(timeout)
        looks.message()
        return self.tell(propagate, callback)

    wait = get

    @overload
    async def aget(self, timeout: float | None = None, propagate: Literal[True] = True) -> R: ...  # noqa: ASYNC109
    @overload
    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any: ...  # noqa: ASYNC109
    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any:  # noqa: ASYNC109 - as in get()
        """`get` for coroutines: the store is waited for on another thread."""
        import asyncio  # noqa: PLC0415 - slow to import, and whoever awaits has it already

        if self.ignored:
            return None
        self.refuse_endless_wait()
        deadline = None if timeout is None else time.monotonic() + timeout
        told = False
        while True:
            # In slices, so that the thread of a wait that was cancelled ends soon.
            left = SLICE if deadline is None else min(SLICE, max(0.0, deadline - time.monotonic()))
            if await asyncio.to_thread(self._wait, left):
                return self.tell(propagate)
            if deadline is not None and time.monotonic() >= deadline:
                raise await asyncio.to_thread(self._late, timeout)
            if not told:
                self.worry()
                told = True

    def refuse_endless_wait(self, *, inside_task: bool = False) -> None:
        """Raise WaitInTask, unless it may be waited for inside a task, or WaitInTransaction."""
        if not inside_task:
            assert_will_not_block(f"Task {self.id}")
        if self._unpublished is not None and self._unpublished():
            raise WaitInTransaction(
                f"Task {self.id} is published when the open transaction commits or the batch ends, so that waiting for "
                "it here would never end. Call get() after the block. If that was undone, the task was not sent."
            )

    def _late(self, timeout: float | None) -> TaskTimeout:
        """Return what to raise when the time is over."""
        text = f"Task {self.id} has not ended within {timeout or 0:g} s."
        try:
            known = self._fetch() is not None
        except StoreError:
            known = True  # it cannot be asked
        if known:
            return TaskTimeout(f"{text} It goes on.")
        if self._sent_to is not None:
            return TaskTimeout(f'{text} It still waits in its queue, "{self._sent_to}", or runs.')
        kept = self.app.conf.result_expires
        days = f" (results are kept for {kept / 86400:g} days)" if kept else ""
        return TaskTimeout(
            f"{text} Nothing is stored of it: it was never queued here, still waits or runs, or its result was "
            f"deleted{days}. (celeriac help E116)"
        )

    def _wait(self, timeout: float | None) -> bool:
        """Return whether the task has ended within `timeout` seconds."""
        if not self.ended():
            self.see(store_of(self.app).wait(self.id, timeout))
        return self.ended()

    def _wait_looking(self, timeout: float | None, interval: float, looks: Looks) -> bool:
        """`_wait`, and look around every `interval` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        told = False
        while True:
            # What ends soon is nobody's worry.
            wait = interval if looks.any else None if told else SLICE
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if self._wait(left if wait is None else wait if left is None else min(wait, left)):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            looks.during()
            if not told:
                self.worry()
                told = True

    def tell(self, propagate: bool = True, callback: Callback | None = None) -> Any:
        """Raise the exception of a task that was seen to have failed, else call `callback(id, value)`; return it."""
        value = self._value()
        if propagate and self._record is not None and self._record.state in states.PROPAGATE_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return value

    def maybe_throw(self, propagate: bool = True, callback: Callback | None = None) -> Any:
        """Raise the exception of a task that has failed; else return what there is of a result, without waiting."""
        self._fetch()
        return self.tell(propagate, callback)

    throw = maybe_reraise = maybe_throw

    def then(self, callback: Callback, on_error: Callback | None = None, weak: bool = False) -> None:
        """Have `callback(result)` called when this object has seen that the task has ended; at once if it has already.

        If it has failed, `on_error(exception)` is called as well.
        """
        self._then = [*(self._then or ()), (callback, on_error)]
        if self.ended():
            self._fulfil()

    def _fulfil(self) -> None:
        waiting, self._then = self._then or (), None
        for callback, on_error in waiting:
            callback(self)
            if on_error is not None and self.state in states.PROPAGATE_STATES:
                on_error(self.result)

    def forget(self) -> None:
        """Delete what is stored of the task and those before it in its chain; its state is PENDING again."""
        store_of(self.app).forget([each.id for each in self.lineage()])
        self._record = None

    def meta(self) -> dict[str, Any]:
        """Return what is stored, as Celery's stores do: `status`, `result`, `traceback`, `children`, and more."""
        done = self.date_done
        return {
            "task_id": self.id,
            "status": self.state,
            "result": self._value(),
            "traceback": self.traceback,
            "children": self.children,
            "date_done": done and done.isoformat(),
        }

    # -- those before it in a chain, and those that it has sent

    def lineage(self) -> Iterator["AsyncResult[Any]"]:
        """Yield it and those before it in its chain."""
        yield self
        if self.parent is not None:
            for leaf in self.parent.leaves():
                yield from leaf.lineage()

    def as_tuple(self) -> Any:
        """Return it as plain values, from which `result_from_tuple` makes it again."""
        return (self.id, self.parent and self.parent.as_tuple()), None

    __json__ = as_tuple

    def as_list(self) -> list[str]:
        """Return its id and those of what comes before it in its chain."""
        return [self.id, *(self.parent.as_list() if self.parent else ())]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield (parent, result) of it and of all that it has sent, level by level.

        Raises IncompleteStream at one that has not ended, unless `intermediate` is set.
        """
        return result_tree.iterdeps(self, intermediate)

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield (result, value) of it and of all that it has sent, waiting for each; `options` are those of `get`."""
        for _, result in self.iterdeps(intermediate):
            yield result, result.get(**options)

    def get_leaf(self) -> Any:
        """Return the value of the last of all that it has sent, waiting for each."""
        values = [value for _, value in self.collect()]
        return values[-1]

    def build_graph(self, intermediate: bool = False) -> dict[Any, list[Any]]:
        """Return which results each result in its tree has sent."""
        return result_tree.build_graph(self, intermediate)

    @property
    def graph(self) -> dict[Any, list[Any]]:
        """Which results each result in its tree has sent; raises IncompleteStream where that is not known yet."""
        return self.build_graph()

    def __reduce__(self) -> Any:
        return _unpickled, (type(self), self.id, self.parent)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return self.id == other.id
        return isinstance(other, str) and self.id == other

    def __hash__(self) -> int:
        return hash(self.id)


def _unpickled(cls: type[AsyncResult[Any]], id: str, parent: Any) -> AsyncResult[Any]:
    return cls(id, parent=parent)


class EagerResult(AsyncResult[R]):
    """The result of a task that ran in the caller's process. Made of what came of the run, as Celery's is."""

    __slots__ = ("_known",)

    def __init__(
        self, id: str, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None
    ) -> None:
        StoredResult.__init__(self, id, None)
        self.ignored, self.parent = False, None
        self._then = self._unpublished = self._sent_to = None
        self._known: Any = ret_value
        self._record = Record(id, state, traceback=traceback, name=name or "")

    @classmethod
    def of(cls, record: Record, app: HasStore, error: BaseException | None) -> "EagerResult[Any]":
        """Return the result of a run, of which `error` is the exception."""
        record.finished = record.finished or time.time()
        made: EagerResult[Any] = cls(record.id, error, record.state)
        made.app, made._record = app, record
        if error is None:
            made._known = AsyncResult._value(made)
        return made

    def _fetch(self) -> Record | None:
        return self._record

    def _value(self) -> Any:
        return self._known

    @property
    def children(self) -> list[Any] | None:
        """Handles of the tasks that it has sent; None where that is not known."""
        return None if self._record is None or self._app is None else super().children

    def ended(self) -> bool:
        """Return True: the run is over, also where it was ignored or rejected."""
        return True

    ready = exists = ended

    def get(self, timeout: float | None = None, propagate: bool = True, *args: Any, **options: Any) -> Any:
        """Return the value, or raise (or return) the exception of the run; refused in a task, as a worker would."""
        self.refuse_endless_wait(inside_task=not options.get("disable_sync_subtasks", True))
        return self.tell(propagate)

    wait = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> Any:  # noqa: ASYNC109 - as in get()
        """Return the value, or raise (or return) the exception of the run."""
        return self.get(timeout, propagate)

    def revoke(self, *_celery: Any, **_options: Any) -> None:
        """Make it the result of a task that was revoked, as Celery does; the run itself is over."""
        self._known = TaskRevokedError("revoked")
        self._record = Record(self.id, states.REVOKED, name=self.name or "")

    def forget(self) -> None:
        """Delete what is stored of the task, if anything is; this object keeps what it knows."""
        if self._app is not None and self._app.store is not None:
            self._app.store.forget([self.id])

    def see(self, record: Record | None) -> None:
        """Nothing that is stored counts more than what came of the run."""

    def __reduce__(self) -> Any:
        return type(self), (self.id, self._known, self.state, self.traceback, self.name)


def result_from_tuple(result: Any, app: HasStore | None = None) -> Any:
    """Return the result, or the group of results, that was written down by `as_tuple`."""
    if isinstance(result, AsyncResult | ResultSet):
        return result
    own, members = result
    task_id, parent = own if isinstance(own, list | tuple) else (own, None)
    before = result_from_tuple(parent, app) if parent else None
    if members is None:
        return AsyncResult(task_id, app, parent=before)
    return GroupResult(task_id, [result_from_tuple(each, app) for each in members], before, app=app)
