"""The heartbeat of a worker and the command that reads it; what is told over HTTP, and what is counted for it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import celeriac_health
from celeriac import Celeriac, states
from celeriac.broker import Publication
from celeriac.brokers.memory import MemoryBroker
from celeriac.cli import main
from celeriac.errors import BrokerError
from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from celeriac.pulse import Pulse, lateness
from celeriac.run import Outcome, Run
from celeriac.store import Record
from celeriac.stores.memory import MemoryStore
from celeriac.worker import tally as tallies
from celeriac.worker.backlog import Backlog
from celeriac.worker.health import STARTING, STOPPING, Health, unready
from celeriac.worker.heartbeat import EVERY, HeartbeatFile
from celeriac.worker.metrics import Metrics
from celeriac.worker.options import WorkerOptions
from celeriac.worker.outage import Notice
from celeriac.worker.recorder import Recorder
from celeriac.worker.recovery import state_dir
from celeriac.worker.tally import BOUNDS, Tallies, Tally
from tests.servers import free_port

from .running import PATIENCE, working


class Time:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def age(path: Path, seconds: float) -> None:
    """Have a file touched so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


# -- the file


def test_a_heartbeat_is_touched_each_second_and_written_when_something_changes(tmp_path: Path) -> None:
    clock = Time()
    file = HeartbeatFile(tmp_path, "broker", "mails@web", clock)
    file.beat(STARTING)
    (path,) = files(tmp_path)
    age(path, 50)
    file.beat(STARTING)
    (found,) = celeriac_health.heartbeats(str(tmp_path))
    assert found.age > 40
    clock.now += EVERY
    file.beat(STARTING)
    (found,) = celeriac_health.heartbeats(str(tmp_path))
    assert found.age < 40
    assert (found.name, found.pid, found.broker, found.trouble) == (
        "mails@web",
        os.getpid(),
        "broker",
        STARTING,
    )
    file.beat("The broker\nis away\n")
    (found,) = celeriac_health.heartbeats(str(tmp_path))
    assert found.trouble == "The broker is away"
    file.end()
    file.end()
    assert files(tmp_path) == []


def test_a_heartbeat_that_was_removed_comes_back(tmp_path: Path) -> None:
    clock = Time()
    file = HeartbeatFile(tmp_path, "broker", "mails@web", clock)
    file.beat("")
    files(tmp_path)[0].unlink()
    clock.now += EVERY
    file.beat("")
    file.beat("")
    assert [each.name for each in celeriac_health.heartbeats(str(tmp_path))] == ["mails@web"]


def test_a_worker_removes_what_the_dead_have_left(tmp_path: Path) -> None:
    """Its own from before it was killed, others' that are long gone; never another project's, nor a living one."""
    for broker, name, seconds in (
        ("broker", "mails@web", 30),
        ("broker", "gone@web", 100),
        ("broker", "lives@web", 1),
        ("other", "mails@web", 100),
    ):
        before = set(files(tmp_path))
        HeartbeatFile(tmp_path, broker, name).beat("")
        age((set(files(tmp_path)) - before).pop(), seconds)
    HeartbeatFile(tmp_path, "broker", "mails@web").beat("")
    found = [(each.broker, each.name) for each in celeriac_health.heartbeats(str(tmp_path))]
    assert sorted(found) == [("broker", "lives@web"), ("broker", "mails@web"), ("other", "mails@web")]
    mine = [each for each in celeriac_health.heartbeats(str(tmp_path)) if each.broker == "broker"]
    assert min(each.age for each in mine if each.name == "mails@web") < 30


def test_few_of_many_that_are_missed_are_named_and_after_a_day_none(tmp_path: Path) -> None:
    for number in range(7):
        before = set(files(tmp_path))
        HeartbeatFile(tmp_path, f"broker-{number}", f"w{number}@web").beat("")
        age((set(files(tmp_path)) - before).pop(), 100 if number < 6 else 90_000)
    found = celeriac_health.heartbeats(str(tmp_path))
    healthy, text = celeriac_health.verdict(found, str(tmp_path), None, 60.0)
    assert not healthy
    assert text.count("@web") == 3 and " and 3 more; the limit is 60 s." in text


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    (tmp_path / "state").write_text("not a folder")
    file = HeartbeatFile(tmp_path / "state", "broker", "mails@web", clock)
    for _ in range(3):
        file.beat("")
        clock.now += EVERY
    file.end()
    (record,) = caplog.records
    assert record.getMessage().startswith("`celeriac health` cannot see this worker: ")


def test_what_is_no_heartbeat_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.heartbeat").write_bytes(b"\xff\x00garbage")
    (tmp_path / "b.heartbeat").write_text("name\nno number\n\n\n")
    (tmp_path / "c.heartbeat").mkdir()
    (tmp_path / "d.flight").write_text("mails@web\n1\n\n\n")
    assert celeriac_health.heartbeats(str(tmp_path)) == []
    assert celeriac_health.heartbeats(str(tmp_path / "none")) == []


# -- the command


def beating(folder: Path, name: str, seconds: float = 0.0, trouble: str = "") -> None:
    """Have a worker's heartbeat in `folder`, that old."""
    before = set(files(folder))
    HeartbeatFile(folder, "broker", name).beat(trouble)
    age((set(files(folder)) - before).pop(), seconds)


def timeless(text: str) -> str:
    """Return a line with N for how long ago something was."""
    return re.sub(r"\b(of|for) \d+(\.\d)? s\b", r"\1 N s", text)


def asked(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, str]:
    """Ask by the whole program, and by the short way; both must say the same."""
    capsys.readouterr()
    given = ["--state-dir", str(folder), *words]
    status = main(["health", *given])
    by_program = status, timeless(capsys.readouterr().out)
    plain = celeriac_health.plainly(given)
    assert plain is not None
    by_door = celeriac_health.check(*plain), timeless(capsys.readouterr().out)
    if "--json" not in words:
        assert by_door == by_program
    return by_door


def test_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = asked(capsys, tmp_path)
    assert status == 1
    assert line.startswith(
        f"There is no worker's heartbeat in {tmp_path}. Does one run on this host, as this user?"
    )
    beating(tmp_path, "mails@web", 12)
    assert asked(capsys, tmp_path) == (0, "mails@web is ready. Heard of N s ago.\n")
    status, line = asked(capsys, tmp_path, "--max-age", "10")
    assert (status, line) == (
        1,
        f"Not heard of: mails@web (process {os.getpid()}) for N s; the limit is 10 s.\n",
    )
    beating(tmp_path, "shop@web", 0, "It is starting.")
    assert asked(capsys, tmp_path, "--worker=mails") == (0, "mails@web is ready. Heard of N s ago.\n")
    status, line = asked(capsys, tmp_path, "--worker", "shop@web")
    assert (status, line.startswith("shop@web lives, but is not ready: It is starting. Heard of N s")) == (
        0,
        True,
    )
    text = "2 workers live, all heard of within 60 s. Not ready: shop@web.\n"
    assert asked(capsys, tmp_path) == (0, text)
    assert asked(capsys, tmp_path, "--worker", "x") == (
        1,
        f"There is no heartbeat of x in {tmp_path}, but of: mails@web, shop@web.\n",
    )
    status, line = asked(capsys, tmp_path, "--max-age", "5", "--json")
    told = json.loads(line)
    assert (status, told["healthy"], [each["name"] for each in told["workers"]]) == (
        1,
        False,
        ["mails@web", "shop@web"],
    )


def test_what_is_not_plain_goes_to_the_whole_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for words in (
        ["--help"],
        ["--max-age"],
        ["--max-age", "soon"],
        ["--max-age", "0"],
        ["--max-age", "nan"],
        ["--worker", "--json"],
        ["-A", "shop"],
        ["--wroker", "x"],
        ["--queue", "celery"],
    ):
        assert celeriac_health.plainly(words) is None, words
    assert celeriac_health.plainly(["--json", "--max-age=5"]) == (None, 5.0, None, True)
    assert main(["health", "--max-age", "soon"]) == 2
    assert "'soon' is not a valid float" in capsys.readouterr().err
    monkeypatch.setenv("CELERIAC_HEALTH_STATE_DIR", str(tmp_path))
    assert celeriac_health.plainly([]) is None
    assert main(["health"]) == 1
    assert str(tmp_path) in capsys.readouterr().out


def test_where_the_state_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Workers and the command agree."""
    monkeypatch.delenv("CELERIAC_STATE_DIR", raising=False)
    assert str(state_dir(None)) == celeriac_health.state_dir()
    assert celeriac_health.state_dir().endswith(f"/celeriac-{os.getuid()}")
    monkeypatch.setenv("CELERIAC_STATE_DIR", str(tmp_path / "here"))
    assert str(state_dir(None)) == celeriac_health.state_dir() == str(tmp_path / "here")
    assert state_dir(str(tmp_path / "there")) == tmp_path / "there", "a setting wins"


PROGRAM = """
import sys
before = set(sys.modules)
from celeriac_health import main
status = main()
print(status, *sorted(set(sys.modules) - before))
"""


def test_it_imports_nothing(tmp_path: Path) -> None:
    """That is what makes it quick; how quick, a test on a busy machine cannot say."""
    beating(tmp_path, "mails@web")
    words = [
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM,
        "health",
        "--worker",
        "mails",
        "--state-dir",
        str(tmp_path),
    ]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=True, env=environment)
    line, imported = done.stdout.splitlines()
    assert line.startswith("mails@web is ready.")
    assert imported == "0 celeriac_health"


# -- what is counted


def counted(tally: Tally | Tallies) -> dict[tuple[str, str, str], int]:
    return {key: counts.count for key, counts in tally.read().items()}


def test_a_tally_is_read_by_another_process() -> None:
    all_of_them = Tallies()
    tally, other = all_of_them.open(), all_of_them.open()
    pid = os.fork()
    if pid == 0:
        tally.add("add", "celery", states.SUCCESS, 0.02, 3.0)
        tally.add("add", "celery", states.SUCCESS, 7000.0, 0.0)
        tally.add("add", "celery", states.REVOKED)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    other.add("add", "celery", states.SUCCESS, 0.005, 0.0051)
    expected = {("add", "celery", "SUCCESS"): 3, ("add", "celery", "REVOKED"): 1}
    assert counted(all_of_them) == expected
    all_of_them.retire(tally)
    assert counted(all_of_them) == expected, "the dead have not taken their counts along"
    counts = all_of_them.read()["add", "celery", "SUCCESS"]
    assert (round(counts.ran, 3), round(counts.waited, 4)) == (7000.025, 3.0051)
    assert counts.runs == [1, 0, 1, *[0] * (len(BOUNDS) - 3), 1]
    assert counts.waits[:2] == [1, 1] and sum(counts.waits) == 3
    assert sum(all_of_them.read()["add", "celery", "REVOKED"].runs) == 0


def test_a_tally_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    for number in range(tallies.ROWS + 10):
        tally.add(f"task-{number}", "celery", states.SUCCESS, 0.1, 0.1)
    tally.add("x" * 1000, "celery", states.SUCCESS)
    found = counted(tally)
    assert len(found) == tallies.ROWS + 1
    assert found[tallies.OTHERS] == 11
    tally.close()


def test_what_a_run_counts_as() -> None:
    app = Celeriac("shop", broker="memory://")

    @app.task(name="shop.add")
    def add() -> None: ...

    def run(task: str, **headers: object) -> Run:
        message = Message(Headers(task, "1", **headers), Properties(timestamp=1000.0), b"")  # type: ignore[arg-type]
        return Run(1, "celery", message, app.tasks.get(task), started=1005.0)

    tally = Tally()
    done = Outcome(states.SUCCESS, finished=1006.0)
    tally.count(run("shop.add"), done)
    tally.count(run("shop.add", eta="1970-01-01T00:16:44+00:00"), done)  # 1004
    tally.count(run("shop.add", eta="nonsense"), done)
    tally.count(run("made up"), Outcome(states.FAILURE, finished=1006.0))
    never = run("shop.add")
    never.started = 0.0
    tally.count(never, Outcome(states.REVOKED, finished=1006.0))
    found = tally.read()
    assert counted(tally) == {
        ("shop.add", "celery", "SUCCESS"): 3,
        (tallies.UNKNOWN, "celery", "FAILURE"): 1,
        ("shop.add", "celery", "REVOKED"): 1,
    }
    success = found["shop.add", "celery", "SUCCESS"]
    assert (success.ran, success.waited, sum(success.waits)) == (3.0, 6.0, 2)
    assert found["shop.add", "celery", "REVOKED"].ran == 0.0


# -- what is told


def health_of(folder: Path, clock: Time, **settings: object) -> Health:
    app = Celeriac("shop", broker="memory://")
    app.conf.update(**settings)
    return Health(app, WorkerOptions(hostname="mails@web", queues=("celery",)), (folder, "broker"), 2, clock)


def test_live_and_ready(tmp_path: Path) -> None:
    clock = Time()
    health = health_of(tmp_path, clock, worker_health_port=1)
    health.open = lambda: None  # type: ignore[method-assign]
    assert health.answer("/live").status == 200
    assert (health.answer("/ready").status, health.answer("/ready").body) == (503, b"It is starting.\n")
    health.turn("")
    assert [health.answer(path).status for path in ("/live", "/ready")] == [200, 200]
    health.turn(STOPPING)
    assert [health.answer(path).status for path in ("/live", "/ready")] == [200, 503]
    health.turn("")
    clock.now += 61
    assert [health.answer(path).status for path in ("/live", "/ready")] == [503, 503]
    assert health.answer("/live").body == b"It has not moved for 61 s.\n"
    assert health.answer("/").status == 404
    health.close()


def test_without_a_port_nothing_is_counted(tmp_path: Path) -> None:
    health = health_of(tmp_path, Time())
    assert health.metrics is None
    assert health.tally() is None
    health.retire(None)
    assert health.counting(print) is print
    health.close()


def test_without_prometheus_client_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    health = health_of(tmp_path, Time(), worker_health_port=1)
    answer = health.answer("/metrics")
    assert answer.status == 501
    assert b"pip install 'celeriac[prometheus]'" in answer.body
    assert health.answer("/live").status == 200
    assert health.tally() is None
    health.close()


def worker_like(**facts: object) -> SimpleNamespace:
    """What `unready` looks at."""
    child = SimpleNamespace(recorder=SimpleNamespace(ready=True), notice=notice(""))
    known = {
        "stopping": False,
        "announced": True,
        "caretaker": SimpleNamespace(trouble=""),
        "children": [child],
        "start_at": {},
    }
    return SimpleNamespace(**(known | facts))


def notice(text: str) -> Notice:
    """Return what a child has to say."""
    written = Notice()
    written.write(text)
    return written


def test_when_a_worker_is_not_ready() -> None:
    assert unready(worker_like(), 10.0) == ""  # type: ignore[arg-type]
    assert unready(worker_like(start_at={0: 10.0}, children=[]), 10.0) == ""  # type: ignore[arg-type]
    assert unready(worker_like(stopping=True), 10.0) == STOPPING  # type: ignore[arg-type]
    away = SimpleNamespace(trouble="Redis is away.")
    assert unready(worker_like(caretaker=away), 10.0) == "Redis is away."  # type: ignore[arg-type]
    child = SimpleNamespace(recorder=SimpleNamespace(ready=True), notice=notice("The store is away."))
    assert unready(worker_like(children=[child]), 10.0) == "The store is away."  # type: ignore[arg-type]
    text = unready(worker_like(announced=False, start_at={1: 0.0}), 10.0)  # type: ignore[arg-type]
    assert text == "It is starting. Of 2 processes 1 are ready."
    text = unready(worker_like(start_at={1: 14.0}), 10.0)  # type: ignore[arg-type]
    assert text == "A process died as it started; it is tried again in 4.0 s."


class Waiting:
    """An outbox in which three tasks wait."""

    def keep(self, publications: object, told: object) -> None:
        raise NotImplementedError

    def sweep(self) -> bool:
        raise NotImplementedError

    def waiting(self) -> int:
        return 3


def beats_run(entry: str) -> Run:
    """A run of what beat has sent for an entry."""
    message = Message(Headers("add", "1"), Properties(), b"", custom={"periodic_task_name": entry})
    app = Celeriac("shop", broker="memory://", set_as_current=False)
    return Run(1, "celery", message, app.task(name="add")(lambda: None), started=1005.0)


def test_when_an_entry_of_the_schedule_succeeded_last() -> None:
    all_of_them = Tallies()
    for moment in (1006.0, 1010.0, 1008.0):
        tally = all_of_them.open()
        tally._note_entry("nightly", moment)
        tally.count(beats_run("nightly"), Outcome(states.FAILURE, finished=moment + 50))
        tally.count(beats_run("nightly"), Outcome(states.SUCCESS, finished=moment))
        assert tally._used[0] == 3
        tally.count(beats_run(""), Outcome(states.SUCCESS, finished=moment))
        tally.count(beats_run("x" * 1000), Outcome(states.SUCCESS, finished=moment))
        all_of_them.retire(tally)
    found = all_of_them.read()
    assert found["nightly", "", tallies.ENTRY].when == 1010.0
    assert [key for key in found if key[2] == tallies.ENTRY] == [("nightly", "", tallies.ENTRY)]
    assert tallies.OTHERS not in found


def test_flowers_names(tmp_path: Path) -> None:
    """As its documentation has them: names, kinds and labels."""
    pytest.importorskip("prometheus_client")
    app = Celeriac("shop", broker="memory://")
    metrics = Metrics("mails@web", app.broker, ("celery",), 1, Time(), flowers=True)
    tally = metrics.tallies.open()
    for queue in ("celery", "mails"):
        tally.add("add", queue, states.SUCCESS, 0.2, 0.02)
    tally.add("add", "celery", states.FAILURE, 7.0, 0.02)
    tally.add("add", "celery", states.REVOKED)
    lines = [line for line in metrics.text().decode().splitlines() if "flower_" in line]
    assert {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")} == {
        "flower_events_total": "counter",
        "flower_task_runtime_seconds": "histogram",
        "flower_worker_online": "gauge",
        "flower_worker_number_of_currently_executing_tasks": "gauge",
    }
    counted = {"received": 4, "started": 3, "succeeded": 2, "failed": 1, "revoked": 1}
    for line in (
        *(
            f'flower_events_total{{task="add",type="task-{name}",worker="mails@web"}} {count}.0'
            for name, count in counted.items()
        ),
        'flower_task_runtime_seconds_count{task="add",worker="mails@web"} 2.0',
        'flower_task_runtime_seconds_sum{task="add",worker="mails@web"} 0.4',
        'flower_worker_online{worker="mails@web"} 1.0',
        'flower_worker_number_of_currently_executing_tasks{worker="mails@web"} 0.0',
    ):
        assert line in lines, line


class Full(MemoryBroker):
    """A broker that takes no more for one queue."""

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        if any(each.queue == "full" for each in publications):
            raise BrokerError("There is no room.")
        super().publish(publications, timeout)


def test_what_tasks_could_not_send_is_counted(tmp_path: Path) -> None:
    """Also what a batch or `delay` on any thread could not; what is sent elsewhere is not this worker's to tell."""
    pytest.importorskip("prometheus_client")
    app = Celeriac("shop", broker="memory://", worker_state_dir=str(tmp_path), worker_health_port=free_port())

    @app.task(name="shop.mail")
    def mail() -> None: ...

    @app.task(name="shop.order")
    def order() -> str:
        for _ in range(2):
            with pytest.raises(BrokerError):
                mail.apply_async(queue="full")
        with pytest.raises(BrokerError), app.batch():
            mail.apply_async(queue="full")
            mail.delay()
        return "ordered"

    store = MemoryStore(f"memory://{tmp_path}")
    with app.lent(Full(f"memory://{tmp_path}"), store, time.time):
        with working(app) as worker:
            assert order.delay().get(PATIENCE) == "ordered"
            metrics = worker.health.metrics
            assert metrics is not None
            lines = metrics.text().decode().splitlines()
        with pytest.raises(BrokerError):
            mail.apply_async(queue="full")
    assert 'celeriac_enqueue_errors_total{queue="full",task="shop.mail"} 3.0' in lines
    assert 'celeriac_enqueue_errors_total{queue="celery",task="shop.mail"} 1.0' in lines
    assert app.hooks.not_sent == ()


def test_how_late_the_schedule_is() -> None:
    """It grows by itself where no beat is; nobody is told of one that has long been given up."""
    app = Celeriac("shop", broker="memory://late")
    now = app.broker.now()
    assert lateness(app.broker) is None
    one, other = Pulse(app.broker), Pulse(app.broker)
    one.note(now + 60)
    assert lateness(app.broker) == 0.0
    other.note(now - 60)
    assert 60 <= (lateness(app.broker) or 0) < 160
    one.note(now + 60)  # refused, for the other has noted something
    assert 60 <= (lateness(app.broker) or 0) < 160
    one.note(now - 8 * 86400)
    backlog = Backlog(app.broker, ())
    backlog.look()
    assert "celeriac_scheduler_lag_seconds" not in [gauge.name for gauge in backlog.gauges()]


def test_the_names_of_the_metrics(tmp_path: Path) -> None:
    """They are promised: dashboards and alerts are written for them."""
    pytest.importorskip("prometheus_client")
    clock = Time()
    app = Celeriac("shop", broker="memory://metrics", backend="memory://metrics")
    app.broker.register("mails@web/0-1", 600.0, ["celery"])
    app.broker.register("mails@web/1-2", 600.0, ["celery"])
    app.broker.register("shop@web/0-3", 600.0, ["celery", "slow"])
    message = Message(Headers("shop.add", "1"), Properties(timestamp=time.time() - 3600), b"")
    app.broker.publish([Publication("1", "shop.add", "slow", protocol.encode(message, "slow"))], 1.0)
    app.broker.publish([Publication("2", "shop.add", "odd", b"garbage")], 1.0)
    assert app.store is not None
    app.store.store([Record("1", states.SUCCESS)])
    Pulse(app.broker).note(app.broker.now() - 30)
    metrics = Metrics("mails@web", app.broker, ("celery",), 1, clock, Waiting(), app.store)
    tally = metrics.tallies.open()
    tally.add('shop."add"', "celery", states.SUCCESS, 0.2, 0.02)
    tally.add(tallies.UNKNOWN, "celery", states.FAILURE)
    tally.not_sent([Publication("3", "shop.mail", "mails", b"")])
    tally.count(beats_run("every\nnight"), Outcome(states.SUCCESS, finished=1006.0))
    recorder = Recorder.create(tmp_path / "a.flight", "mails@web/0-1", "broker", 3)
    recorder.set_ready()
    recorder.begin(0, 7, 1.0)
    recorder.begin(2, 8, 1.0)
    metrics.look([recorder], reachable=True)
    assert b"celeriac_queue_waiting{" not in metrics.text(), "nobody had asked yet"
    clock.now += 5
    metrics.look([recorder], reachable=True)
    lines = metrics.text().decode().splitlines()
    assert {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")} == {
        "celeriac_worker_up": "gauge",
        "celeriac_slots": "gauge",
        "celeriac_queue_waiting": "gauge",
        "celeriac_queue_oldest_seconds": "gauge",
        "celeriac_queue_workers": "gauge",
        "celeriac_outbox_waiting": "gauge",
        "celeriac_scheduler_lag_seconds": "gauge",
        "celeriac_schedule_last_success_timestamp_seconds": "gauge",
        "celeriac_unknown_tasks": "gauge",
        "celeriac_enqueue_errors_total": "counter",
        "celeriac_rows": "gauge",
        "celeriac_tasks_total": "counter",
        "celeriac_task_run_seconds": "histogram",
        "celeriac_task_wait_seconds": "histogram",
    }
    for line in (
        'celeriac_worker_up{worker="mails@web"} 1.0',
        'celeriac_slots{state="running"} 1.0',
        'celeriac_slots{state="free"} 0.0',
        'celeriac_slots{state="coroutine"} 1.0',
        'celeriac_queue_waiting{queue="celery"} 0.0',
        'celeriac_queue_waiting{queue="slow"} 1.0',
        'celeriac_queue_oldest_seconds{queue="celery"} 0.0',
        'celeriac_queue_oldest_seconds{queue="odd"} 0.0',
        'celeriac_queue_workers{queue="celery"} 2.0',
        'celeriac_queue_workers{queue="slow"} 1.0',
        "celeriac_outbox_waiting 3.0",
        'celeriac_schedule_last_success_timestamp_seconds{schedule="every night"} 1006.0',
        'celeriac_unknown_tasks{queue="celery"} 1.0',
        'celeriac_enqueue_errors_total{queue="mails",task="shop.mail"} 1.0',
        'celeriac_rows{table="results"} 1.0',
        'celeriac_tasks_total{queue="celery",state="SUCCESS",task="shop.\\"add\\""} 1.0',
        'celeriac_task_run_seconds_bucket{le="0.1",queue="celery",task="shop.\\"add\\""} 0.0',
        'celeriac_task_run_seconds_bucket{le="0.25",queue="celery",task="shop.\\"add\\""} 1.0',
        'celeriac_task_run_seconds_bucket{le="+Inf",queue="celery",task="shop.\\"add\\""} 1.0',
        'celeriac_task_wait_seconds_sum{queue="celery",task="shop.\\"add\\""} 0.02',
    ):
        assert line in lines, line
    (oldest,) = (line for line in lines if line.startswith('celeriac_queue_oldest_seconds{queue="slow"}'))
    assert 3600 <= float(oldest.split()[-1]) < 3700
    (late,) = (line for line in lines if line.startswith("celeriac_scheduler_lag_seconds "))
    assert 30 <= float(late.split()[-1]) < 130
    assert not [line for line in lines if "(not sent)" in line or "(entry)" in line or "flower" in line]
    clock.now += 5
    metrics.look([recorder], reachable=False)
    assert b"\nceleriac_queue" not in metrics.text(), "what may be long past is not shown"
    recorder.remove()


def test_a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked of the broker: whether it is worked off in time."""
    (tmp_path / "health_project.py").write_text(
        f"from celeriac import Celeriac\napp = Celeriac('shop', broker='memory://{tmp_path.name}')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from health_project import app  # type: ignore[import-not-found]

    def ask(*words: str) -> tuple[int, str]:
        status = main(["-A", "health_project", "health", "--queue", "mails", *words])
        return status, capsys.readouterr().out

    def send(queue: str, sent: float | None) -> None:
        message = Message(Headers("shop.add", "1"), Properties(timestamp=sent), b"")
        app.broker.publish([Publication("1", "shop.add", queue, protocol.encode(message, queue))], 1.0)

    assert ask() == (0, "Nothing waits in mails.\n")
    send("other", time.time() - 9999)
    send("mails", None)
    assert ask() == (0, "1 wait in mails; since when, the next one does not say.\n")
    app.broker.purge(["mails"])
    send("mails", time.time() - 200)
    send("mails", time.time())
    status, line = ask()
    assert (status, timeless(line)) == (0, "2 wait in mails, the oldest for N s; the limit is 300 s.\n")
    assert ask("--max-oldest", "100")[0] == 1
    status, line = ask("--max-oldest", "100", "--json")
    told = json.loads(line)
    assert (status, told["healthy"], told["queue"], told["ready"]) == (1, False, "mails", 2)
    assert 200 <= told["oldest"] < 300
    assert main(["-A", "health_project", "health", "--queue", "mails", "--worker", "w"]) == 2
