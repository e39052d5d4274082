"""Several results as one: `ResultSet`, and `GroupResult`, which has an id.

Looks at the result store for all of its members at once, and waits for whichever ends first. Knows nothing of single
results but what `Leaf` and `Member` say; `celeriac.result` makes them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from celeriac import registry, states
from celeriac.errors import ImproperlyConfigured, TaskTimeout
from celeriac.store import Record
from celeriac.waiting import SLICE, HasStore, ResultBase, assert_will_not_block, store_of

Callback = Callable[..., Any]


class Leaf(Protocol):
    """What a set needs of the result of one task."""

    id: str

    def seen(self) -> Record | None:
        """Return the record that was last seen."""

    def see(self, record: Record | None) -> None:
        """Take note of what is stored now."""

    def ended(self) -> bool:
        """Return whether the end was seen already."""

    def refuse_endless_wait(self, *, inside_task: bool) -> None:
        """Raise if waiting for it here would never end."""

    def worry(self) -> None:
        """Take note that it is waited for and does not end at once."""

    def lineage(self) -> Iterable["Leaf"]:
        """Return it and those that came before it."""

    def tell(self, propagate: bool, callback: Callback | None) -> Any:
        """Raise or return what was seen, and call `callback` with it."""


class Member(Protocol):
    """What a set needs of its members: results, or sets of them."""

    id: Any

    @property
    def app(self) -> HasStore:
        """The app whose result store knows of it."""

    def leaves(self) -> Sequence[Leaf]:
        """Return the single results in it."""

    def awaited(self) -> Sequence[Leaf]:
        """Return the single results in it whose end was not seen, and will come."""

    def get(self, *, propagate: bool, disable_sync_subtasks: bool, follow_parents: bool) -> Any:
        """Return its value, or its values."""

    def as_tuple(self) -> Any:
        """Return it as plain values."""


class ResultSet(ResultBase):
    """A collection of results, in order. Each method looks at the store for all of them at once."""

    id: Any = None
    parent: Any = None

    def __init__(self, results: Iterable[Any], app: HasStore | None = None, **_celery: Any) -> None:
        self._results: list[Any] = list(results)
        self._app = app
        self._then: list[tuple[Callback, Callback | None]] = []

    @property
    def app(self) -> HasStore:
        """The app whose result store knows of the members: the given one, that of the first, or the current one."""
        if self._app is None:
            known = (result.app for result in self.results if result.app is not None)
            self._app = next(known, None) or registry.current_app()
        app: HasStore = self._app
        return app

    @property
    def results(self) -> list[Any]:
        """The members."""
        return self._results

    children = results

    # -- members

    def add(self, result: Any) -> None:
        """Add a result, unless it is a member already."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Remove a result, or the one with an id; raises KeyError if it is no member."""
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Remove a result if it is a member."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add all results that are no members yet."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Remove all results."""
        self.results.clear()

    # -- how they are

    def leaves(self) -> list[Leaf]:
        """Return the single results, also of the sets among the members."""
        return [leaf for member in self.results for leaf in member.leaves()]

    def awaited(self) -> list[Leaf]:
        """Return the single results whose end was not seen, and will come."""
        return [leaf for member in self.results for leaf in member.awaited()]

    def _look(self) -> list[Leaf]:
        """Ask the store for what is not known to have ended; return the single results."""
        leaves = self.leaves()
        unknown = [leaf for leaf in leaves if not leaf.ended()]
        if unknown:
            found = store_of(self.app).fetch(list({leaf.id: None for leaf in unknown}))
            for leaf in unknown:
                leaf.see(found.get(leaf.id))
        return leaves

    def ready(self) -> bool:
        """Return whether all have ended."""
        ready = all(leaf.ended() for leaf in self._look())
        if ready:
            self._fulfil()
        return ready

    def waiting(self) -> bool:
        """Return whether any has not ended."""
        return not self.ready()

    def successful(self) -> bool:
        """Return whether all have ended in SUCCESS."""
        return all(_state(leaf) == states.SUCCESS for leaf in self._look())

    def failed(self) -> bool:
        """Return whether any has ended in FAILURE."""
        return any(_state(leaf) == states.FAILURE for leaf in self._look())

    def completed_count(self) -> int:
        """Return how many members have ended in SUCCESS."""
        self._look()
        return sum(all(_state(leaf) == states.SUCCESS for leaf in member.leaves()) for member in self.results)

    def maybe_throw(self, callback: Callback | None = None, propagate: bool = True) -> None:
        """Raise the exception of the first member that has failed; call `callback(id, value)` for those before it."""
        for leaf in self._look():
            leaf.tell(propagate, callback)

    maybe_reraise = maybe_throw

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: Callback | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callback | None = None,
        **_celery: Any,
    ) -> list[Any]:
        """Wait for all and return their values in order.

        The exception of a failed task is raised as soon as it is seen, or stands in the list with `propagate=False`.
        `callback(id, value)` is called for each as it ends; then the list is empty. `on_interval()` is called every
        `interval` seconds (0.5). Raises as `AsyncResult.get` does.
        """
        if disable_sync_subtasks:
            assert_will_not_block("A set of results")
        if on_message is not None:
            raise ImproperlyConfigured(
                "on_message is for single results. Use callback: it is called for each."
            )
        values: dict[int, Any] = {}
        for member in self._as_they_end(timeout, interval or SLICE, on_interval):
            value = member.get(propagate=propagate, disable_sync_subtasks=False, follow_parents=False)
            if callback is None:
                values[id(member)] = value
            else:
                callback(member.id, value)
        self._fulfil()
        return [] if callback else [values[id(member)] for member in self.results]

    join = get
    join_native = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> list[Any]:  # noqa: ASYNC109 - as in get()
        """`get` for coroutines: the store is waited for on another thread."""
        import asyncio  # noqa: PLC0415 - slow to import, and whoever awaits has it already

        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            # In slices, so that the thread of a wait that was cancelled ends soon.
            left = SLICE if deadline is None else min(SLICE, max(0.0, deadline - time.monotonic()))
            try:
                return await asyncio.to_thread(self.get, left, propagate)
            except TaskTimeout:
                over = deadline is not None and time.monotonic() >= deadline
                if not self.awaited():
                    raise  # it is what a task has raised
                if over:
                    raise self._too_late(timeout) from None

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float | None = None,
        no_ack: bool = True,
        on_message: Callback | None = None,
        on_interval: Callback | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (id, what is stored of it) of each member as it ends; of a group among them (id, its members)."""
        for member in self._as_they_end(timeout, interval or SLICE, on_interval):
            yield member.id, member.results if isinstance(member, ResultSet) else member.meta()

    def _as_they_end(
        self, timeout: float | None, interval: float, on_interval: Callback | None
    ) -> Iterator[Any]:
        """Yield each member once all of it has ended; raises TaskTimeout after `timeout` seconds."""
        left: dict[int, int] = {}
        awaited: dict[str, list[tuple[Leaf, Any]]] = {}
        done = []
        for member in self.results:
            leaves = member.awaited()
            for leaf in leaves:
                leaf.refuse_endless_wait(inside_task=True)
                awaited.setdefault(leaf.id, []).append((leaf, member))
            left[id(member)] = len(leaves)
            if not leaves:
                done.append(member)
        yield from done
        for found in self._ends(awaited, timeout, interval, on_interval):
            for task_id in [task_id for task_id in awaited if task_id in found]:
                for leaf, member in awaited.pop(task_id):
                    leaf.see(found[task_id])
                    left[id(member)] -= 1
                    if not left[id(member)]:
                        yield member

    def _ends(
        self,
        awaited: Mapping[str, Sequence[tuple[Leaf, Any]]],
        timeout: float | None,
        interval: float,
        on_interval: Callback | None,
    ) -> Iterator[dict[str, Record]]:
        """Yield final records of what is awaited, from which the caller removes what it was given, until all are."""
        deadline = None if timeout is None else time.monotonic() + timeout
        worried = False
        while awaited:
            # What ends soon is nobody's worry.
            wait = interval if on_interval is not None else None if worried else SLICE
            if deadline is not None:
                left = max(0.0, deadline - time.monotonic())
                wait = left if wait is None else min(wait, left)
            found = store_of(self.app).wait_any(awaited, wait)
            if found:
                yield found
                continue
            if deadline is not None and time.monotonic() >= deadline:
                raise self._too_late(timeout)
            if on_interval is not None:
                on_interval()
            if not worried:
                worried = True
                next(iter(awaited.values()))[0][0].worry()

    def _too_late(self, timeout: float | None) -> TaskTimeout:
        awaited = self.awaited()
        count = len({leaf.id for leaf in awaited})
        return TaskTimeout(
            f"{count} of {len(self.leaves())} tasks have not ended within {timeout or 0:g} s, "
            f"{awaited[0].id} is the first. They go on."
        )

    def then(self, callback: Callback, on_error: Callback | None = None, weak: bool = False) -> None:
        """Have `callback(set)` called when this object has seen that all have ended; at once if it has already.

        If one of them has failed, `on_error(exception)` is called as well.
        """
        self._then.append((callback, on_error))
        if not any(not leaf.ended() for leaf in self.leaves()):
            self._fulfil()

    def _fulfil(self) -> None:
        waiting, self._then = self._then, []
        for callback, on_error in waiting:
            callback(self)
            failed = (leaf for leaf in self.leaves() if _state(leaf) in states.PROPAGATE_STATES)
            if on_error is not None and (first := next(failed, None)) is not None:
                on_error(first.tell(False, None))

    def forget(self) -> None:
        """Delete what is stored of all."""
        gone = {each.id: each for leaf in self.leaves() for each in leaf.lineage()}
        store_of(self.app).forget(list(gone))
        for leaf in self.leaves():
            leaf.see(None)

    # -- as a sequence

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultSet) and other.results == self.results

    __hash__: Any = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result.id) for result in self.results)}]>"


class GroupResult(ResultSet):
    """The results of a group of tasks, with the group's id. Equal to another with the same id and members."""

    def __init__(
        self, id: str | None = None, results: Iterable[Any] = (), parent: Any = None, **options: Any
    ) -> None:
        self.id = id
        self.parent = parent
        super().__init__(results, **options)

    def as_tuple(self) -> Any:
        """Return the group as plain values, from which `result_from_tuple` makes it again."""
        return (self.id, self.parent and self.parent.as_tuple()), [each.as_tuple() for each in self.results]

    def as_list(self) -> list[str]:
        """Return the ids of the members, and of what came before."""
        return [*(leaf.id for leaf in self.leaves()), *(self.parent.as_list() if self.parent else ())]

    __json__ = as_tuple

    def __reduce__(self) -> Any:
        return type(self), (self.id, self.results, self.parent)

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return bool(other == self.id)
        if not isinstance(other, GroupResult):
            return False
        same: bool = other.id == self.id and other.results == self.results and other.parent == self.parent
        return same

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(str(result.id) for result in self.results)}]>"


def _state(leaf: Leaf) -> str:
    record = leaf.seen()
    return states.PENDING if record is None else record.state
