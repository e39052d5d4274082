"""`app.control` and its command line: what is noted at the broker, what is shown at once, what is refused."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery.result as celerys
import msgspec
import pytest

from celeriac import AsyncResult, Celeriac, GroupResult, ResultSet
from celeriac.cli import main
from celeriac.control import Order
from celeriac.errors import TaskRevokedError, WrongOption
from celeriac.result import EagerResult
from celeriac.signals import task_revoked
from celeriac.store import Record
from celeriac.testing import Queue
from celeriac.worker.ending import Terminated
from celeriac.worker.recorder import Recorder
from celeriac.worker.steering import Steering
from celeriac.worker.terminating import Terminations
from tests.unit.running import PATIENCE, until, working


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("steered", broker="memory://steered", backend="memory://steered")
    app.broker.clear()  # type: ignore[attr-defined]
    yield app
    app.close()


def orders(app: Celeriac) -> list[Order]:
    """Return what workers have been told."""
    return [msgspec.json.decode(each, type=Order) for each in app.broker.commands().values()]


class TestRevoke:
    def test_one_several_and_none(self, app: Celeriac) -> None:
        app.control.revoke("a")
        app.control.revoke(each for each in ("b", "c"))
        app.control.revoke([])
        assert app.broker.revoked("abcd") == {"a", "b", "c"}
        assert orders(app) == []

    def test_by_results(self, app: Celeriac) -> None:
        one, two, three = (AsyncResult(name, app) for name in "abc")
        one.revoke()
        ResultSet([two, three], app).revoke(terminate=True, signal="SIGKILL", wait=True, timeout=1)
        GroupResult("g", [AsyncResult("d", app)], app=app).revoke()
        assert app.broker.revoked("abcdg") == {"a", "b", "c", "d"}
        (order,) = orders(app)
        assert order == Order("revoke", {"task_id": ["b", "c"], "terminate": True, "signal": 9})

    def test_the_state_is_shown_at_once_where_nothing_runs(self, app: Celeriac) -> None:
        assert app.store is not None
        states = ("RECEIVED", "RETRY", "STARTED", "PROGRESS", "SUCCESS", "FAILURE")
        app.store.store([Record(state, state, name="shop.tasks.add", args="(1,)") for state in states])
        app.control.revoke([*states, "unknown"])
        shown = {name: AsyncResult(name, app).state for name in (*states, "unknown")}
        changed = {name for name, state in shown.items() if state == "REVOKED"}
        assert changed == {"RECEIVED", "RETRY", "unknown"}
        result = AsyncResult("RETRY", app)
        assert (result.name, result.args) == ("shop.tasks.add", "(1,)")
        with pytest.raises(TaskRevokedError, match="revoked"):
            result.get(timeout=PATIENCE)

    def test_without_a_store(self) -> None:
        app = Celeriac("storeless", broker="memory://storeless")
        app.control.revoke("a")
        assert app.broker.revoked("a") == {"a"}
        app.close()

    @pytest.mark.parametrize("wanted", ["TERM", "sigterm", "SIGTERM", 15, signal.SIGTERM])
    def test_signals_by_any_name(self, app: Celeriac, wanted: Any) -> None:
        app.control.revoke("a", terminate=True, signal=wanted)
        assert orders(app)[0].arguments["signal"] == 15

    @pytest.mark.parametrize("wanted", ["SIGNOTHING", "", 0, 4711])
    def test_what_is_no_signal_is_refused_before_anything_is_done(self, app: Celeriac, wanted: Any) -> None:
        with pytest.raises(WrongOption, match="Name one"):
            app.control.revoke("a", terminate=True, signal=wanted)
        assert app.broker.revoked("a") == set()

    def test_destinations(self, app: Celeriac) -> None:
        app.control.terminate("a", destination=["one@here"])
        app.control.pool_grow(destination="two@here")
        app.control.pool_shrink(3)
        assert [order.destination for order in orders(app)] == [["one@here"], ["two@here"], None]
        assert [order.method for order in orders(app)] == ["revoke", "pool_grow", "pool_shrink"]

    @pytest.mark.parametrize("count", [0, -1])
    def test_pools_grow_by_one_or_more(self, app: Celeriac, count: int) -> None:
        with pytest.raises(WrongOption, match="1 or more"):
            app.control.pool_grow(count)
        with pytest.raises(WrongOption, match="1 or more"):
            app.control.pool_shrink(count)

    def test_an_eager_result_as_celery_has_it(self) -> None:
        for library in (EagerResult, celerys.EagerResult):
            result = library("id", 7, "SUCCESS")
            result.revoke()
            assert (result.state, result.ready()) == ("REVOKED", True)


def test_a_revoked_task_does_not_run_in_a_worker(app: Celeriac) -> None:
    ran, told = [], []

    @app.task(name="steered.note")
    def note(n: int) -> None:
        ran.append(n)

    @app.task(name="steered.anote")
    async def anote(n: int) -> None:
        ran.append(n)

    def hear(sender: Any, request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
        told.append((sender.name, request.id, terminated, signum, expired))

    results = [note.delay(n) for n in range(4)] + [anote.delay(n) for n in range(4, 8)]
    for result in results[::2]:
        result.revoke()
    task_revoked.connect(hear)
    try:
        with working(app):
            for result in results[1::2]:
                result.get(timeout=PATIENCE)
            until(lambda: len(told) >= 4)  # they need not be looked at in order
    finally:
        task_revoked.disconnect(hear)
    assert sorted(ran) == [1, 3, 5, 7]
    assert sorted(told) == sorted(
        ("steered.note" if n < 4 else "steered.anote", results[n].id, False, None, False)
        for n in (0, 2, 4, 6)
    )


def test_the_test_kit_does_as_a_worker_does(app: Celeriac) -> None:
    @app.task(name="steered.add")
    def add(n: int) -> int:
        return n

    with Queue(app) as queue:
        first, second = add.delay(1), add.delay(2)
        first.revoke()
        assert [result.state for result in queue.drain()] == ["REVOKED", "SUCCESS"]
        assert (first.state, second.state) == ("REVOKED", "SUCCESS")


class TestSteering:
    def test_what_was_asked_before_it_came_is_not_for_it(self, app: Celeriac) -> None:
        done: list[Any] = []
        app.control.pool_grow(1)
        steering = Steering(app.broker, "one@here", {"pool_grow": done.append})
        steering.look()
        app.control.pool_grow(2)
        app.control.pool_grow(3, destination=["other@here"])
        app.control.pool_grow(4, destination=["other@here", "one@here"])
        app.control.pool_shrink(5)
        steering.look()
        steering.look()
        assert done == [{"n": 2}, {"n": 4}]

    def test_what_is_not_signed_is_not_done(self, app: Celeriac, caplog: pytest.LogCaptureFixture) -> None:
        """Where tasks are signed, so is what workers are told."""
        done: list[Any] = []
        app.control.pool_grow(1)
        app.conf.update(task_signing=True, task_signing_keys=["a key"])
        steering = Steering(app.broker, "one@here", {"pool_grow": done.append}, signer=app.signer)
        steering.look()
        app.control.pool_grow(2, destination=["one@here"])
        *_, signed = app.broker.commands().values()
        forged = [
            b'{"method":"pool_grow","arguments":{"n":3}}',
            signed.replace(b'"n":2', b'"n":4'),
            signed.replace(b'["one@here"]', b'["one@here","other"]'),
            signed.replace(b'"sent":', b'"sent":1'),
        ]
        for each in forged:
            assert each != signed
            app.broker.command(each)
        old = Order("pool_grow", {"n": 5})
        assert app.signer is not None
        old.sign(app.signer, app.broker.now() - 301)
        app.broker.command(msgspec.json.encode(old))
        steering.look()
        assert done == [{"n": 2}]
        assert len(caplog.records) == 5
        assert "signed too long ago" in caplog.text


class FakeChild:
    """A child as the supervisor sees it, of no process."""

    def __init__(self, folder: Path) -> None:
        self.over: dict[int, Any] = {}
        self.pid = 0
        self.recorder = Recorder.create(folder / "a.flight", "child", "broker", 4)
        self.waker = self
        self.poked = 0

    def poke(self) -> None:
        self.poked += 1


class TestTerminations:
    @pytest.fixture
    def killed(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        killed: list[int] = []
        monkeypatch.setattr("os.kill", lambda pid, _number: killed.append(pid))
        return killed

    def test_a_function_that_starts_a_moment_later_is_found(self, tmp_path: Path, killed: list[int]) -> None:
        now = 100.0
        terminations = Terminations(1, lambda: now)
        child: Any = FakeChild(tmp_path)
        child.recorder.begin(0, 7, 99.0, hash("other"))
        terminations.add("wanted", 15)
        terminations.look([child])
        assert (killed, child.over) == ([], {})
        child.recorder.begin(0, 8, 100.0, hash("wanted"))
        now = terminations.next
        terminations.look([child])
        assert (killed, child.over) == ([0], {8: Terminated("wanted", 15)})

    def test_it_is_not_looked_for_for_ever(self, tmp_path: Path, killed: list[int]) -> None:
        now = 100.0
        terminations = Terminations(1, lambda: now)
        child: Any = FakeChild(tmp_path)
        terminations.add("wanted", 15)
        while terminations.next < float("inf"):
            now = terminations.next
            terminations.look([child])
        assert 105 <= now < 106
        child.recorder.begin(0, 8, 100.0, hash("wanted"))
        terminations.look([child])
        assert killed == []

    def test_a_coroutine_is_cancelled_and_its_process_killed_if_that_is_in_vain(
        self, tmp_path: Path, killed: list[int]
    ) -> None:
        now = 100.0
        terminations = Terminations(1, lambda: now)
        child: Any = FakeChild(tmp_path)
        child.recorder.begin(2, 8, 100.0, hash("wanted"))
        terminations.add("wanted", 15)
        terminations.look([child])
        assert (child.recorder.cancel, child.poked, killed) == (hash("wanted"), 1, [])
        child.recorder.cancel = 0
        while not killed:
            now = terminations.next
            terminations.look([child])
        assert 105 <= now < 106
        assert child.over == {8: Terminated("wanted", 15)}


@pytest.mark.parametrize(
    ("words", "said", "orders_given"),
    [
        (["revoke", "a"], "1 task is revoked.", []),
        (
            ["revoke", "a", "b", "-t", "--signal", "KILL"],
            "2 tasks are revoked. Workers end what runs of them.",
            [Order("revoke", {"task_id": ["a", "b"], "terminate": True, "signal": 9})],
        ),
        (
            ["-d", "x@y, z@y", "terminate", "a"],
            "1 task is revoked. Workers end what runs of them.",
            [Order("revoke", {"task_id": ["a"], "terminate": True, "signal": 15}, ["x@y", "z@y"])],
        ),
        (["pool_grow"], "Workers are told to start 1 more.", [Order("pool_grow", {"n": 1})]),
        (["pool_shrink", "3"], "Workers are told to end 3.", [Order("pool_shrink", {"n": 3})]),
    ],
)
def test_the_command_line(
    words: list[str],
    said: str,
    orders_given: list[Order],
    app: Celeriac,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "steered_project.py").write_text(
        "from celeriac import Celeriac\napp = Celeriac('x', broker='memory://steered', backend='memory://steered')\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "steered_project", raising=False)
    assert main(["-A", "steered_project", "control", *words]) == 0
    assert capsys.readouterr().out.strip() == said
    assert orders(app) == orders_given


def test_a_wrong_signal_on_the_command_line(
    app: Celeriac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "steered_project.py").write_text(
        "from celeriac import Celeriac\napp = Celeriac('x', broker='memory://steered')\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "steered_project", raising=False)
    assert main(["-A", "steered_project", "control", "revoke", "a", "--signal", "NONE"]) != 0
    assert "no signal 'NONE'" in capsys.readouterr().err
