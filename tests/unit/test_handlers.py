"""Handlers and signals around a run: what is told, in which order, with which arguments.

Each scenario runs on Celery 5.7 as well, in its eager mode, and both must tell the same.
"""

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import celery
import celery.exceptions
import celery.signals
import pytest

import celeriac
import celeriac.errors
import celeriac.signals

SIGNALS = ["task_prerun", "task_postrun", "task_success", "task_retry", "task_failure"]


def plain_repr(value: Any) -> str:
    """Celery's eager mode hands the arguments on as a tuple; its worker, and we always, as the list of the message."""
    if type(value).__name__ == "Retry":
        return f"Retry({value.exc!r})"  # Celery's message of it is itself
    return repr(list(value) if isinstance(value, tuple) else value)


class World:
    """One of the two libraries, with an app and a note of all that is told."""

    def __init__(self, app: Any, errors: ModuleType, signals: ModuleType) -> None:
        self.app = app
        self.errors = errors
        self.told: list[tuple[str, ...]] = []
        self.receivers = []
        for name in SIGNALS:
            self.receivers.append((getattr(signals, name), self._receiver(name)))
        for signal, receiver in self.receivers:
            signal.connect(receiver, weak=False)
        world = self

        class Told(app.Task):  # type: ignore[misc, name-defined]
            abstract = True

            def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
                world.note("before_start", args, kwargs)
                if kwargs.get("spoil") == "before_start":
                    raise ValueError("not even begun")

            def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
                world.note("on_success", retval, args, kwargs)

            def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                world.note("on_retry", exc, args, kwargs, type(einfo).__name__)

            def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
                world.note("on_failure", exc, args, kwargs, str(einfo).splitlines()[-1])

            def after_return(
                self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
            ) -> None:
                world.note("after_return", status, retval, args, kwargs, einfo)

        self.base = Told

    def note(self, *what: Any) -> None:
        self.told.append(tuple(one if isinstance(one, str) else plain_repr(one) for one in what))

    def _receiver(self, name: str) -> Any:
        def receive(sender: Any = None, **named: Any) -> None:
            named.pop("signal")
            values = {
                key: value.id
                if key == "request"
                else getattr(value, "name", type(value).__name__)
                if key in ("task", "einfo", "traceback", "runtime", "task_id")
                else plain_repr(value)
                for key, value in named.items()
            }
            self.note(name, sender.name, *[f"{key}={values[key]}" for key in sorted(values)])

        return receive

    def run(self, function: Any, *args: Any, options: Any = (), **kwargs: Any) -> Any:
        # Celery's would otherwise be added to every app that is made later in this process.
        alone = {"shared": False} if isinstance(self.app, celery.Celery) else {}
        options = {
            "base": self.base,
            "bind": True,
            "name": "a.task",
            "max_retries": 1,
            **alone,
            **dict(options),
        }
        task = self.app.task(**options)(function)
        return task.apply(args, kwargs, task_id="the-id")

    def close(self) -> None:
        for signal, receiver in self.receivers:
            signal.disconnect(receiver)


@pytest.fixture
def worlds() -> Iterator[SimpleNamespace]:
    theirs = World(
        celery.Celery("x", broker="memory://", backend="cache+memory://", set_as_current=False),
        celery.exceptions,
        celery.signals,
    )
    ours = World(
        celeriac.Celeriac("x", broker="memory://", backend="memory://"), celeriac.errors, celeriac.signals
    )
    yield SimpleNamespace(theirs=theirs, ours=ours)
    theirs.close()
    ours.close()
    ours.app.close()


def same(worlds: SimpleNamespace, make: Any, *args: Any, **kwargs: Any) -> tuple[list[str], Any]:
    """Run the function that `make` makes in both worlds; return the names of what was told, and our result."""
    options = kwargs.pop("options", ())
    results = [
        world.run(make(world), *args, options=options, **kwargs) for world in (worlds.theirs, worlds.ours)
    ]
    assert worlds.ours.told == worlds.theirs.told
    assert results[0].state == results[1].state
    return [told[0] for told in worlds.ours.told], results[1]


def test_success(worlds: SimpleNamespace) -> None:
    def make(world: World) -> Any:
        def add(self: Any, x: int, y: int) -> int:
            return x + y

        return add

    names, result = same(worlds, make, 1, y=2)
    assert names == [
        "task_prerun",
        "before_start",
        "on_success",
        "task_success",
        "after_return",
        "task_postrun",
    ]
    assert result.get() == 3


def test_failure(worlds: SimpleNamespace) -> None:
    def make(world: World) -> Any:
        def fail(self: Any) -> None:
            raise KeyError("missing")

        return fail

    names, result = same(worlds, make)
    assert names == [
        "task_prerun",
        "before_start",
        "on_failure",
        "task_failure",
        "after_return",
        "task_postrun",
    ]
    assert result.failed()


def test_what_before_start_raises_is_the_failure(worlds: SimpleNamespace) -> None:
    def make(world: World) -> Any:
        def never(self: Any, spoil: str) -> None:
            raise AssertionError

        return never

    names, _ = same(worlds, make, spoil="before_start")
    assert names == [
        "task_prerun",
        "before_start",
        "on_failure",
        "task_failure",
        "after_return",
        "task_postrun",
    ]


def test_retries_and_the_end_of_them(worlds: SimpleNamespace) -> None:
    def make(world: World) -> Any:
        def again(self: Any) -> None:
            raise self.retry(exc=ValueError("not yet"), countdown=0)

        return again

    _, result = same_but_nested(worlds, make)
    assert repr(result.result) == "ValueError('not yet')"


def test_automatic_retries(worlds: SimpleNamespace) -> None:
    def make(world: World) -> Any:
        def again(self: Any) -> None:
            raise ValueError("not yet")

        return again

    same_but_nested(worlds, make, options={"autoretry_for": (ValueError,), "default_retry_delay": 0})


def same_but_nested(worlds: SimpleNamespace, make: Any, options: Any = ()) -> tuple[list[str], Any]:
    """Celery's eager retry runs inside the first run, so that what each run tells is compared, not their nesting."""
    results = [world.run(make(world), options=options) for world in (worlds.theirs, worlds.ours)]
    assert sorted(worlds.ours.told) == sorted(worlds.theirs.told)
    names = [told[0] for told in worlds.ours.told]
    first = ["task_prerun", "before_start", "on_retry", "task_retry", "task_postrun"]
    last = ["task_prerun", "before_start", "on_failure", "task_failure", "after_return", "task_postrun"]
    assert names == first + last
    return names, results[1]


def test_ignore(worlds: SimpleNamespace) -> None:
    def make(world: World) -> Any:
        def ignored(self: Any) -> None:
            raise world.errors.Ignore

        return ignored

    assert same(worlds, make)[0] == ["task_prerun", "before_start", "task_postrun"]


def test_a_failing_handler_changes_nothing(worlds: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    world = worlds.ours

    class Spoilt(world.base):  # type: ignore[misc, name-defined]
        def on_success(self, *args: Any) -> None:
            raise RuntimeError("spoilt")

    @world.app.task(base=Spoilt, name="spoilt")
    def fine() -> int:
        return 7

    assert fine.apply().get() == 7
    assert [told[0] for told in world.told][-2:] == ["after_return", "task_postrun"]
    assert "on_success of spoilt failed" in caplog.text


def test_tasks_without_handlers_are_not_watched(worlds: SimpleNamespace) -> None:
    plain = worlds.ours.app.task(name="plain")(lambda: None)
    assert not plain.has_handlers
    assert worlds.ours.app.task(name="told", base=worlds.ours.base)(lambda: None).has_handlers


def test_coroutines_tell_the_same(worlds: SimpleNamespace) -> None:
    world = worlds.ours

    @world.app.task(base=world.base, name="slow")
    async def slow() -> int:
        return 1

    assert slow.apply().get() == 1
    assert [told[0] for told in world.told] == [
        "task_prerun", "before_start", "on_success", "task_success", "after_return", "task_postrun",
    ]  # fmt: skip


def test_update_state_says_how_far_a_task_is(worlds: SimpleNamespace) -> None:
    app = worlds.ours.app
    seen = []

    @app.task(bind=True, name="far")
    def far(self: Any) -> str:
        self.update_state(state="PROGRESS", meta={"done": 3})
        result = app.AsyncResult(self.request.id)
        seen.append((result.state, result.info))
        return "end"

    assert far.apply().get() == "end"
    assert seen == [("PROGRESS", {"done": 3})]


def test_update_state_outside_of_a_run_needs_an_id(worlds: SimpleNamespace) -> None:
    app = worlds.ours.app
    task = app.task(name="elsewhere")(lambda: None)
    with pytest.raises(celeriac.errors.CallError, match="pass task_id"):
        task.update_state(state="PROGRESS")
    task.update_state("an-id", "HALFWAY", {"of": 2})
    assert (app.AsyncResult("an-id").state, app.AsyncResult("an-id").result) == ("HALFWAY", {"of": 2})
    with pytest.raises(celeriac.errors.EncodeError):
        task.update_state("an-id", "HALFWAY", object())


def test_a_state_that_stands_for_an_exception(worlds: SimpleNamespace) -> None:
    app = worlds.ours.app

    @app.task(bind=True, name="by hand")
    def by_hand(self: Any) -> None:
        self.update_state(state="FAILURE", meta=ValueError("by hand"))
        raise celeriac.errors.Ignore

    by_hand.apply(task_id="by-hand")
    result = app.AsyncResult("by-hand")
    assert result.failed() and repr(result.result) == "ValueError('by hand')"
