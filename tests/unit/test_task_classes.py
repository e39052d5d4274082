"""Task classes, annotations, and options that change how a task is sent: Celery 5.7 and we must agree."""

import asyncio
import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import celery
import celery.signals
import pytest

import celeriac
import celeriac.signals
from celeriac.errors import CallError, ImproperlyConfigured, UnknownOption, WrongOption

# Celery's word on attributes, which ours are not told of.
pytestmark = [
    pytest.mark.filterwarnings("ignore:(?s).*task attribute is deprecated"),
    pytest.mark.filterwarnings("ignore:Results are not stored in backend"),
]


class World:
    """One of the two libraries, and what was published."""

    def __init__(self, ours: bool, **settings: Any) -> None:
        self.ours = ours
        self.published: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.signal = (celeriac if ours else celery).signals.before_task_publish
        self.signal.connect(self._note, weak=False)
        if ours:
            self.app: Any = celeriac.Celeriac(
                "classes", broker=f"memory://{uuid4().hex}", backend=f"memory://{uuid4().hex}", **settings
            )
        else:
            self.app = celery.Celery(
                "classes", broker="memory://", backend="cache+memory://", set_as_current=False,
                **({"task_cls": settings.pop("task_cls")} if "task_cls" in settings else {}),
            )  # fmt: skip
            self.app.conf.update(settings)

    def _note(self, headers: Any = None, properties: Any = None, **_: Any) -> None:
        self.published.append((headers, properties))

    def task(self, function: Any, **options: Any) -> Any:
        # Celery's would otherwise be added to every app that is made later in this process.
        made = self.app.task(**options, **({} if self.ours else {"shared": False}))(function)
        return self.app.tasks[made.name]

    def close(self) -> None:
        self.signal.disconnect(self._note)
        self.app.close()


@pytest.fixture
def worlds() -> Iterator[Any]:
    made: list[World] = []

    def make(**settings: Any) -> list[World]:
        made.extend([World(False, **settings), World(True, **settings)])
        return made

    yield make
    for world in made:
        world.close()


def agree(worlds: list[World], ask: Any) -> Any:
    theirs, ours = (ask(world) for world in worlds)
    assert ours == theirs
    return ours


def add(x: int = 0, y: int = 0) -> int:
    return x + y


class ByObject:
    def annotate(self, task: Any) -> Any:
        return {"max_retries": 21} if task.name == "a" else None

    def annotate_any(self) -> Any:
        return {"default_retry_delay": 22}


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (None, (3, 180)),
        ({"a": {"max_retries": 9}}, (9, 180)),
        ({"b": {"max_retries": 9}}, (3, 180)),
        ({"*": {"max_retries": 9}}, (9, 180)),
        ({"*": {"max_retries": 1, "default_retry_delay": 5}, "a": {"max_retries": 9}}, (1, 5)),
        ([{"a": {"max_retries": 9}}, {"a": {"max_retries": 8}, "*": {"default_retry_delay": 7}}], (9, 7)),
        ([{"b": {}}, {"a": {"max_retries": 8}}], (8, 180)),
        (ByObject(), (21, 22)),
        ([ByObject(), {"a": {"max_retries": 1}}], (21, 22)),
        ("tests.unit.test_task_classes:ByObject", (21, 22)),
    ],
)
def test_annotations(worlds: Any, annotations: Any, expected: tuple[int, int]) -> None:
    def ask(world: World) -> Any:
        task = world.task(add, name="a")
        return task.max_retries, task.default_retry_delay

    assert agree(worlds(task_annotations=annotations), ask) == expected


def test_annotations_count_more_than_the_tasks_own_and_may_be_handlers(worlds: Any) -> None:
    told = []

    def on_failure(self: Any, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        told.append((self.name, repr(exc)))

    def ask(world: World) -> Any:
        def fail() -> None:
            raise ValueError("no")

        task = world.task(fail, name="f", max_retries=1)
        task.apply()
        return task.max_retries

    annotations = {"*": {"max_retries": 4, "on_failure": on_failure}}
    assert agree(worlds(task_annotations=annotations), ask) == 4
    assert told == [("f", "ValueError('no')")] * 2


def around(told: list[Any], word: str) -> Callable[..., Any]:
    """Return what an annotation with an @ is: it is given a method and returns what takes its place."""

    def wrap(method: Any) -> Any:
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            told.append((word, self.name))
            # The function of a task that is not bound is passed as it is.
            return method(*args, **kwargs) if method is add else method(self, *args, **kwargs)

        return wrapped

    return wrap


@pytest.mark.parametrize("method", ["run", "__call__", "apply_async", "on_success", "retry"])
@pytest.mark.parametrize("bound", [False, True])
def test_annotations_around_methods(worlds: Any, method: str, bound: bool) -> None:
    told: list[Any] = []

    def ask(world: World) -> Any:
        told.clear()

        def body(self: Any, x: int, y: int) -> int:
            if self.request.retries == 0:
                raise self.retry(countdown=0)
            return x + y

        task = world.task(body, name="a", bind=True) if bound else world.task(add, name="a")
        eager = [task.apply((1, 2)).get(), task.delay(3, y=4).id != ""]
        return [*eager, *([] if bound else [task(1, 2)]), *told]

    expected = agree(worlds(task_annotations={"a": {f"@{method}": around(told, method)}}), ask)
    assert (method, "a") in expected or (method == "retry" and not bound)


def test_annotations_around_handlers_that_are_options_and_base_classes(worlds: Any) -> None:
    told: list[Any] = []

    def on_success(self: Any, *args: Any) -> None:
        told.append(("own", args[0]))

    def ask(world: World) -> Any:
        class Noted(world.app.Task):  # type: ignore[misc, name-defined]
            abstract = True

            def on_success(self, *args: Any) -> None:
                told.append(("class", args[0]))

        told.clear()
        world.task(add, name="a", on_success=on_success).apply((1, 2))
        world.task(add, name="b", base=Noted).apply((3, 4))
        return list(told)

    expected = [("around", "a"), ("own", 3), ("around", "b"), ("class", 7)]
    assert agree(worlds(task_annotations={"*": {"@on_success": around(told, "around")}}), ask) == expected


def test_of_several_annotations_around_a_method_the_last_counts(worlds: Any) -> None:
    told: list[Any] = []

    def ask(world: World) -> Any:
        told.clear()
        world.task(add, name="a").apply((1, 2))
        return list(told)

    annotations = {"*": {"@run": around(told, "all")}, "a": {"@run": around(told, "one")}}
    assert agree(worlds(task_annotations=annotations), ask) == [("all", "a")]


def test_an_annotation_around_run_keeps_automatic_retries(worlds: Any) -> None:
    told: list[Any] = []

    def ask(world: World) -> Any:
        def fail(self: Any) -> None:
            raise ValueError("no")

        told.clear()
        again = {"autoretry_for": (ValueError,), "retry_kwargs": {"max_retries": 2, "countdown": 0}}
        task = world.task(fail, name="f", bind=True, **again)
        return task.apply().state, list(told)

    assert agree(worlds(task_annotations={"f": {"@run": around(told, "f")}}), ask) == (
        "FAILURE",
        [("f", "f")] * 3,
    )


def test_an_annotation_around_run_keeps_decorators_of_the_project(worlds: Any) -> None:
    """Which Celery takes for an annotation that came before, and leaves out."""
    called = []

    @functools.wraps(add)
    def decorated(x: int, y: int) -> int:
        called.append(x)
        return add(x, y)

    def call(method: Any) -> Any:
        return lambda self, *args: method(*args)

    for world in worlds(task_annotations={"*": {"@run": call}}):
        assert world.task(decorated, name="a").apply((1, 2)).get() == 3
        assert called == ([1] if world.ours else [])


def test_a_coroutine_task_may_be_annotated_too(worlds: Any) -> None:
    _, ours = worlds(task_annotations={"*": {"@run": lambda method: lambda self, x: method(x + 1)}})

    async def double(x: int) -> int:
        return 2 * x

    assert ours.task(double, name="d").apply((1,)).get() == 4


def test_a_base_class_around_each_call(worlds: Any) -> None:
    def ask(world: World) -> Any:
        told = []

        class Watched(world.app.Task):  # type: ignore[misc, name-defined]
            abstract = True

            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                told.append(self.name)
                return super().__call__(*args, **kwargs) + 1

        task = world.task(add, name="a", base=Watched)
        return task.apply((1, 2)).get(), task(3, 4), told

    assert agree(worlds(), ask) == (4, 8, ["a", "a"])


def test_annotations_of_what_is_sent_first(worlds: Any) -> None:
    """Settings are read when a task is first sent, not where it is decorated."""
    _, ours = worlds(task_annotations={"a": {"queue": "noted", "typing": False}})
    task = ours.app.task(name="a")(add)
    task.delay(1, 2, 3)
    assert list(ours.app.broker.depths()) == ["noted"]


@pytest.mark.parametrize(
    ("annotations", "error", "text"),
    [
        ({"a": {"max_retires": 1}}, UnknownOption, "Did you mean 'max_retries'"),
        ({"a": {"name": "b"}}, UnknownOption, "has no option 'name'"),
        ({"a": {"@nothing": print}}, UnknownOption, "'@nothing', which is no method of a task"),
        (5, ImproperlyConfigured, "5 is neither"),
        ("no.such", ImproperlyConfigured, "task_annotations names 'no.such', which cannot be imported"),
    ],
)
def test_what_annotates_nothing(worlds: Any, annotations: Any, error: type[Exception], text: str) -> None:
    _, ours = worlds(task_annotations=annotations)
    with pytest.raises(error, match=text):
        ours.task(add, name="a")


def test_annotated_options_without_effect_are_told_like_others(worlds: Any) -> None:
    _, ours = worlds(task_annotations={"a": {"rate_limit": "1/s"}})
    assert ours.task(add, name="a", resultrepr_maxsize=5).ignored_options == (
        "rate_limit",
        "resultrepr_maxsize",
    )


def test_a_class_for_all_tasks(worlds: Any) -> None:
    def ask(world: World) -> Any:
        class Own(world.app.Task):  # type: ignore[misc, name-defined]
            abstract = True
            max_retries = 77

        world.app.Task = Own
        task = world.task(add, name="a")
        return isinstance(task, Own), task.max_retries, world.task(add, name="b", max_retries=2).max_retries

    assert agree(worlds(), ask) == (True, 77, 2)


class Theirs(celery.Task):  # type: ignore[misc]
    abstract = True
    priority = 7


class Ours(celeriac.Task):
    priority = 7


@pytest.mark.parametrize("dotted", [False, True])
def test_task_cls(dotted: bool) -> None:
    path = "tests.unit.test_task_classes:"
    theirs = World(False, task_cls=path + "Theirs" if dotted else Theirs)
    ours = World(True, task_cls=path + "Ours" if dotted else Ours)
    assert agree([theirs, ours], lambda world: world.task(add, name="a").priority) == 7
    shared = celeriac.shared_task(name="shared.of.classes")(add)
    assert isinstance(shared, Ours)
    celeriac.registry.shared_tasks.pop("shared.of.classes")
    theirs.close()
    ours.close()


def test_on_bound_is_called_once_with_the_app(worlds: Any) -> None:
    def ask(world: World) -> Any:
        seen = []

        class Bound(world.app.Task):  # type: ignore[misc, name-defined]
            abstract = True

            @classmethod
            def on_bound(cls, app: Any) -> None:
                seen.append(app is world.app)

        task = world.task(add, name="a", base=Bound)
        task.apply()
        assert world.app.tasks["a"] is not None
        return seen

    theirs, ours = worlds()
    assert set(ask(theirs)) == {True}  # Celery calls it again for what its decorator makes anew
    assert ask(ours) == [True]


def test_a_base_class_overrides_apply_async(worlds: Any) -> None:
    def ask(world: World) -> Any:
        class Tenant(world.app.Task):  # type: ignore[misc, name-defined]
            abstract = True

            def apply_async(
                self, args: Any = None, kwargs: Any = None, task_id: Any = None, producer: Any = None,
                link: Any = None, link_error: Any = None, shadow: Any = None, **options: Any,
            ) -> Any:  # fmt: skip
                headers = {"tenant": "t1", **(options.pop("headers", None) or {})}
                return super().apply_async(
                    args, kwargs, task_id=task_id, producer=producer, link=link, link_error=link_error,
                    shadow=shadow, headers=headers, **options,
                )  # fmt: skip

        task = world.task(add, name="a", base=Tenant)
        task.delay(1, y=2)
        task.apply_async((1, 2), headers={"more": 1})
        task.s(1, 2).delay()
        return [(headers["tenant"], headers.get("more")) for headers, _ in world.published]

    _, ours = both = worlds()
    assert agree(both, ask) == [("t1", None), ("t1", 1), ("t1", None)]
    task = ours.app.tasks["a"]
    ours.app.send_many([task.s(1, 2), (task, (3, 4))])
    task.delay_on_commit(5, 6)
    assert [headers["tenant"] for headers, _ in ours.published] == ["t1"] * 6
    with pytest.raises(UnknownOption, match="chord"):
        task.apply_async((1, 2), chord=task.s())


def test_the_id_may_come_third(worlds: Any) -> None:
    def ask(world: World) -> Any:
        task = world.task(add, name="a")
        results = [task.apply_async((1, 2), {}, "own"), task.apply_async([1], None, task_id="other")]
        return [each.id for each in results], [headers["id"] for headers, _ in world.published]

    _, ours = both = worlds()
    assert agree(both, ask) == (["own", "other"], ["own", "other"])
    task = ours.app.tasks["a"]
    assert task.apply_async_on_commit((1, 2), None, "late").id == "late"
    assert asyncio.run(task.aapply_async((1, 2), None, "async")).id == "async"


def test_shadow_name(worlds: Any) -> None:
    def shadow_name(self: Any, args: Any, kwargs: Any, options: Any) -> str | None:
        return f"{self.name} of {args[0]} on {options.get('queue')}" if args else None

    def ask(world: World) -> Any:
        task = world.task(add, name="a", shadow_name=shadow_name)
        task.delay(1)
        task.delay()
        task.apply_async((2,), queue="q")
        task.apply_async((3,), shadow="said")

        class Own(world.app.Task):  # type: ignore[misc, name-defined]
            abstract = True

            def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
                return "by class"

        world.task(add, name="b", base=Own).delay()
        return [headers["shadow"] for headers, _ in world.published]

    assert agree(worlds(), ask) == ["a of 1 on None", None, "a of 2 on q", "said", "by class"]


@pytest.mark.parametrize("setting", [False, True])
@pytest.mark.parametrize("option", [None, False, True])
@pytest.mark.parametrize("ignored", [False, True])
def test_store_eager_result(worlds: Any, setting: bool, option: bool | None, ignored: bool) -> None:
    options: dict[str, Any] = {} if option is None else {"store_eager_result": option}

    def ask(world: World) -> Any:
        task = world.task(add, name="a", ignore_result=ignored, **options)
        assert task.apply((1, 2)).get() == 3
        stored = task.delay(4, 5)
        assert stored.get() == 9
        return world.app.AsyncResult(stored.id).state

    expected = "SUCCESS" if (setting if option is None else option) and not ignored else "PENDING"
    settings = {"task_store_eager_result": setting, "task_always_eager": True}
    assert agree(worlds(**settings), ask) == expected


@pytest.mark.parametrize(
    ("settings", "options", "own", "parent", "expected"),
    [
        ({}, {}, {}, 6, 0),
        ({"task_inherit_parent_priority": True}, {}, {}, 6, 6),
        ({"task_inherit_parent_priority": True}, {"priority": 2}, {}, 6, 2),
        ({"task_inherit_parent_priority": True}, {}, {"priority": 3}, 6, 3),
        ({"task_inherit_parent_priority": True, "task_routes": {"b": {"priority": 4}}}, {}, {}, 6, 4),
    ],
)
def test_the_parents_priority(
    worlds: Any, settings: Any, options: Any, own: Any, parent: int, expected: int
) -> None:
    def ask(world: World) -> Any:
        child = world.task(add, name="b", **own)
        if world.ours:
            outer = world.task(lambda: child.apply_async(**options) and None, name="p")
            outer.apply(priority=parent)
        else:
            # Celery asks the worker's current task, which its eager mode does not set.
            running = world.task(add, name="p")
            running.push_request(id="1", delivery_info={"priority": parent}, called_directly=False)
            celery._state._task_stack.push(running)
            child.apply_async(**options)
            celery._state._task_stack.pop()
            running.pop_request()
        ((_, properties),) = world.published
        return properties.get("priority") or 0

    assert agree(worlds(**settings), ask) == expected


def test_typing_can_be_left_out(worlds: Any) -> None:
    def ask(world: World) -> Any:
        world.task(add, name="loose", typing=False).delay(1, 2, 3)
        with pytest.raises(TypeError):
            world.task(add, name="strict").delay(1, 2, 3)
        return len(world.published)

    _, ours = both = worlds()
    assert agree(both, ask) == 1
    with pytest.raises(CallError):
        ours.app.tasks["strict"].delay(1, 2, 3)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    "form",
    [lambda: 3600, lambda: 3600.0, soon, lambda: soon().isoformat()],
    ids=["int", "float", "time", "text"],
)
@pytest.mark.parametrize("where", ["call", "task", "annotation"])
def test_expires_in_all_forms(worlds: Any, form: Callable[[], Any], where: str) -> None:
    given = {"expires": form()}

    def ask(world: World) -> Any:
        task = world.task(add, name="a", **(given if where == "task" else {}))
        task.apply_async(**(given if where == "call" else {}))
        ((headers, _),) = world.published
        return abs(datetime.fromisoformat(headers["expires"]) - soon()) < timedelta(minutes=5)

    assert agree(worlds(**({"task_annotations": {"a": given}} if where == "annotation" else {})), ask) is True


def test_root_and_parent(worlds: Any) -> None:
    def ask(world: World) -> Any:
        task = world.task(add, name="a")
        task.apply_async(root_id="first", parent_id="one before")
        task.apply_async(task_id="alone")
        return [(headers["root_id"], headers["parent_id"]) for headers, _ in world.published]

    _, ours = both = worlds()
    assert agree(both, ask) == [("first", "one before"), ("alone", None)]
    with pytest.raises(WrongOption, match="parent_id must be text"):
        ours.app.tasks["a"].apply_async(parent_id=7)


def test_what_a_call_says_of_expiry_counts_more(worlds: Any) -> None:
    expires = soon()

    def ask(world: World) -> Any:
        world.task(add, name="a", expires=60).apply_async(expires=expires)
        ((headers, _),) = world.published
        return datetime.fromisoformat(headers["expires"])

    assert agree(worlds(), ask) == expires


def test_store_errors_even_if_ignored(worlds: Any) -> None:
    """Of an eager task too, which Celery's eager mode does not."""
    _, ours = worlds(task_store_eager_result=True)

    def fail() -> None:
        raise ValueError("no")

    task = ours.task(fail, name="f", ignore_result=True, store_errors_even_if_ignored=True)
    assert ours.app.AsyncResult(task.apply().id).state == "FAILURE"
    plain = ours.task(fail, name="g", ignore_result=True)
    assert ours.app.AsyncResult(plain.apply().id).state == "PENDING"


def test_handlers_as_options(worlds: Any) -> None:
    told: list[Any] = []

    def ask(world: World) -> Any:
        def on_success(self: Any, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            told.append((self.name, retval))

        world.task(add, name="a", on_success=on_success).apply((1, 2))

    agree(worlds(), ask)
    assert told == [("a", 3), ("a", 3)]
