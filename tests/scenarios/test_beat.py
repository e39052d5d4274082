"""Beats as processes: each due time of an entry is sent once, whichever of them is killed, with any broker."""

import os
import signal
from itertools import pairwise
from typing import Any

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, kill, until, wait, was_killed
from tests.servers import RedisServer
from tests.size import size

PLACES = size(["sqlite", "redis"], ["sqlite", "redis", "postgres"])
EVERY = {"often": 0.2, "now-and-then": 1.7}


def entry(name: str, seconds: float, **more: Any) -> dict[str, Any]:
    """Return an entry that leaves a trace of each run, also of each that was missed, however long nobody was there."""
    missed = {"missed": "run_all", "missed_limit": 10_000}
    return {"task": "jobs.tasks.work", "schedule": seconds, "args": [name], **missed, **more}


SCHEDULE = {name: entry(name, seconds) for name, seconds in EVERY.items()}


@pytest.fixture(params=PLACES)
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project with a schedule, on each broker."""
    return make_project(request.param, beat_schedule=SCHEDULE, **PATIENT)


def fired(project: Project) -> dict[str, list[float]]:
    """Return slot and count of each entry."""
    return dict(project.client.ask("fired", entries=list(EVERY)))


def check(project: Project, begun: dict[str, list[float]]) -> None:
    """Each due time from `begun` on was sent, and ran, once."""
    project.client.wait_empty()
    ended = fired(project)
    runs = project.journal.by_key()
    print({name: int(count) for name, (_, count) in ended.items()})
    for name, seconds in EVERY.items():
        assert len(runs[name]) == ended[name][1], f"{name} was sent as often as it ran"
        passed = (ended[name][0] - begun[name][0]) / seconds
        assert ended[name][1] - begun[name][1] == pytest.approx(passed, abs=0.01)


@pytest.mark.scenario("i")
def test_beats_that_are_killed_send_each_due_time_once(project: Project) -> None:
    with project.working("-c", "1"):
        beats = [project.start_beat(), project.start_beat()]
        until(lambda: all(count > 2 for _, count in fired(project).values()), "both have fired")
        begun = fired(project)
        for _ in range(size(1, 20)):
            # Whichever is elected, at any moment: between publishing and the next step, too.
            dead = beats.pop(0) if beats[0].said("is elected") else beats.pop()
            dead.kill_tree()
            beats.append(project.start_beat())
            before = fired(project)["often"][1]
            until(lambda before=before: fired(project)["often"][1] > before + 5, "another goes on")
        for beat in beats:
            assert beat.stop() == 0, beat.log[-2000:]
        check(project, begun)


ALONE = {
    "slow": entry("slow", 0.1, args=["slow", 0.2]),
    "flaky": entry("flaky", 0.1, task="jobs.tasks.flaky", args=["flaky", 2]),
    "fails": entry("fails", 0.1, task="jobs.tasks.kept_if_failed", args=["fails"]),
    "expires": entry("expires", 0.1, options={"expires": -1}),
    "once": entry("once", 0.1, task="jobs.tasks.at_most_once", args=["once"]),
}


@pytest.mark.scenario("i")
@pytest.mark.parametrize("place", size(["redis"], ["sqlite", "redis", "postgres"]))
def test_one_run_at_a_time_whoever_is_killed(make_project: MakeProject, place: str) -> None:
    schedule = {name: {**given, "overlap": "skip"} for name, given in ALONE.items()}
    project = make_project(place, beat_schedule=schedule, worker_lease=30.0, **PATIENT)

    def counts() -> dict[str, float]:
        return {name: count for name, (_, count) in project.client.ask("fired", entries=list(ALONE)).items()}

    def running() -> list[int]:
        runs = project.journal.of("slow")
        return [run.pid for run in runs if run.end is None and not was_killed(run.pid)]

    def go_on(*names: str) -> None:
        before = counts()
        until(lambda: all(counts()[name] > before[name] + 3 for name in names), f"on from {before}")

    beat = project.start_beat()
    worker = project.start("-c", "3")
    until(lambda: len(counts()) == len(ALONE), "all are known")
    go_on(*ALONE)
    others = [name for name in ALONE if name != "once"]  # what dies in that run is not run again
    for _ in range(size(1, 10)):
        kill(until(running, "it runs")[0])
        beat.kill_tree()
        beat = project.start_beat()
        go_on(*others)
        worker.kill_tree()
        worker = project.start("-c", "3")
        go_on(*others)
    assert beat.stop() == 0, beat.log[-2000:]
    project.client.wait_empty()
    assert worker.stop() == 0, worker.log[-2000:]
    runs = project.journal.by_key()
    for before, after in pairwise(sorted(runs["slow"], key=lambda run: run.start)):
        assert before.end is not None or after.losses or was_killed(before.pid), (before, after)
        assert before.end is None or before.end <= after.start, (before, after)
    retries = [run.retries for run in sorted(runs["flaky"], key=lambda run: run.start)]
    for each, following in pairwise(retries):
        assert following in (each, (each + 1) % 3), retries


def test_a_worker_is_a_beat_too(project: Project) -> None:
    with project.working("-c", "1", "--beat") as worker, project.working("-c", "1", "-B", "-n", "two"):
        until(lambda: len(fired(project)) == 2 and fired(project)["often"][1] > 5, "it fires")
        begun = fired(project)
        assert worker.said("ready. Entries: 2")
    with project.working("-c", "1"):  # what was sent last may wait still
        check(project, begun)


def test_a_worker_s_beat_that_dies_is_started_again(make_project: MakeProject) -> None:
    project = make_project("redis", beat_schedule=SCHEDULE, **PATIENT)
    with project.working("-c", "1"):
        with project.working("-c", "1", "--beat", "-n", "two") as worker:
            until(lambda: len(fired(project)) == 2, "it fires")
            begun = fired(project)
            worker.wait_said("is elected")
            (pid,) = {int(line.split()[-1]) for line in worker.said("beat runs in process")}
            until(lambda: fired(project)["often"][1] > 3, "it fires")
            os.kill(pid, signal.SIGKILL)
            worker.wait_said("beat has ended")
            worker.wait_said("ready. Entries: 2", times=2)
            before = fired(project)["often"][1]
            until(lambda: fired(project)["often"][1] > before + 5, "it goes on")
        check(project, begun)


@pytest.mark.parametrize(("pool", "place"), [("solo", "sqlite"), ("threads", "redis")])
def test_in_other_pools(make_project: MakeProject, pool: str, place: str) -> None:
    project = make_project(place, beat_schedule=SCHEDULE, **PATIENT)
    with project.working("-P", pool, "-c", "1", "--beat"):
        until(lambda: len(fired(project)) == 2 and fired(project)["often"][1] > 5, "it fires")
        begun = fired(project)
    with project.working("-c", "1"):  # what was sent last may wait still
        check(project, begun)


def test_a_broker_that_restarts(make_project: MakeProject, redis: RedisServer) -> None:
    project = make_project("redis", beat_schedule=SCHEDULE)
    with project.working("-c", "1"):
        beat = project.start_beat()
        until(lambda: len(fired(project)) == 2 and fired(project)["often"][1] > 2, "it fires")
        begun = fired(project)
        for times in (1, 2):
            redis.kill()
            beat.wait_said("Schedules wait for it", times=times)
            redis.start()
            before = fired(project)["often"][1]
            until(lambda before=before: fired(project)["often"][1] > before + 5, "it goes on")
        assert beat.stop() == 0
        check(project, begun)


def test_a_schedule_that_cannot_be_read_is_told_at_the_start(make_project: MakeProject) -> None:
    project = make_project(
        "sqlite", beat_schedule={"nightly": {"task": "jobs.tasks.work", "schedule": "daily"}}
    )
    beat = project.start("--beat", ready=False)
    assert beat.wait_end() == 3
    assert "nightly" in beat.log and "Traceback" not in beat.log


def test_a_second_signal(make_project: MakeProject) -> None:
    project = make_project("sqlite", beat_schedule={"often": entry("often", 0.2)})
    worker = project.start("--beat", "-c", "1")
    project.client.send("work", [["long", 3600]])
    project.journal.wait_started("long")
    worker.signal(signal.SIGTERM)
    worker.wait_said("Once more to interrupt it.")
    wait(0.5)  # what comes sooner is the same signal once more
    worker.signal(signal.SIGTERM)
    assert worker.wait_end() == 1
    assert account(project.journal, []) == []


def test_without_entries_a_beat_waits_for_what_the_database_will_have(make_project: MakeProject) -> None:
    project = make_project("sqlite", **PATIENT)
    with project.working("--beat", "-c", "1") as worker:
        worker.wait_said("ready. Entries: 0")


@pytest.mark.scenario("i")
@pytest.mark.parametrize("place", PLACES)
def test_the_database_s_schedule_is_read_and_written_by_beats_that_are_killed(
    make_project: MakeProject, place: str
) -> None:
    project = make_project(place, **PATIENT)
    ask = project.client.ask

    def runs() -> int:
        return int(ask("kept", name="often")["runs"])

    with project.working("-c", "1"):
        beats = [project.start_beat(), project.start_beat()]
        until(lambda: any(beat.said("is elected") for beat in beats), "one is elected")
        often = {"task": "jobs.tasks.work", "every": 0.2, "args": ["often"], "missed": "run_all"}
        ask("schedule", name="often", fields=often)
        once = {**often, "one_off": True}
        ask("schedule", name="once", fields={**once, "args": ["once"]})
        ask("schedule", name="edited", fields={**once, "args": ["edited"], "every": 3600})
        until(lambda: runs() > 2, "it was heard of, has fired, and that is written down")
        for _ in range(size(1, 20)):
            dead = beats.pop(0) if beats[0].said("is elected") else beats.pop()
            dead.kill_tree()
            beats.append(project.start_beat())
            before = runs()
            until(lambda before=before: runs() > before + 5, "another goes on")
        until(lambda: not ask("kept", name="once")["enabled"], "what is due once is over")
        assert ask("kept", name="once")["runs"] == 1
        ask("schedule", name="edited", fields={"every": 0.2})
        until(lambda: ask("kept", name="edited")["runs"], "an edit is heard long before it was due")
        ask("schedule", name="often", fields={"enabled": False})
        until(lambda: runs() == ask("fired", entries=["often"])["often"][1], "all is written down")
        for beat in beats:
            assert beat.stop() == 0, beat.log[-2000:]
        project.client.wait_empty()
    done = project.journal.by_key()
    assert (len(done["often"]), len(done["once"]), len(done["edited"])) == (runs(), 1, 1)
