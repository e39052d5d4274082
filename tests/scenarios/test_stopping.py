"""Workers are stopped by signals: what runs is finished, the rest goes back, nothing is lost and nothing repeated."""

import random
import signal
import time

import pytest

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
@pytest.mark.timeout(size(120, 900))
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
    project = make_project(place)
    project.client.begin("work", range(1_000_000), 0.003, pause=0.003)
    for number in range(stops):
        worker = project.start("-P", pool)
        project.journal.wait_count(len(project.journal.done()) + random.randrange(20, 150))
        wait(size(0.0, 3.0))
        begun = time.monotonic()
        stop(worker, number)
        assert worker.wait_end() == 0, worker.log[-3000:]
        assert time.monotonic() - begun < 5
        assert worker.said("has stopped.") and not worker.said("Traceback") and not worker.said("lease")
        depths = project.client.ask("depths")
        assert depths["in_flight"] == 0, "what it held went back"
    sent = project.client.finish(stop=True)
    with project.working("-P", pool):
        project.client.wait_empty()
    print(f"{len(sent.accepted)} tasks, {stops} stops")
    assert account(project.journal, sent.accepted) == []


@pytest.mark.parametrize(
    ("pool", "place"),
    [("prefork", "sqlite"), ("prefork", "redis"), ("threads", "redis"), ("solo", "sqlite")],
)
def test_a_second_signal_interrupts_and_puts_back_uncounted(
    make_project: MakeProject, pool: str, place: str
) -> None:
    project = make_project(place)
    (task_id,) = project.client.send("work", [["long", 3.0]])
    worker = project.start("-P", pool)
    project.journal.wait_started("long")
    worker.signal(signal.SIGTERM)
    worker.wait_said("SIGTERM: finishing what runs")
    said = time.monotonic()
    worker.signal(signal.SIGTERM)  # as `timeout` does, to the process and to its group: that is one stop
    until(lambda: time.monotonic() - said > 0.5, "half a second is over")
    assert worker.process.poll() is None
    worker.signal(signal.SIGTERM)
    begun = time.monotonic()
    assert worker.wait_end() == 1
    assert time.monotonic() - begun < 2.5
    assert project.client.ask("depths") == {"ready": 1, "scheduled": 0, "in_flight": 0}
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
    project = make_project(place)
    kills: list[Kill] = []
    keys: list[str] = []
    for number, grace in enumerate((None, None, size(0.5, 5.0))):
        keys += (now := [f"long-{number}-{n}" for n in range(4)])
        ids = project.client.send("work", [[key, size(1.5, 8.0)] for key in now])
        worker = project.start()
        until(lambda: len(project.journal.running()) == 2, "two run")
        stop(worker, number)
        if grace is None:
            assert worker.wait_end() == 0
            assert project.client.ask("depths") == {"ready": 2, "scheduled": 0, "in_flight": 0}
        else:
            wait(grace)
            kills.append(worker.kill_tree())
        with project.working():
            project.client.wait_empty()
    hit = account(project.journal, keys, kills)
    assert len(hit) == 2, "those that ran when it was cut short"
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_the_grace_period_s_end_interrupts_what_runs(make_project: MakeProject, pool: str) -> None:
    project = make_project("sqlite", worker_soft_shutdown_timeout=1.0)
    project.client.send("work", [["long", 30.0], ["short", 0.7]])
    worker = project.start("-P", pool)
    for key in ("long", "short"):
        project.journal.wait_started(key)
    begun = time.monotonic()
    assert worker.stop() == 1
    assert 0.9 < time.monotonic() - begun < 3.5
    assert worker.said("SIGTERM: finishing what runs, 1 s at most")
    assert project.journal.done() == {"short"}
    assert project.client.ask("depths") == {"ready": 1, "scheduled": 0, "in_flight": 0}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_coroutines_are_finished_too(make_project: MakeProject, pool: str) -> None:
    project = make_project("redis")
    keys = [f"c-{n}" for n in range(100)]
    project.client.send("sleep", [[key, 1.5] for key in keys])
    worker = project.start("-P", pool)
    until(lambda: len(project.journal.running()) > 20, "coroutines run side by side")
    assert worker.stop() == 0
    assert not project.journal.running()
    with project.working("-P", pool):
        project.client.wait_empty()
    assert account(project.journal, keys) == []


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_programs_started_by_tasks_can_be_ended_as_anywhere_else(
    make_project: MakeProject, pool: str
) -> None:
    """A child leaves the signals to its supervisor, but must not have them ignored by what it starts."""
    project: Project = make_project("sqlite")
    (task_id,) = project.client.send("run_program", [["program"]])
    with project.working("-P", pool):
        project.client.wait_empty()
    assert project.client.records([task_id])[0]["result"] == str(-signal.SIGTERM)
