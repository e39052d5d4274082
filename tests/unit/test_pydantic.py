"""Tasks whose arguments are pydantic's models: Celery 5.7 and we must agree."""

import asyncio
import builtins
import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any, Optional, Union
from uuid import uuid4

import celery
import celery.signals
import pytest
from pydantic import BaseModel, ValidationError, ValidationInfo, field_serializer, field_validator

import celeriac
import celeriac.signals
from celeriac.errors import CallError, EncodeError, NotInstalled, UnstorableResult
from celeriac.testing import worker
from tests.unit.running import PATIENCE

pytestmark = [pytest.mark.filterwarnings("ignore:Results are not stored in backend")]


class Item(BaseModel):
    name: str
    price: float = 1.0
    day: dt.date | None = None


class Special(Item):
    colour: str = "red"


class Told(BaseModel):
    """Notes what its validator is told."""

    name: str

    @field_validator("name")
    @classmethod
    def tell(cls, name: str, info: ValidationInfo) -> str:
        context = info.context or {}
        return f"{name}:{context.get('celery_task_name')}:{context.get('tenant')}:{'celery_app' in context}"


class Lossy(BaseModel):
    secret: str

    @field_serializer("secret")
    def hide(self, _secret: str) -> str:
        return "***"


class Hooked(BaseModel):
    name: str

    def __json__(self) -> Any:
        return {"name": f"{self.name} by hook"}


def one(item: Item) -> Any:
    return (
        type(item).__name__,
        getattr(item, "name", item),
        getattr(item, "price", None),
        str(getattr(item, "day", "")),
    )


def optional(item: Optional[Item] = None) -> Any:  # noqa: UP045 - the old spelling is to work
    return None if item is None else one(item)


def modern(item: Item | None, *, more: Item | None = None) -> Any:
    return optional(item), optional(more)


def either(item: Union[Item, int]) -> Any:  # noqa: UP007
    return type(item).__name__


def listed(items: list[Item]) -> Any:
    return [type(item).__name__ for item in items]


def bare(item: Any, other: int = 0) -> Any:
    return type(item).__name__, other


def text(item: "Item") -> Any:
    return one(item)


def unknown(item: "NoSuchModel", other: Item) -> Any:  # type: ignore[name-defined]  # noqa: F821
    return type(item).__name__, one(other)


def told(item: Told) -> str:
    return item.name


def returns(name: str) -> Item:
    return Item(name=name, day=dt.date(2026, 11, 21))


def returns_special(name: str) -> Item | None:
    return Special(name=name) if name else None


def returns_another(name: str) -> int:
    return Item(name=name)  # type: ignore[return-value]


def returns_data(name: str) -> Item:
    return {"name": name}  # type: ignore[return-value]


class World:
    """One of the two libraries, and the arguments that were published."""

    def __init__(self, ours: bool) -> None:
        self.ours = ours
        self.bodies: list[Any] = []
        self.signal = (celeriac if ours else celery).signals.before_task_publish
        self.signal.connect(self._note, weak=False)
        url = f"memory://{uuid4().hex}"
        if ours:
            self.app: Any = celeriac.Celeriac("pydantic", broker=url, backend=url)
        else:
            self.app = celery.Celery(
                "pydantic", broker="memory://", backend="cache+memory://", set_as_current=False
            )

    def _note(self, body: Any = None, headers: Any = None, **_: Any) -> None:
        self.bodies.append((list(body[0]), dict(body[1]), headers["argsrepr"]))

    def task(self, function: Any, **options: Any) -> Any:
        options = {"name": function.__name__, "pydantic": True, **options}
        made = self.app.task(**options, **({} if self.ours else {"shared": False}))(function)
        return self.app.tasks[made.name]

    def close(self) -> None:
        self.signal.disconnect(self._note)
        self.app.close()


@pytest.fixture
def worlds() -> Iterator[tuple[World, World]]:
    made = World(False), World(True)
    yield made
    for world in made:
        world.close()


@pytest.fixture
def ours(worlds: tuple[World, World]) -> World:
    return worlds[1]


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return plain(call())
    except ValidationError as error:
        return "ValidationError", [(each["loc"], each["type"]) for each in error.errors()]
    except Exception as error:
        names = [cls.__name__ for cls in type(error).__mro__]
        return next(name for name in ("EncodeError", "TypeError", names[0]) if name in names)


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def agree(worlds: tuple[World, World], ask: Callable[[World], Any]) -> Any:
    theirs, ours = (outcome(lambda world=world: ask(world)) for world in worlds)  # type: ignore[misc]
    assert ours == theirs
    return ours


RAW = {"name": "pen", "price": "2.5", "day": "2026-11-21"}
CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (one, (RAW,), {}),
    (one, (), {"item": RAW}),
    (one, ({"name": 5},), {}),
    (one, ({},), {}),
    (one, (None,), {}),
    (optional, (), {}),
    (optional, (None,), {}),
    (optional, (RAW,), {}),
    (modern, (RAW,), {"more": RAW}),
    (modern, (None,), {"more": None}),
    (either, (RAW,), {}),
    (listed, ([RAW],), {}),
    (bare, (RAW, 2), {}),
    (text, (RAW,), {}),
    (unknown, (RAW, RAW), {}),
    (told, ({"name": "n"},), {}),
    (returns, ("n",), {}),
    (returns_special, ("n",), {}),
    (returns_special, ("",), {}),
    (returns_data, ("n",), {}),
]


@pytest.mark.parametrize("options", [{}, {"pydantic_strict": True}], ids=["lax", "strict"])
@pytest.mark.parametrize("call", range(len(CALLS)))
def test_in_the_function(worlds: tuple[World, World], call: int, options: Any) -> None:
    """Called directly, and in eager mode."""
    function, args, kwargs = CALLS[call]

    def ask(world: World) -> Any:
        task = world.task(function, **options)
        return outcome(lambda: task(*args, **kwargs)), outcome(lambda: task.apply(args, kwargs).get())

    agree(worlds, ask)


def test_options(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        options = {"pydantic_context": {"tenant": "t1"}, "pydantic_dump_kwargs": {"exclude": {"price"}}}
        return (
            world.task(told, **options).apply(({"name": "n"},)).get(),
            world.task(returns, **options).apply(("n",)).get(),
            outcome(
                lambda: world.task(one, pydantic_strict=True).apply(({"name": "n", "price": "1"},)).get()
            ),
        )

    assert agree(worlds, ask) == [
        "n:told:t1:True",
        {"name": "n", "day": "2026-11-21"},
        ["ValidationError", [[["price"], "float_type"]]],
    ]


SENT: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (one, (Item(name="pen", day=dt.date(2026, 11, 21)),), {}),
    (one, (), {"item": Item(name="pen")}),
    (optional, (Item(name="pen"),), {}),
    (modern, (Item(name="pen"),), {"more": Item(name="ink")}),
    (modern, (None,), {"more": Item(name="ink")}),
    (text, (Item(name="pen"),), {}),
    (bare, (5, 6), {}),
    (one, (Hooked(name="h"),), {}),
]


@pytest.mark.parametrize("call", range(len(SENT)))
def test_models_are_dumped_where_they_are_sent(worlds: tuple[World, World], call: int) -> None:
    function, args, kwargs = SENT[call]

    def ask(world: World) -> Any:
        task = world.task(function)
        task.apply_async(args, kwargs)
        task.s(*args, **kwargs).apply_async()
        return [body if not isinstance(args[:1] and args[0], Hooked) else body[1] for body in world.bodies]

    agree(worlds, ask)


@pytest.mark.parametrize(
    ("function", "value"),
    [(one, Special(name="s")), (one, Lossy(secret="x")), (bare, Item(name="n")), (listed, [Item(name="n")]),
     (told, Told(name="n"))],
)  # fmt: skip
def test_models_that_would_not_arrive_as_they_are(
    worlds: tuple[World, World], function: Any, value: Any
) -> None:
    assert agree(worlds, lambda world: world.task(function).delay(value)) == "EncodeError"


def test_wrong_arguments_are_told_at_the_call(ours: World) -> None:
    """Celery sends such a call: it looks at no signature of a task with pydantic=True."""
    task = ours.task(one)
    for args in ((), (Item(name="a"), 1)):
        with pytest.raises(CallError):
            task.delay(*args)
    with pytest.raises(EncodeError, match='Argument "item" of one is a Special'):
        task.delay(Special(name="s"))


def test_bound_tasks(worlds: tuple[World, World]) -> None:
    def ask(world: World) -> Any:
        def bound(self: Any, item: Item, *, more: Optional[Item] = None) -> Any:  # noqa: UP045
            return self.name, one(item), optional(more)

        task = world.task(bound, bind=True)
        task.delay(Item(name="pen"), more=Item(name="ink"))
        return world.bodies, task.apply((RAW,), {"more": RAW}).get()

    agree(worlds, ask)


def test_pickle_sends_models_as_they_are(ours: World) -> None:
    task = ours.task(one, serializer="pickle")
    task.delay(Special(name="s"))
    ((args, _, _),) = ours.bodies
    assert args == [Special(name="s")]
    ours.bodies.clear()
    task.apply_async((Item(name="n"),), serializer="json")
    assert ours.bodies[0][0] == [{"name": "n", "price": 1.0, "day": None}]


# -- beyond Celery


def test_each_of_further_arguments_is_validated(ours: World) -> None:
    def many(*items: Item, **more: Item) -> Any:
        return [one(item)[:2] for item in items], {key: one(item)[:2] for key, item in more.items()}

    task = ours.task(many)
    assert task.apply((RAW, Item(name="ink")), {"a": Item(name="b")}).get() == [
        [["Item", "pen"], ["Item", "ink"]],
        {"a": ["Item", "b"]},
    ]


def test_by_a_class_and_by_annotation(ours: World) -> None:
    class Base(celeriac.Task):
        pydantic = True

    by_class = ours.app.task(base=Base, name="by.class")(one)
    assert by_class.apply((RAW,)).get()[:2] == ["Item", "pen"]

    class Whole(celeriac.Task):
        name = "whole"
        pydantic = True

        def run(self, item: Item) -> Any:
            return one(item)

    whole = ours.app.register_task(Whole())
    assert whole.apply((Item(name="pen"),)).get()[:2] == ["Item", "pen"]
    ours.app.conf.update(task_annotations={"noted": {"pydantic": True, "pydantic_strict": True}})
    noted = ours.app.task(name="noted")(one)
    with pytest.raises(ValidationError):
        ours.app.tasks["noted"].apply(({"name": 5},)).get()
    assert noted.apply((Item(name="n"),)).get()[1] == "n"


def test_coroutine_functions(ours: World) -> None:
    async def waits(item: Item) -> Item:
        await asyncio.sleep(0)
        return item

    task = ours.task(waits)
    assert task.is_async
    assert task.apply((Item(name="pen"),)).get() == {"name": "pen", "price": 1.0, "day": None}


def test_through_a_worker(ours: World) -> None:
    good, bad = ours.task(one), ours.task(returns_another)
    model = ours.task(returns)
    with worker(ours.app, timeout=PATIENCE):
        sent = [
            good.delay(Item(name="pen")),
            good.delay(RAW),
            good.delay({"price": 1}),
            bad.delay("n"),
            model.delay("n"),
        ]
        assert sent[0].get(timeout=PATIENCE)[:2] == ["Item", "pen"]
        assert sent[1].get(timeout=PATIENCE)[2] == 2.5
        error = sent[2].get(timeout=PATIENCE, propagate=False)
        assert type(error).__name__ == "ValidationError" and sent[2].state == "FAILURE"
        assert "name\n  Field required" in str(error)
        assert "ValidationError" in sent[2].traceback
        with pytest.raises(UnstorableResult):
            sent[3].get(timeout=PATIENCE)
        assert sent[4].get(timeout=PATIENCE) == {"name": "n", "price": 1.0, "day": "2026-11-21"}


def test_without_the_package(ours: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def importer(name: str, *arguments: Any) -> Any:
        if name == "pydantic":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", importer)
    with pytest.raises(NotInstalled, match=r"pip install 'celeriac\[pydantic\]'"):
        ours.app.task(pydantic=True)(lambda item: item)
    ours.app.task(name="plain")(lambda item: item)
