"""Results, sets of them, and groups: Celery 5.7 and we must agree, but for DIFFERENCES."""

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import celery
import celery.result
import pytest

import celeriac
import celeriac.result
from celeriac.context import Request, current
from celeriac.errors import ImproperlyConfigured, TaskTimeout, WaitInTask, WaitInTransaction
from celeriac.failure import failure_json
from celeriac.message.message import Headers, Message, Properties
from celeriac.store import Record
from tests.unit.running import PATIENCE

#: What differs, and why.
DIFFERENCES = {
    "callback of a second get()": "called again; Celery calls it only if propagate is on",
    "then of a failed task": "on_error is called with the exception; Celery's never is",
    "children of what was stored by hand": "[], where Celery has None: nothing is known to have been sent",
    "join of a task that fails late": "the first failure that is seen is raised, not the first in order",
    "callback of join": "the list is empty; Celery's get() returns None on Redis and [] on a database",
    "on_interval": "called again and again; Celery's is called once",
    "on_message": "called on every store, not on Redis only",
}


class World:
    """One of the two libraries with a result store, into which results are put by hand."""

    def __init__(self, ours: bool) -> None:
        self.ours = ours
        self.result: Any = celeriac.result if ours else celery.result
        if ours:
            url = f"memory://{uuid4().hex}"
            self.app: Any = celeriac.Celeriac("results", broker=url, backend=url)
        else:
            self.app = celery.Celery("results", broker="memory://", backend="cache+memory://")

    def __repr__(self) -> str:
        return "ours" if self.ours else "theirs"

    def done(self, task_id: str, value: Any = None) -> None:
        if self.ours:
            self.app.store.store([Record(task_id, "SUCCESS", json.dumps(value).encode(), finished=1.0)])
        else:
            self.app.backend.mark_as_done(task_id, value)

    def failed(self, task_id: str, error: Exception) -> None:
        if self.ours:
            self.app.store.store([Record(task_id, "FAILURE", failure_json(error), "tb", finished=1.0)])
        else:
            self.app.backend.mark_as_failure(task_id, error, traceback="tb")

    def progress(self, task_id: str, meta: Any) -> None:
        if self.ours:
            self.app.store.store([Record(task_id, "PROGRESS", json.dumps(meta).encode())])
        else:
            self.app.backend.store_result(task_id, meta, "PROGRESS")

    def one(self, task_id: str, **options: Any) -> Any:
        return self.result.AsyncResult(task_id, app=self.app, **options)

    def several(self, *ids: str) -> Any:
        return self.result.ResultSet([self.one(task_id) for task_id in ids], app=self.app)

    def group(self, group_id: str | None, *results: Any, **options: Any) -> Any:
        return self.result.GroupResult(group_id, list(results), app=self.app, **options)


@pytest.fixture
def worlds() -> Iterator[tuple[World, World]]:
    made = World(False), World(True)
    for world in made:
        world.done("good", 5)
        world.done("fine", [1, {"a": None}])
        world.failed("bad", ValueError("no"))
    yield made
    for world in made:
        world.app.close()


@pytest.fixture
def ours(worlds: tuple[World, World]) -> World:
    return worlds[1]


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returned, or the kind of what it raised."""
    try:
        return plain(call())
    except Exception as error:
        return "raised", kind(error), str(error) if isinstance(error, ValueError) else ""


def kind(error: BaseException) -> str:
    for known in (TimeoutError, RuntimeError):
        if isinstance(error, known):
            return known.__name__
    return type(error).__name__


def plain(value: Any) -> Any:
    if isinstance(value, BaseException):
        return kind(value), value.args
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if type(value).__name__ in ("AsyncResult", "EagerResult", "GroupResult", "ResultSet"):
        return repr(value)
    return value


def agree(worlds: tuple[World, World], ask: Callable[[World], Any]) -> Any:
    theirs, ours = (outcome(lambda world=world: ask(world)) for world in worlds)  # type: ignore[misc]
    assert ours == theirs
    return ours


SINGLE: list[Callable[[Any], Any]] = [
    lambda r: (r.id, r.task_id, str(r), repr(r), hash(r) == hash(r.id)),
    lambda r: (r == r.id, r == "other", r == 1, r == copy.copy(r)),
    lambda r: (r.state, r.status, r.result, r.info, r.traceback, r.parent),
    lambda r: (r.ready(), r.successful(), r.failed(), r.exists(), r.ignored),
    lambda r: r.get(timeout=0),
    lambda r: r.get(timeout=0, propagate=False),
    lambda r: r.wait(timeout=0),
    lambda r: r.maybe_throw(),
    lambda r: r.maybe_throw(propagate=False),
    lambda r: r.maybe_reraise(),
    lambda r: r.as_tuple(),
    lambda r: r.as_list(),
    lambda r: list(r.iterdeps(intermediate=True)),
    lambda r: list(r.iterdeps()),
    lambda r: list(r.collect(timeout=0)),
    lambda r: list(r.collect(timeout=0, propagate=False)),
    lambda r: list(r.graph),
    lambda r: list(r.build_graph(intermediate=True)),
    lambda r: (r.forget(), r.state),
    lambda r: (r.name, r.args, r.kwargs, r.worker, r.queue),
]


@pytest.mark.parametrize("task_id", ["good", "fine", "bad", "unknown"])
@pytest.mark.parametrize("question", range(len(SINGLE)))
def test_single_results(worlds: tuple[World, World], task_id: str, question: int) -> None:
    agree(worlds, lambda world: SINGLE[question](world.one(task_id)))


def test_a_result_needs_an_id(worlds: tuple[World, World]) -> None:
    assert agree(worlds, lambda world: outcome(lambda: world.one(None))[:2]) == ["raised", "ValueError"]  # type: ignore[arg-type]


def test_callbacks_of_get(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        seen: list[Any] = []
        note = lambda *what: seen.append(what)  # noqa: E731
        for task_id in ("good", "bad"):
            result, again = world.one(task_id), world.one(task_id)
            seen.append(outcome(lambda r=result: r.get(callback=note, propagate=False)))  # type: ignore[misc]
            seen.append(outcome(lambda r=again: r.get(callback=note)))  # type: ignore[misc]
            outcome(lambda i=task_id: world.one(i).maybe_throw(callback=note))  # type: ignore[misc]
        return seen

    assert agree(worlds, ask)
    told: list[Any] = []
    result = worlds[1].one("good")
    for _ in range(2):
        result.get(propagate=False, callback=lambda *what: told.append(what))
    assert told == [("good", 5)] * 2


def test_then(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        told: list[Any] = []
        result = world.one("good")
        result.then(lambda r: told.append(("before", str(r))))
        told.append("not yet")
        result.get()
        result.then(lambda r: told.append(("after", str(r))))
        result.get()
        failed = world.one("bad")
        failed.then(lambda r: told.append(("failed", str(r))))
        outcome(failed.get)
        late = world.one("late")
        late.then(lambda r: told.append(r.result))
        told.append(late.ready())
        world.done("late", 7)
        told.append(late.ready())
        return told

    assert agree(worlds, ask)


def test_then_of_a_failed_task(ours: World) -> None:
    told: list[Any] = []
    ours.one("bad").then(told.append, told.append)
    result = ours.one("bad")
    result.then(lambda r: told.append(r.id), told.append)
    assert result.failed()
    assert [plain(each) for each in told] == ["bad", ("ValueError", ("no",))]


def test_on_interval(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        result = world.one("pending")
        over = outcome(lambda: result.get(timeout=0.1, interval=0.05, on_interval=lambda: None))
        return over, outcome(lambda: result.get(timeout=PATIENCE, interval=0.05, on_interval=enough))

    def enough() -> None:
        raise ValueError("called")

    assert agree(worlds, ask) == [["raised", "TimeoutError", ""], ["raised", "ValueError", "called"]]


def test_on_message(ours: World) -> None:
    seen: list[Any] = []
    ours.progress("goes", {"done": 1})

    def message(meta: dict[str, Any]) -> None:
        seen.append((meta["status"], meta["result"]))
        if meta["status"] == "PROGRESS":
            ours.done("goes", "end")

    assert ours.one("goes").get(timeout=PATIENCE, interval=0.01, on_message=message) == "end"
    assert seen == [("PROGRESS", {"done": 1}), ("SUCCESS", "end")]
    with pytest.raises(ImproperlyConfigured, match="Use callback"):
        ours.several("good").get(on_message=message)


@pytest.mark.parametrize("options", [{}, {"follow_parents": False}, {"propagate": False}])
@pytest.mark.parametrize("parent", ["bad", "good", "pending", None])
def test_parents(worlds: tuple[World, World], options: Any, parent: str | None) -> None:
    def ask(world: World) -> Any:
        first = world.one("first", parent=parent and world.one(parent))
        result = world.one("good", parent=first)
        return outcome(lambda: result.get(timeout=PATIENCE, **options)), result.as_list(), result.as_tuple()

    agree(worlds, ask)


def test_a_parent_that_fails_while_its_child_is_waited_for(ours: World) -> None:
    result = ours.one("never", parent=ours.one("begins"))
    timer = threading.Timer(0.1, ours.failed, ("begins", KeyError("lost")))
    timer.start()
    with pytest.raises(KeyError):
        result.get(timeout=PATIENCE, interval=0.05)
    timer.join()


def test_forget_goes_back_through_parents(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        world.one("good", parent=world.one("bad")).forget()
        return [world.one(each).state for each in ("good", "bad", "fine")]

    assert agree(worlds, ask) == ["PENDING", "PENDING", "SUCCESS"]


def test_from_tuples(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        inner = world.group("inner", world.one("bad"))
        group = world.group("g", world.one("good", parent=world.one("p")), inner, parent=world.one("before"))
        written = json.loads(json.dumps(group.as_tuple()))
        again = world.result.result_from_tuple(written, world.app)
        short = world.result.result_from_tuple(["id", None], world.app)
        return written, again, again == group, again.parent, again[0].parent, again[1], short

    assert agree(worlds, ask)


def test_what_is_pickled(ours: World) -> None:
    result = ours.one("good", parent=ours.one("fine"))
    again = pickle.loads(pickle.dumps(result))
    assert (again.get(timeout=0), again.parent.get(timeout=0)) == (5, [1, {"a": None}])
    group = pickle.loads(pickle.dumps(ours.group("g", result)))
    assert (group.id, group.get(timeout=0)) == ("g", [5])


def test_a_result_as_a_value(ours: World) -> None:
    """A task that returns what it has sent: what is stored are the ids, as with Celery."""

    @ours.app.task(name="returns")
    def returns() -> Any:
        return ours.one("good", parent=ours.one("p"))

    assert returns.apply().get() == [["good", [["p", None], None]], None]


def limit(results: Any) -> float:
    """How long a set is waited for: what never comes is not, what is there may take its time on a busy machine."""
    return 0.2 if any(result.id == "pending" for result in results) else PATIENCE


SETS: list[Callable[[Any], Any]] = [
    lambda s: (s.ready(), s.waiting(), s.successful(), s.failed(), s.completed_count()),
    lambda s: (len(s), list(s), [r.id for r in s.results], repr(s), bool(s)),
    lambda s: s.get(timeout=limit(s)),
    lambda s: s.join(timeout=limit(s)),
    lambda s: s.join(timeout=0, propagate=False),
    lambda s: s.join_native(timeout=limit(s), propagate=False),
    lambda s: s.maybe_throw(),
    lambda s: s.maybe_throw(propagate=False),
    lambda s: s[0],
    lambda s: (s.forget(), s.ready(), [r.state for r in s]),
    lambda s: (s.remove("good"), list(s)),
    lambda s: (s.discard("good"), s.discard("good"), list(s)),
    lambda s: s.remove("other") if len(s) else None,
    lambda s: (s.add(s[0]), list(s)),
    lambda s: (s.update([s[0], s[0]]), list(s)),
    lambda s: (s.clear(), list(s), s.get(), s.ready(), s.successful(), s.failed(), s.waiting()),
    lambda s: sorted(task_id for task_id, _ in s.iter_native(timeout=limit(s))),
]


@pytest.mark.parametrize(
    "ids",
    [
        ("good",),
        ("good", "fine"),
        ("fine", "good"),
        ("bad", "good"),
        ("good", "bad"),
        ("good", "pending"),
        (),
    ],
    ids="+".join,
)
@pytest.mark.parametrize("question", range(len(SETS)))
def test_sets(worlds: tuple[World, World], ids: tuple[str, ...], question: int) -> None:
    if not ids and question == 13:
        pytest.skip("nothing to add again")
    agree(worlds, lambda world: SETS[question](world.several(*ids)))


def test_sets_change(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        results = world.several("good", "bad")
        results.add(world.one("fine"))
        results.add(world.one("bad"))
        results.update([world.one("good"), world.one("more")])
        results.remove(world.one("bad"))
        same = (
            results == world.several("good", "fine", "more"),
            results == world.several("good"),
            results == 5,
        )
        return list(results), same, outcome(lambda: results.remove("gone"))

    agree(worlds, ask)


def test_callbacks_of_join(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        seen: list[Any] = []
        world.several("good", "bad", "fine").join(
            propagate=False, callback=lambda task_id, value: seen.append((task_id, plain(value)))
        )
        world.several("good", "fine").maybe_throw(callback=lambda *what: seen.append(what))
        return sorted(seen, key=repr)

    assert agree(worlds, ask)
    seen: list[Any] = []
    assert worlds[1].several("good", "fine").get(callback=lambda *what: seen.append(what)) == []
    assert seen == [("good", 5), ("fine", [1, {"a": None}])]


def test_iter_native_tells_what_is_stored(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        told = dict(world.several("good", "bad").iter_native())
        return [
            (task_id, [plain(meta[name]) for name in ("task_id", "status", "result", "traceback")])
            for task_id, meta in sorted(told.items())
        ]

    assert agree(worlds, ask)


def test_groups(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        group = world.group("g", world.one("good"), world.one("fine"), parent=world.one("bad"))
        other = world.group("g", world.one("good"))
        return (
            (group.id, str(group), repr(group), group.children, group.parent, hash(group) == hash("g")),
            (
                group == "g",
                group == other,
                group == world.group("g", *group, parent=group.parent),
                group == 1,
            ),
            (bool(world.group(None)), bool(other), bool(world.group("x")), len(group), list(group)),
            (group.as_tuple(), group.get(), group.join(), group.ready(), group.successful()),
        )

    agree(worlds, ask)


def test_made_by_the_app(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        results = [world.one("good")]
        return (
            world.app.ResultSet(results).get(), world.app.ResultSet([]).get(),
            world.app.GroupResult("g", results, parent=world.one("bad")).as_tuple(),
        )  # fmt: skip

    agree(worlds, ask)


def test_groups_in_groups(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        inner = world.group("inner", world.one("fine"), world.one("bad"))
        group = world.group("g", world.one("good"), inner)
        return (
            group.get(propagate=False), group.join(propagate=False), outcome(group.get), group.ready(),
            group.successful(), group.failed(), group.completed_count(), outcome(group.maybe_throw),
            dict(group.iter_native())["inner"],
        )  # fmt: skip

    assert agree(worlds, ask)


def test_then_of_a_set(ours: World) -> None:
    told: list[Any] = []
    results = ours.several("good", "pending")
    results.then(lambda s: told.append(len(s)), lambda error: told.append(plain(error)))
    assert not results.ready() and told == []
    ours.failed("pending", ValueError("late"))
    with pytest.raises(ValueError, match="late"):
        results.get()
    assert results.ready()
    assert told == [2, ("ValueError", ("late",))]
    ours.several("good").then(told.append)
    assert len(told) == 2  # nobody has looked yet


class Counted:
    """The result store of an app, counting what it is asked."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        def call(*arguments: Any) -> Any:
            self.asked.append(name)
            return method(*arguments)

        return call


class Borrowed:
    """An app with another store."""

    def __init__(self, app: Any) -> None:
        self.conf, self.store = app.conf, Counted(app.store)

    def awaited(self, task_id: str, queue: str | None) -> None: ...


def test_a_thousand_are_looked_at_at_once(ours: World) -> None:
    for number in range(1000):
        ours.done(str(number), number)
    app = Borrowed(ours.app)
    results = celeriac.result.ResultSet(
        [celeriac.AsyncResult(str(number), app) for number in range(1000)], app
    )
    assert results.ready() and results.completed_count() == 1000 and not results.failed()
    assert app.store.asked == ["fetch"]
    fresh = celeriac.result.ResultSet([celeriac.AsyncResult(str(number), app) for number in range(1000)])
    app.store.asked.clear()
    assert fresh.get() == list(range(1000))
    fresh.maybe_throw()
    assert app.store.asked == ["wait_any"]
    fresh.forget()
    assert app.store.asked == ["wait_any", "forget"]
    assert ours.several("1", "999").completed_count() == 0


def test_a_late_failure_is_raised_when_it_is_seen(ours: World) -> None:
    results = ours.several("never", "late")
    timer = threading.Timer(0.1, ours.failed, ("late", KeyError("now")))
    timer.start()
    with pytest.raises(KeyError):
        results.get(timeout=PATIENCE)
    timer.join()


def test_a_set_that_takes_too_long(ours: World) -> None:
    with pytest.raises(TaskTimeout, match=r"2 of 3 tasks have not ended within 0\.05 s, one is the first"):
        ours.several("good", "one", "two").get(timeout=0.05)
    calls: list[int] = []

    def count() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise LookupError("enough")

    with pytest.raises(LookupError):
        ours.several("one").get(timeout=PATIENCE, interval=0.01, on_interval=count)


def test_results_that_come_while_they_are_waited_for(ours: World) -> None:
    results = ours.several(*map(str, range(50)))

    def store() -> None:
        for number in reversed(range(50)):
            ours.done(str(number), number)

    timer = threading.Timer(0.05, store)
    timer.start()
    assert results.get(timeout=PATIENCE) == list(range(50))
    timer.join()


def test_one_task_twice_in_a_set(ours: World) -> None:
    same = ours.one("good")
    assert celeriac.result.ResultSet([same, ours.one("good"), same]).get() == [5, 5, 5]


def test_what_is_not_waited_for(ours: World) -> None:
    ignored = celeriac.AsyncResult("quiet", ours.app, ignored=True)
    assert celeriac.result.ResultSet([ignored, ours.one("good")]).get(timeout=PATIENCE) == [None, 5]
    unsent = celeriac.AsyncResult("unsent", ours.app, unpublished=lambda: True)
    with pytest.raises(WaitInTransaction):
        celeriac.result.ResultSet([ours.one("good"), unsent]).get()


def test_waiting_inside_a_task(ours: World) -> None:
    token = current.set(Request(Message(Headers("t", "1"), Properties(), b""), "", ""))
    try:
        with pytest.raises(WaitInTask, match="A set of results"):
            ours.several("good").get()
        assert ours.several("good").get(disable_sync_subtasks=False) == [5]
        with celeriac.result.allow_join_result():
            assert ours.several("good").join() == [5]
    finally:
        current.reset(token)


def test_denied_join_result(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        with world.result.denied_join_result():
            told = outcome(world.one("good").get)[:2], outcome(world.several("good").join)[:2]
            with world.result.allow_join_result():
                told += (world.one("good").get(),)
        return *told, world.one("good").get(), outcome(world.result.assert_will_not_block)

    agree(worlds, ask)


def test_coroutines_wait_for_sets(ours: World) -> None:
    async def main() -> Any:
        results = ours.several("good", "later")
        with pytest.raises(TaskTimeout, match="1 of 2 tasks"):
            await results.aget(timeout=0.01)
        timer = threading.Timer(0.1, ours.done, ("later", 6))
        timer.start()
        values = await results.aget(timeout=PATIENCE)
        timer.join()
        with pytest.raises(ValueError):
            await ours.several("good", "bad").aget()
        return values, await ours.several("bad").aget(propagate=False)

    values, errors = asyncio.run(main())
    assert values == [5, 6] and [plain(error) for error in errors] == [("ValueError", ("no",))]


EAGER: list[Callable[[Any], Any]] = [
    lambda r: (r.id, str(r), repr(r), r.state, r.status, r.result, r.info, r.traceback, r.name),
    lambda r: (r.ready(), r.successful(), r.failed(), r.children, r.parent, r.as_tuple(), r.as_list()),
    lambda r: r.get(),
    lambda r: r.get(timeout=1, propagate=False),
    lambda r: r.wait(),
    lambda r: r.maybe_throw(),
    lambda r: (r.forget(), r.state),
    lambda r: (r.revoke(terminate=True), r.state, r.get(propagate=False), r.traceback),
    lambda r: [str(r) for r in (copy.copy(r), pickle.loads(pickle.dumps(r)))],
    lambda r: list(r.graph),
]


@pytest.mark.parametrize("given", [("e", 4, "SUCCESS"), ("e", KeyError("k"), "FAILURE", "tb", "shop.add")])
@pytest.mark.parametrize("question", range(len(EAGER)))
def test_eager_results(worlds: tuple[World, World], given: tuple[Any, ...], question: int) -> None:
    agree(worlds, lambda world: EAGER[question](world.result.EagerResult(*given)))


def test_eager_results_in_sets(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        results = [world.result.EagerResult("e", 4, "SUCCESS"), world.one("good")]
        told: list[Any] = []
        results[0].then(lambda r: told.append(r.get()))
        return world.result.ResultSet(results, app=world.app).join(), told

    assert agree(worlds, ask) == [[4, 5], [4]]


def test_all_of_celerys_names_are_there() -> None:
    names = {name for name in vars(celery.result) if name[0].islower() or name in celery.result.__all__}
    taken = {"promise", "barrier", "proxy", "deque", "isoparse", "states", "current_app", "app_or_default"}
    taken |= {
        "cached_property",
        "contextmanager",
        "task_join_will_block",
        "datetime",
        "time",
        "types",
        "tblib",
    }
    assert [name for name in sorted(names - taken) if not hasattr(celeriac.result, name)] == []
