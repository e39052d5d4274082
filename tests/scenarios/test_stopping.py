"""Workers are stopped by signals: what runs is finished, the rest goes back, nothing is lost and nothing repeated."""

import random
import signal
import time

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Kill, Project, Worker, account, until, wait
from tests.size import size


def stop(worker: Worker, number: int) -> None:
    """Stop a worker in one of the ways in which they are stopped: by a supervisor of processes, a shell, Ctrl-C."""
    (
        lambda: worker.signal(signal.SIGTERM),
        lambda: worker.signal_group(signal.SIGTERM),
        lambda: worker.signal_group(signal.SIGINT),
    )[number % 3]()


@pytest.mark.slow
@pytest.mark.scenario("deploys")
@pytest.mark.timeout(size(600, 900))
@pytest.mark.parametrize(
    ("pool", "place", "stops"),
    [
        ("prefork", "sqlite", size(8, 50)),
        ("prefork", "redis", size(8, 50)),
        ("prefork", "postgres", size(3, 50)),
        ("threads", "redis", size(3, 10)),
        ("solo", "sqlite", size(3, 10)),
    ],
)
def test_stopping_again_and_again_under_load(
    make_project: MakeProject, pool: str, place: str, stops: int
) -> None:
    project = make_project(place, **PATIENT)
    project.client.begin("work", range(1_000_000), 0.003, pause=0.003)
    took: list[float] = []
    for number in range(stops):
        worker = project.start("-P", pool)
        project.journal.wait_count(len(project.journal.done()) + random.randrange(20, 150))
        wait(size(0.0, 3.0))
        begun = time.monotonic()
        stop(worker, number)
        assert worker.wait_end() == 0, worker.log[-3000:]
        took.append(time.monotonic() - begun)
        assert worker.said("has stopped.") and not worker.said("Traceback") and not worker.said("lease")
        depths = project.client.ask("depths")
        assert depths["in_flight"] == 0, "what it held went back"
    sent = project.client.finish(stop=True)
    with project.working("-P", pool):
        project.client.wait_empty()
    print(f"{len(sent.accepted)} tasks, {stops} stops, which took {max(took):.2f} s at most")
    assert account(project.journal, sent.accepted) == []


@pytest.mark.parametrize(
    ("pool", "place"),
    [("prefork", "sqlite"), ("prefork", "redis"), ("threads", "redis"), ("solo", "sqlite")],
)
def test_a_second_signal_interrupts_and_puts_back_uncounted(
    make_project: MakeProject, pool: str, place: str
) -> None:
    project = make_project(place, **PATIENT)
    gate = Gate(project)
    (task_id,) = project.client.send("loop_till", [["long", gate.path]])
    worker = project.start("-P", pool)
    project.journal.wait_started("long")
    # Two in the same moment, as `timeout` sends one to the process and one to its group, are one stop.
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        worker.signal(number)
    worker.wait_said("finishing what runs")
    wait(0.5)  # what comes later is a second one
    assert worker.process.poll() is None
    worker.signal(signal.SIGTERM)
    assert worker.wait_end() == 1
    assert project.client.ask("depths") == {"ready": 1, "scheduled": 0, "in_flight": 0}
    gate.open()
    with project.working("-P", pool):
        project.client.wait_empty()
    first, second = project.journal.of("long")
    assert first.end is None and second.end is not None and second.losses == 0
    (record,) = project.client.records([task_id])
    assert (record["state"], record["losses"]) == ("SUCCESS", 0)


@pytest.mark.scenario("c")
@pytest.mark.parametrize("place", ["sqlite", "redis", "postgres"])
def test_long_tasks_are_finished_unless_the_stop_is_cut_short(make_project: MakeProject, place: str) -> None:
    """SIGTERM to the supervisor and to the whole group; and SIGKILL while it waits, as after a grace period."""
    project = make_project(place, **PATIENT)
    kills: list[Kill] = []
    keys: list[str] = []
    for number, cut_short in enumerate((False, False, True)):
        gate = Gate(project, f"gate-{number}")
        keys += (now := [f"long-{number}-{n}" for n in range(4)])
        ids = project.client.send("work_till", [[key, gate.path] for key in now])
        # A grace period that is over in ten minutes is not waited out.
        worker = project.start(worker_soft_shutdown_timeout=600.0 if number else 0.0)
        until(lambda: len(project.journal.running()) == 2, "two run")
        stop(worker, number)
        worker.wait_said("finishing what runs")
        wait(size(0.2, 5.0))
        if cut_short:
            kills.append(worker.kill_tree())
            gate.open()
        else:
            gate.open()
            assert worker.wait_end() == 0
            assert project.client.ask("depths") == {"ready": 2, "scheduled": 0, "in_flight": 0}
        with project.working():
            project.client.wait_empty()
    hit = account(project.journal, keys, kills)
    assert len(hit) == 2, "those that ran when it was cut short"
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_grace_period_s_end_interrupts_what_runs(make_project: MakeProject, pool: str) -> None:
    project = make_project("sqlite", worker_soft_shutdown_timeout=1.0, **PATIENT)
    gate = Gate(project)
    project.client.send("work", [["long", 3600]])
    project.client.send("work_till", [["short", gate.path]])
    worker = project.start("-P", pool)
    for key in ("long", "short"):
        project.journal.wait_started(key)
    begun = time.monotonic()
    worker.signal(signal.SIGTERM)
    worker.wait_said("SIGTERM: finishing what runs, 1 s at most")
    gate.open()
    assert worker.wait_end() == 1
    assert time.monotonic() - begun > 0.9
    # On a machine that is slow enough the short one may be interrupted, too.
    done = project.journal.done()
    assert done <= {"short"}
    depths = project.client.ask("depths")
    assert depths["scheduled"] == depths["in_flight"] == 0
    assert depths["ready"] in (2 - len(done), 2)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_coroutines_are_finished_too(make_project: MakeProject, pool: str) -> None:
    project = make_project("redis", **PATIENT)
    gate = Gate(project)
    keys = [f"c-{n}" for n in range(100)]
    project.client.send("sleep_till", [[key, gate.path] for key in keys])
    worker = project.start("-P", pool)
    until(lambda: len(project.journal.running()) > 20, "coroutines run side by side")
    worker.signal(signal.SIGTERM)
    worker.wait_said("finishing what runs")
    gate.open()
    assert worker.wait_end() == 0
    assert not project.journal.running()
    with project.working("-P", pool):
        project.client.wait_empty()
    assert account(project.journal, keys) == []


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_programs_started_by_tasks_can_be_ended_as_anywhere_else(
    make_project: MakeProject, pool: str
) -> None:
    """A child leaves the signals to its supervisor, but must not have them ignored by what it starts."""
    project: Project = make_project("sqlite", **PATIENT)
    (task_id,) = project.client.send("run_program", [["program"]])
    with project.working("-P", pool):
        project.client.wait_empty()
    assert project.client.records([task_id])[0]["result"] == str(-signal.SIGTERM)
