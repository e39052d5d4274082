"""Time limits: which ones hold, what a soft one does, and that none strikes a task that has ended."""

import asyncio
import contextlib
import importlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import celery
import pytest

import celeriac
from celeriac import Celeriac, SoftTimeLimitExceeded, limits
from celeriac.config import Settings
from celeriac.errors import CallError, TimeLimitExceeded, WrongLimits, WrongOption
from celeriac.limits import Watchdog, of_call, of_task, of_tasks
from celeriac.message import protocol
from celeriac.overtime import limited
from celeriac.task import Task
from celeriac.worker.overtime import GRACE, LOOK, HardLimits
from celeriac.worker.recorder import FREEZING, FROZEN, THAWED, Recorder
from tests.unit.running import PATIENCE, working


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog()


def call(watchdog: Watchdog, seconds: float, function: Callable[..., Any], *args: Any) -> Any:
    return watchdog.call(seconds, function, args, {})


def spin() -> None:
    while True:
        pass


def run_out() -> None:
    """Have the limit of the call on this thread be over now: at a place that a stalled machine may reach late."""
    watchdog, watch = limits.running[threading.get_ident()]
    watch.due = time.monotonic()
    watchdog._waker.poke()


# -- which limits hold


def test_each_limit_is_the_call_s_then_the_task_s_then_the_setting_s() -> None:
    task = Task()
    conf = Settings()
    assert of_task(task, conf) == (None, None)
    conf = Settings(task_time_limit=30, task_soft_time_limit=20)
    assert of_task(task, conf) == (30, 20)
    task.soft_time_limit = 5
    assert of_task(task, conf) == (30, 5)
    task.time_limit = 0  # as in Celery: not said
    assert of_task(task, conf) == (30, 5)
    assert of_tasks({"a": task}, Settings()) == {"a": (None, 5)}
    assert of_tasks({"a": Task()}, Settings()) == {}
    assert of_call(None, (30, 5)) == (30, 5)
    assert of_call((None, 2), (30, 5)) == (30, 2)
    assert of_call((7, None), (None, None)) == (7, None)
    assert of_call((-1, 0), (30, None)) == (30, None)  # others' messages may say anything


# -- what is sent, and what is refused: as Celery


@pytest.fixture
def apps() -> Iterator[tuple[Any, Any]]:
    theirs = celery.Celery("limits", broker="memory://", backend="cache+memory://", set_as_current=False)
    ours = Celeriac("limits", broker=f"memory://{uuid4().hex}", set_as_current=False)
    yield theirs, ours
    theirs.close()
    ours.close()


@pytest.mark.filterwarnings("ignore:Results are not stored in backend")
@pytest.mark.parametrize(
    ("of_the_task", "of_the_call"),
    [
        ({}, {}),
        ({"time_limit": 9}, {}),
        ({"soft_time_limit": 4, "time_limit": 9}, {}),
        ({"soft_time_limit": 4, "time_limit": 9}, {"time_limit": 6}),
        ({"soft_time_limit": 4, "time_limit": 9}, {"time_limit": 2}),
        ({"soft_time_limit": 4, "time_limit": 9}, {"soft_time_limit": 7}),
        ({}, {"soft_time_limit": 1.5, "time_limit": 2}),
        ({"soft_time_limit": 9, "time_limit": 4}, {}),
        ({"soft_time_limit": 9, "time_limit": 4}, {"time_limit": 10}),
    ],
)
def test_the_message_says_what_celery_s_says(
    apps: tuple[Any, Any], of_the_task: dict[str, Any], of_the_call: dict[str, Any]
) -> None:
    answers: list[Any] = []
    for library, app in zip((celery, celeriac), apps, strict=True):
        seen: list[Any] = []

        def note(headers: Any = None, seen: list[Any] = seen, **_: Any) -> None:
            seen.append(list(headers["timelimit"]))

        module = importlib.import_module(f"{library.__name__}.signals")
        module.before_task_publish.connect(note, weak=False)
        app.task(name="limited", **({"shared": False} if library is celery else {}), **of_the_task)(spin)
        try:
            app.tasks["limited"].apply_async(**of_the_call)
        except ValueError as error:
            answers.append(str(error).partition(":")[0])
        else:
            answers.append(seen)
        finally:
            module.before_task_publish.disconnect(note)
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"soft_time_limit": 5, "time_limit": 4},
            WrongLimits,
        ),  # Celery sends it, and its hard limit comes first
        ({"time_limit": -1}, WrongOption),
        ({"time_limit": "5"}, WrongOption),
        ({"soft_time_limit": True}, WrongOption),
        ({"soft_time_limit": float("nan")}, WrongOption),
        ({"time_limit": float("inf")}, WrongOption),
    ],
)
def test_limits_that_are_none_are_refused_where_they_are_passed(
    apps: tuple[Any, Any], options: dict[str, Any], error: type[Exception]
) -> None:
    ours = apps[1]
    task = ours.task(name="limited")(spin)
    with pytest.raises(error, match=Path(__file__).name) as caught:
        task.apply_async(**options)
    assert isinstance(caught.value, CallError)
    assert not ours.broker.depths()


def test_settings_that_contradict_each_other_are_refused_when_a_task_is_sent(apps: tuple[Any, Any]) -> None:
    ours = apps[1]
    ours.conf.update(task_time_limit=5, task_soft_time_limit=10)
    task = ours.task(name="limited")(spin)
    for _ in range(2):
        with pytest.raises(ValueError, match="it is 10, and that 5"):
            task.delay()


# -- soft limits of functions


@pytest.mark.parametrize("function", [spin, lambda: time.sleep(600)], ids=["spins", "sleeps"])
def test_a_function_on_the_main_thread_is_interrupted_at_once(watchdog: Watchdog, function: Any) -> None:
    begun = time.monotonic()
    with pytest.raises(SoftTimeLimitExceeded, match=r"the soft time limit of 0\.1 s is over"):
        call(watchdog, 0.1, function)
    assert 0.1 <= time.monotonic() - begun < PATIENCE


def test_waiting_for_a_socket_is_interrupted(watchdog: Watchdog) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(SoftTimeLimitExceeded):
        call(watchdog, 0.1, ours.recv, 1)


def test_the_time_until_the_watchdog_is_there_is_not_the_function_s() -> None:
    class Noting(Watchdog):
        there = 0.0

        def _start(self) -> None:
            super()._start()
            self.there = time.monotonic()

    noting = Noting()
    due = call(noting, 60, lambda: limits.running[threading.get_ident()][1].due)
    assert due >= noting.there + 60


def test_a_signal_handler_of_the_project_s_own_stays() -> None:
    import signal

    before = signal.signal(signal.SIGURG, lambda *_: None)
    try:
        own = signal.getsignal(signal.SIGURG)
        with pytest.raises(SoftTimeLimitExceeded):
            call(Watchdog(), 0.1, lambda: [time.sleep(0.02) for _ in range(5000)])
        assert signal.getsignal(signal.SIGURG) is own
    finally:
        signal.signal(signal.SIGURG, before)


def test_it_can_be_caught_and_comes_once(watchdog: Watchdog) -> None:
    def tidy() -> str:
        try:
            run_out()
            time.sleep(600)
        except SoftTimeLimitExceeded:
            time.sleep(0.2)
            return "tidied up"
        return "slept"

    assert call(watchdog, 600, tidy) == "tidied up"


@pytest.mark.parametrize(
    "error", [ValueError("own"), StopIteration(3), SystemExit(2), SoftTimeLimitExceeded("own")]
)
def test_what_the_function_raises_itself_is_raised_as_it_is(watchdog: Watchdog, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        call(watchdog, 60, fail)
    assert caught.value is error


def test_arguments_and_values_go_through(watchdog: Watchdog) -> None:
    assert watchdog.call(60, lambda a, *, b: [a, b], (1,), {"b": 2}) == [1, 2]
    assert watchdog.call(60, lambda: None, (), {}) is None


def test_functions_on_other_threads_are_interrupted_between_two_steps(watchdog: Watchdog) -> None:
    came: list[str] = []

    def on_thread(function: Callable[[], Any]) -> None:
        try:
            call(watchdog, 0.1, function)
        except SoftTimeLimitExceeded:
            came.append("over")

    functions = [spin, lambda: [time.sleep(0.01) for _ in range(10_000)], lambda: time.sleep(0.5) or spin()]
    threads = [threading.Thread(target=on_thread, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert came == ["over"] * 3


def test_what_is_held_off_strikes_when_the_block_is_over(watchdog: Watchdog) -> None:
    came: list[str] = []

    def work() -> None:
        with limits.held_off():
            run_out()
            time.sleep(0.2)
            came.append("whole")
        came.append("not reached" if any(time.sleep(0.01) for _ in range(6000)) else "in time")

    with pytest.raises(SoftTimeLimitExceeded):
        call(watchdog, 600, work)
    assert came == ["whole"]
    assert not limits.running
    with limits.held_off():
        pass  # outside of a limit: nothing to hold off


def test_what_is_due_when_the_block_is_over_does_not_wait_for_the_watchdog(watchdog: Watchdog) -> None:
    """Which may get to run within such blocks alone."""

    def sends() -> None:
        due = time.monotonic() + 0.1  # at the latest: it has begun by now
        with limits.held_off():
            while time.monotonic() < due + 0.05:
                pass
        pytest.fail("it went on")

    with pytest.raises(SoftTimeLimitExceeded):
        watchdog.call(0.1, sends, (), {})


def test_blocks_that_are_held_off_are_never_torn_apart(watchdog: Watchdog) -> None:
    """A thousand limits, each of which strikes at some moment of a loop in and out of such blocks."""
    begun = ended = 0

    def work() -> None:
        nonlocal begun, ended
        while True:
            with limits.held_off():
                begun += 1
                for _ in range(20):
                    pass
                ended += 1

    number = 0
    while number < 1000 or begun <= 1000:
        number += 1
        # Where that strikes before there is a block, as the machine is slow, it has to be longer.
        limit = 0.0005 * max(1, number / 1000)
        with pytest.raises(SoftTimeLimitExceeded):
            call(watchdog, limit * random.uniform(0.5, 1.5), work)
        assert begun == ended


def test_after_it_was_caught_blocks_go_on(watchdog: Watchdog) -> None:
    def work() -> str:
        try:
            run_out()
            spin()
        except SoftTimeLimitExceeded:
            with limits.held_off():
                time.sleep(0.01)
        return "sent"

    struck: list[int] = []
    assert watchdog.call(600, work, (), {}, lambda: struck.append(1)) == "sent"
    assert watchdog.call(60, lambda: "in time", (), {}, lambda: struck.append(2)) == "in time"
    assert struck == [1]


class Races:
    """Functions that end right at their limit, and the account of them."""

    def __init__(self, watchdog: Watchdog, limit: float) -> None:
        self.watchdog = watchdog
        self.limit = limit
        self.on_time = self.over = 0
        self.wrong: list[str] = []

    def run(self, count: int) -> None:
        for n in range(count):
            self.one(n)

    def one(self, n: int) -> None:
        last = []

        def work(until: float) -> int:
            while time.monotonic() < until:
                pass
            last.append(n)
            return n

        try:
            try:
                value = call(
                    self.watchdog, self.limit, work, time.monotonic() + self.limit * random.uniform(0.9, 1.1)
                )
            except SoftTimeLimitExceeded:
                self.over += 1
                # It may strike in the last line, after `append`; never is a value lost that was returned.
            else:
                self.on_time += 1
                if value != n or last != [n]:
                    self.wrong.append(f"{n} gave {value}, ended {last}")
            for _ in range(50):
                pass  # the next task, in which nothing may strike
        except SoftTimeLimitExceeded:
            self.wrong.append(f"{n}: struck outside of the function")


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_thousands_of_functions_that_end_right_at_their_limit(watchdog: Watchdog) -> None:
    """None is struck when it is over, nor is what runs then, and no value is lost."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    races = [Races(watchdog, 0.001) for _ in range(3)]
    threads = [threading.Thread(target=race.run, args=(2000,)) for race in races[1:]]
    try:
        for thread in threads:
            thread.start()
        races[0].run(2000)
        for thread in threads:
            thread.join(500)
            assert not thread.is_alive()
    finally:
        sys.setswitchinterval(interval)
    assert [race.wrong for race in races] == [[], [], []]
    assert all(race.on_time + race.over == 2000 for race in races)
    print([(race.on_time, race.over) for race in races])


@pytest.mark.slow
def test_a_value_that_was_returned_is_never_replaced(watchdog: Watchdog) -> None:
    """A function in C ends with no bytecode after its effect, so it either had none or its value is returned."""
    receiver, sender = os.pipe()
    os.set_blocking(receiver, False)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3000):
            value = None
            with contextlib.suppress(SoftTimeLimitExceeded):
                value = call(watchdog, random.uniform(1e-6, 2e-4), partial(os.write, sender, b"x"))
            try:
                written = len(os.read(receiver, 2))
            except BlockingIOError:
                written = None
            assert value == written
    finally:
        sys.setswitchinterval(interval)
        os.close(receiver)
        os.close(sender)


# -- coroutines


async def outcome(function: Any, soft: float | None, hard: float | None) -> Any:
    try:
        value: Any = await limited(function, soft, hard, (), {})
    except Exception as error:
        value = error
    task = asyncio.current_task()
    assert task is not None and not task.cancelling()
    return value


class Coroutines:
    """Coroutine functions with an interest in how they are ended."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def sleeps(self) -> None:
        await asyncio.sleep(600)

    async def tidies_up(self) -> str:
        try:
            await asyncio.sleep(600)
        except SoftTimeLimitExceeded:
            async with asyncio.timeout(PATIENCE):  # is not taken for cancelled
                await asyncio.sleep(0.01)
        return "tidied up"

    async def goes_on(self) -> None:
        while True:
            with contextlib.suppress(Exception):
                await asyncio.sleep(600)

    async def goes_on_when_closed(self) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            self.told.append("finally")
            await asyncio.sleep(600)

    async def child(self) -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            self.told.append("child cancelled")
            raise

    async def with_a_task_group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.child())
            group.create_task(self.child())

    async def waits_for(self) -> None:
        await asyncio.wait_for(self.child(), 600)

    async def gathers(self) -> None:
        await asyncio.gather(self.child(), self.child())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sleeps", []),
        ("with_a_task_group", ["child cancelled"] * 2),
        ("waits_for", ["child cancelled"]),
        ("gathers", ["child cancelled"] * 2),
    ],
)
def test_a_coroutine_gets_the_soft_limit_and_leaves_nothing_behind(name: str, told: list[str]) -> None:
    coroutines = Coroutines()

    async def main() -> Any:
        ended = await outcome(getattr(coroutines, name), 0.05, None)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        return ended

    ended = asyncio.run(main())
    assert type(ended) is SoftTimeLimitExceeded and ended.args == (0.05,)
    assert coroutines.told == told


def test_a_coroutine_may_catch_it() -> None:
    assert asyncio.run(outcome(Coroutines().tidies_up, 0.05, 600)) == "tidied up"


@pytest.mark.parametrize("name", ["sleeps", "goes_on", "goes_on_when_closed", "tidies_up"])
def test_the_hard_limit_is_final(name: str) -> None:
    ended = asyncio.run(outcome(getattr(Coroutines(), name), None, 0.05))
    assert type(ended) is TimeLimitExceeded and ended.args == (0.05,)


def test_a_coroutine_that_somebody_else_cancels_is_cancelled() -> None:
    async def main() -> None:
        task = asyncio.create_task(limited(Coroutines().sleeps, 60, 60, (), {}))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert not isinstance(caught.value, SoftTimeLimitExceeded)

    asyncio.run(main())


def test_coroutines_that_end_right_at_their_limit() -> None:
    ended: list[str] = []

    async def work(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except SoftTimeLimitExceeded:
            return "over"
        return "on time"

    async def main() -> None:
        async def one(n: int) -> None:
            ended.append(await limited(work, 0.05, None, (0.05 + (n % 21 - 10) * 1e-4,), {}))
            await asyncio.sleep(0.02)  # in which nothing may strike

        for _ in range(10):
            await asyncio.gather(*(one(n) for n in range(200)))

    asyncio.run(main())
    assert len(ended) == 2000 and set(ended) <= {"over", "on time"}


# -- hard limits: who is ended, and who is not


class Child:
    """What the supervisor knows of a process; this one is none."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.over: dict[int, float] = {}
        self.pokes = 0
        self.pid = 0
        self.waker: Any = self

    def poke(self) -> None:
        self.pokes += 1


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    recorder = Recorder.create(tmp_path / "one.flight", "c", "b", 3)
    yield Child(recorder)
    recorder.remove()


def test_the_supervisor_looks_again_when_the_next_limit_is_over(child: Child) -> None:
    overseer = HardLimits(2, lambda: 100.0)
    overseer.look([child])
    assert overseer.next == 100 + LOOK
    child.recorder.begin(0, 7, 99.0)
    child.recorder.limit(0, 99.0, 1.4)
    child.recorder.begin(2, 8, 99.0)
    child.recorder.limit(2, 99.0, 0.9)  # a coroutine: its loop has a moment for it
    overseer.look([child])
    assert overseer.next == pytest.approx(100.4)
    assert not child.over and child.recorder.freeze == THAWED
    child.recorder.clear(0)
    overseer.look([child])
    assert overseer.next == pytest.approx(99.9 + GRACE)
    child.recorder.unlimit(2)
    overseer.look([child])
    assert overseer.next == 100 + LOOK


def test_a_task_that_ended_in_the_last_moment_costs_no_process(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    overseer = HardLimits(2, lambda: 100.0)
    child.recorder.begin(0, 7, 98.0)
    child.recorder.limit(0, 98.0, 1.0)

    def ends_meanwhile(_seconds: float) -> None:
        assert child.recorder.freeze == FREEZING
        child.recorder.clear(0)

    monkeypatch.setattr("celeriac.worker.overtime.time.sleep", ends_meanwhile)
    overseer.look([child])
    assert not child.over
    assert (child.recorder.freeze, child.pokes) == (FROZEN, 1)  # it thaws by itself


# -- through a worker


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celeriac]:
    place = f"memory://{uuid4().hex}"
    made = Celeriac("limits", broker=place, backend=place, worker_state_dir=str(tmp_path))
    yield made
    made.close()


def test_what_is_stored_and_shown_of_a_limit(app: Celeriac) -> None:
    @app.task(soft_time_limit=600)
    def spins() -> None:
        run_out()
        spin()

    @app.task(time_limit=0.1, autoretry_for=(Exception,))
    async def awaits() -> None:
        await asyncio.sleep(600)

    with working(app):
        soft, hard = spins.delay(), awaits.delay()
        with pytest.raises(SoftTimeLimitExceeded):
            soft.get(PATIENCE)
        with pytest.raises(TimeLimitExceeded, match=r"the hard time limit of 0\.1 s is over"):
            hard.get(PATIENCE)
    text = soft.traceback or ""
    assert text.startswith("Traceback") and "in spins" in text
    assert 'limits.py", line' not in text.replace("test_limits.py", "")
    assert hard.state == "FAILURE"  # a hard limit is no reason to retry


def test_a_hard_limit_in_a_pool_that_has_none_is_told(
    app: Celeriac, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(name="hard", time_limit=5)
    def hard() -> None: ...

    with caplog.at_level("WARNING", "celeriac"), working(app):
        pass
    assert "the hard time limits of hard hold for coroutines alone" in caplog.text


def test_limits_of_a_retry_are_those_of_the_call(app: Celeriac) -> None:
    seen: list[Any] = []

    @app.task(bind=True, soft_time_limit=30)
    def again(self: Any) -> None:
        seen.append((self.request.timelimit, self.request.time_limit, self.request.soft_time_limit))
        if self.request.retries == 0:
            raise self.retry(countdown=0)

    with working(app):
        again.apply_async(time_limit=40).get(PATIENCE)
    assert seen == [((40, 30), 40, 30)] * 2


def test_no_limit_is_sent_where_there_is_none(app: Celeriac) -> None:
    @app.task
    def plain() -> None: ...

    plain.delay()
    app.broker.register("c", 60)
    (delivery,) = app.broker.claim("c", ["celery"], 1, 1)
    assert protocol.decode(delivery.payload).headers.timelimit == (None, None)


AFTER_A_STRIKE = """
import sys
from celeriac import SoftTimeLimitExceeded
from celeriac.limits import Watchdog

def spin():
    while True:
        pass

def called(number):
    return number

try:
    Watchdog().call(0.05, spin, (), {})
except SoftTimeLimitExceeded:
    sys.setprofile(lambda *told: None)
    print([called(number) for number in range(3)])
"""


def test_the_interpreter_is_left_as_it_was() -> None:
    """An exception that was taken back has CPython 3.11 look for it for ever; with a profiler on, it hangs."""
    done = subprocess.run(
        [sys.executable, "-c", AFTER_A_STRIKE], capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "[0, 1, 2]\n"
