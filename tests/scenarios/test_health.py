"""A worker's health from outside: over HTTP while tasks keep the interpreter's lock, and by `celeriac health`."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from celeriac.worker.tally import BOUNDS
from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import PATIENCE, Project, account, until
from tests.servers import free_port


def get(port: int, path: str) -> tuple[int, str]:
    """Ask as a probe does; return the status and what is said."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionResetError:
        if time.monotonic() - begun < 4:
            raise
    finally:
        connection.close()
    return get(port, path)  # who is halted for five seconds is not waited for


def wait_well(port: int) -> None:
    """Wait until the worker says that it is ready, which is a moment after its log does."""
    until(lambda: get(port, "/ready") == (200, "ok\n"), lambda: f"it is ready: {get(port, '/ready')}")


def value(page: str, name: str, **labels: str) -> float:
    """Return a metric's value from a page, 0 where it is not there."""
    for line in page.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if found is not None and dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")) == labels:
            return float(found[2])
    return 0.0


def celeriac_health(project: Project, *words: str) -> tuple[int, str]:
    """Run the command as a container would; return its status and its line."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        "from celeriac_health import main; raise SystemExit(main())",
    ]
    done = subprocess.run(
        [*command, "health", "--state-dir", str(project.folder / "state"), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert not done.stderr
    return done.returncode, done.stdout.strip()


@contextmanager
def asked_all_the_time(port: int, paths: tuple[str, ...]) -> Iterator[list[tuple[str, int]]]:
    """Ask again and again while the block runs; the list is of what was answered. Nothing may stay unanswered."""
    answers: list[tuple[str, int]] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            for path in paths:
                try:
                    answers.append((path, get(port, path)[0]))
                except BaseException as error:
                    failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()
    assert not failures


@pytest.mark.parametrize("place", ["sqlite", "redis", "postgres"])
def test_what_waits_is_counted(make_project: MakeProject, place: str) -> None:
    """Behind tasks that do not end, for it is looked at now and then."""
    pytest.importorskip("prometheus_client")
    project, port = make_project(place, **PATIENT), free_port()
    project.start("--health-port", str(port))
    project.client.send("work", [["a", 3600], ["b", 3600]])
    project.journal.wait_started("a")
    project.journal.wait_started("b")
    project.client.send("work", [[n] for n in range(20)])
    until(
        lambda: value(get(port, "/metrics")[1], "celeriac_queue_waiting", queue="celery") >= 20,
        "what waits is counted",
    )


@pytest.mark.parametrize("place", ["sqlite", "redis", "postgres"])
def test_it_answers_while_tasks_keep_the_lock(make_project: MakeProject, place: str) -> None:
    pytest.importorskip("prometheus_client")
    project, port = make_project(place, **PATIENT), free_port()
    with project.working("--health-port", str(port)) as worker, Gate(project) as gate:
        assert worker.said("Health is told on", str(port))
        wait_well(port)
        begun = time.monotonic()
        project.client.send("hold_till", [["a", gate.path], ["b", gate.path]])
        project.journal.wait_started("a")
        project.journal.wait_started("b")
        project.client.send("work", [[n] for n in range(20)])
        with asked_all_the_time(port, ("/live", "/ready", "/metrics")) as answers:
            until(
                lambda: value(get(port, "/metrics")[1], "celeriac_slots", state="running") == 2.0,
                "both processes are busy",
            )
            until(lambda: len(answers) > 30, "it answers while they keep the lock")
            assert len(project.journal.running()) == 2
            gate.open()
            project.client.wait_empty()
        most = time.monotonic() - begun
        assert {status for _, status in answers} == {200}
        until(lambda: wrong(get(port, "/metrics")[1]) == [], lambda: str(wrong(get(port, "/metrics")[1])))
        page = get(port, "/metrics")[1]
        labels = {"task": "jobs.tasks.hold_till", "queue": "celery"}
        took = [(run.end or 0.0) - run.start for key in "ab" for run in project.journal.of(key)]
        assert sum(took) <= value(page, "celeriac_task_run_seconds_sum", **labels) <= 2 * most
        for bound in BOUNDS:
            count = value(page, "celeriac_task_run_seconds_bucket", le=str(bound), **labels)
            assert 2 * (most <= bound) <= count <= sum(each <= bound for each in took), (bound, took, most)


def wrong(page: str) -> list[str]:
    """Return what a worker does not tell that has run 2 tasks that kept the lock and 20 others."""
    wanted = [
        (
            2.0,
            "celeriac_tasks_total",
            {"task": "jobs.tasks.hold_till", "queue": "celery", "state": "SUCCESS"},
        ),
        (20.0, "celeriac_tasks_total", {"task": "jobs.tasks.work", "queue": "celery", "state": "SUCCESS"}),
        (2.0, "celeriac_task_run_seconds_count", {"task": "jobs.tasks.hold_till", "queue": "celery"}),
        (20.0, "celeriac_task_wait_seconds_count", {"task": "jobs.tasks.work", "queue": "celery"}),
        (2.0, "celeriac_slots", {"state": "free"}),
        (1.0, "celeriac_worker_up", {"worker": f"celery@{socket.gethostname()}"}),
        (1.0, "celeriac_queue_workers", {"queue": "celery"}),
    ]
    told = [(value(page, name, **labels), count, name, labels) for count, name, labels in wanted]
    return [f"{name} {labels}: {has}" for has, count, name, labels in told if has != count]


def test_beat_results_and_unknown_tasks_are_told(make_project: MakeProject) -> None:
    """And Flower's names, where they are asked for."""
    pytest.importorskip("prometheus_client")
    schedule = {"often": {"task": "jobs.tasks.work", "schedule": 1.0, "args": ["often", 0.0]}}
    project, port = (
        make_project("sqlite", beat_schedule=schedule, worker_flower_metrics=True, **PATIENT),
        free_port(),
    )
    unknown = protocol.encode(Message(Headers("made.up", "u"), Properties(), b"[[],{},{}]"), "celery")
    begun = time.time()
    with project.working("-B", "--health-port", str(port)):
        project.client.ask("put", payloads=[unknown.hex()])
        # Results are counted when the page is first asked for, and then once a minute.
        done = project.client.send("work", [["once", 0.0]])
        until(lambda: any(project.client.ask("records", ids=done)), "a result is stored")

        def told() -> dict[str, float]:
            page, name = get(port, "/metrics")[1], f"celery@{socket.gethostname()}"
            return {
                "success": value(page, "celeriac_schedule_last_success_timestamp_seconds", schedule="often"),
                "unknown": value(page, "celeriac_unknown_tasks", queue="celery"),
                "rows": value(page, "celeriac_rows", table="results"),
                "beat": float("\nceleriac_scheduler_lag_seconds " in page),
                "flower": value(
                    page, "flower_events_total", task="jobs.tasks.work", type="task-succeeded", worker=name
                ),
            }

        until(lambda: all(told().values()), lambda: f"all is told: {told()}")
        assert told()["unknown"] == 1.0
        assert told()["success"] > begun - 60
        assert get(port, "/metrics")[1].count("celeriac_enqueue_errors_total{") == 0


@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_forks_beside_the_thread_harm_nobody(make_project: MakeProject, place: str) -> None:
    """A child for each task, and somebody who asks without a pause: every fork finds the server at work."""
    pytest.importorskip("prometheus_client")
    project, port = make_project(place, **PATIENT), free_port()
    keys: list[int] = []
    with project.working("--health-port", str(port), "--max-tasks-per-child", "1") as worker:
        wait_well(port)
        with asked_all_the_time(port, ("/metrics", "/ready", "/live")) as answers:
            while not keys or len(answers) <= 30:
                more = list(range(len(keys), len(keys) + 60))
                project.client.send("work", [[key] for key in more])
                project.client.wait_empty(200)
                keys += more
        account(project.journal, keys)
        assert len({run.pid for key in keys for run in project.journal.of(key)}) == len(keys)
        assert {status for _, status in answers} == {200}

        def done() -> float:
            labels = {"task": "jobs.tasks.work", "queue": "celery", "state": "SUCCESS"}
            return value(get(port, "/metrics")[1], "celeriac_tasks_total", **labels)

        until(lambda: done() == len(keys), lambda: f"the dead have not taken their counts along: {done()}")
        until(lambda: len(worker.children()) == 2, "there are two children")
        for pid in worker.children():
            assert not listening(pid, port), "a child has inherited the socket"
        assert listening(worker.pid, port)


def listening(pid: int, port: int) -> bool:
    """Whether a process holds the socket that listens on `port`."""
    inodes = {
        fields[9]
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[3] == "0A" and int(fields[1].partition(":")[2], 16) == port
    }
    assert inodes
    links = set()
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                links.add(str(each.readlink()))
    return not links.isdisjoint(f"socket:[{inode}]" for inode in inodes)


def test_ready_says_why_not(make_project: MakeProject) -> None:
    project, port = make_project("redis", **PATIENT), free_port()
    worker = project.start("--health-port", str(port))
    wait_well(port)
    with Gate(project) as gate:
        project.client.send("work_till", [["long", gate.path]])
        project.journal.wait_started("long")
        worker.signal(signal.SIGTERM)
        until(lambda: get(port, "/ready") == (503, "It is stopping.\n"), "it says that it is stopping")
        assert get(port, "/live") == (200, "ok\n")
    assert worker.wait_end() == 0
    with pytest.raises(ConnectionRefusedError):
        get(port, "/live")


def test_a_broker_that_is_away(make_project: MakeProject, request: pytest.FixtureRequest) -> None:
    """Not a reason to be started anew, so it lives; but it is not ready, at its start and later."""
    project, port = make_project("redis"), free_port()
    server = request.getfixturevalue("redis")
    server.kill()
    try:
        worker = project.start("--health-port", str(port), ready=False)
        worker.wait_said("The worker starts when it is there.")
        assert get(port, "/live") == (200, "ok\n")
        until(lambda: str(server.port) in get(port, "/ready")[1], "it says what it cannot reach")
        assert get(port, "/ready")[0] == 503
    finally:
        server.start()
    worker.wait_ready()
    wait_well(port)
    server.kill()
    try:
        until(lambda: get(port, "/ready")[0] == 503, "it is not ready any more")
        assert get(port, "/live")[0] == 200
        until(lambda: "lives, but is not ready: " in celeriac_health(project)[1], "its file says so too")
        assert celeriac_health(project)[0] == 0
    finally:
        server.start()
    wait_well(port)
    assert worker.stop() == 0


def test_a_port_in_use_is_an_error(make_project: MakeProject) -> None:
    project = make_project("sqlite", **PATIENT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = project.start("--health-port", str(port), ready=False)
        assert worker.wait_end() == 3
    (line,) = worker.said("The worker's health cannot be told")
    assert f"http://127.0.0.1:{port}: Address already in use. Choose others with --health-port" in line
    assert not worker.said("Traceback")


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools(make_project: MakeProject, pool: str) -> None:
    pytest.importorskip("prometheus_client")
    project, port = make_project("sqlite", **PATIENT), free_port()
    with project.working("-P", pool, worker_health_port=port):
        project.client.send("work", [[n] for n in range(5)])
        project.client.send("sleep", [[f"c-{n}"] for n in range(5)])
        project.client.wait_empty()

        def counted() -> float:
            page = get(port, "/metrics")[1]
            return sum(
                value(
                    page, "celeriac_tasks_total", task=f"jobs.tasks.{name}", queue="celery", state="SUCCESS"
                )
                for name in ("work", "sleep")
            )

        until(lambda: counted() == 10.0, lambda: f"all are counted: {counted()}")
        wait_well(port)


def test_lost_and_ended_tasks_are_counted(make_project: MakeProject) -> None:
    pytest.importorskip("prometheus_client")
    project, port = make_project("sqlite", **PATIENT), free_port()
    with project.working("--health-port", str(port)):
        project.client.send("spin", [["endless"]], time_limit=0.5)
        labels = {"task": "jobs.tasks.spin", "queue": "celery", "state": "FAILURE"}
        until(
            lambda: value(get(port, "/metrics")[1], "celeriac_tasks_total", **labels) == 1.0,
            "the task that was ended is counted",
        )


# -- celeriac health


def test_the_command_sees_life_and_death(make_project: MakeProject) -> None:
    project = make_project("sqlite", **PATIENT)
    status, line = celeriac_health(project)
    assert (status, line.startswith("There is no worker's heartbeat in")) == (1, True)
    worker = project.start("-n", "mails@%h", "-c", "1")
    name = f"mails@{socket.gethostname()}"
    until(lambda: f"{name} is ready." in celeriac_health(project, "--worker", "mails")[1], "it is ready")
    status, line = celeriac_health(project, "--worker", "mails", "--max-age", "60")
    assert (status, line.startswith(f"{name} is ready.")) == (0, True), line
    with Gate(project) as gate:
        project.client.send("hold_till", [["long", gate.path]])
        project.journal.wait_started("long")
        (file,) = (project.folder / "state").glob("*.heartbeat")
        beats = [file.stat().st_mtime]
        for _ in range(2):
            until(lambda: file.stat().st_mtime > beats[-1], "its heart beats while the task keeps the lock")
            beats.append(file.stat().st_mtime)
            status, line = celeriac_health(project, "--json", "--max-age", "60")
            told = json.loads(line)
            assert (status, told["healthy"]) == (0, True), told
            assert [(each["name"], each["pid"]) for each in told["workers"]] == [(name, worker.pid)]
        assert project.journal.running()
    project.client.wait_empty()
    status, line = celeriac_health(project, "--worker", "other")
    assert (status, line.endswith(f"but of: {name}.")) == (1, True), line
    worker.signal(signal.SIGSTOP)
    until(lambda: celeriac_health(project, "--max-age", "1")[0] == 1, "a supervisor that hangs is seen")
    worker.signal(signal.SIGCONT)
    until(lambda: celeriac_health(project, "--max-age", "1.9")[0] == 0, "it is back")
    worker.kill_tree()
    until(lambda: celeriac_health(project, "--max-age", "1")[0] == 1, "one that was killed is seen")
    with project.working("-n", "mails@%h"):
        until(lambda: f"{name} is ready." in celeriac_health(project)[1], "it is ready")
        status, line = celeriac_health(project, "--max-age", "60")
        assert (status, "is ready" in line) == (0, True), "the one that was killed counts no more"
    assert celeriac_health(project)[0] == 1
    assert not list((project.folder / "state").glob("*.heartbeat"))
