"""Processes of a worker die: one child, the supervisor, all at once. What ran runs again, and nothing else does."""

import random
import re
import time

import pytest

from tests.faults.load import ENDLESS, PATIENT, Gate, send_with_long
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, is_running, kill, until
from tests.size import STRESS, size

PLACES = ["sqlite", "redis", "postgres"]


@pytest.fixture(params=PLACES)
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker."""
    return make_project(request.param, **PATIENT)


@pytest.fixture(params=PLACES)
def endless(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """The same where nothing runs again because a lease is over: the supervisor sees to it that it does at once."""
    return make_project(request.param, worker_lease=ENDLESS, **PATIENT)


def test_a_killed_child_s_task_runs_again_at_once_and_no_other(endless: Project) -> None:
    project = endless
    with project.working() as worker, Gate(project) as gate:
        ids = project.client.send("work", [[f"warm-{n}"] for n in range(100)])
        project.client.wait_empty()  # now a child claims many at a time
        long, short = ["victim", "other"], [f"short-{n}" for n in range(100)]
        ids += send_with_long(project, gate, long, short)
        victim = project.journal.wait_started("victim")
        killed = kill(victim.pid)
        again = project.journal.wait_started("victim", 2)
        gate.open()
        project.client.wait_empty()
        worker.wait_said("its process died (signal 9 (SIGKILL)) while it ran, loss 1 of 3 after ")
        worker.wait_said("MB at most; it runs again")
    print(f"runs again after {again.start - killed.before:.3f} s")
    keys = [*(f"warm-{n}" for n in range(100)), *long, *short]
    assert [run.key for run in account(project.journal, keys, [killed], 1)] == ["victim"]
    assert again.losses == 1
    records = project.client.records(ids)
    assert {record["state"] for record in records} == {"SUCCESS"}
    assert [record["losses"] for record in records] == [0] * 100 + [1] + [0] * 101


@pytest.mark.scenario("a")
def test_five_kills_in_a_row_each_cost_one_run_and_no_wait(endless: Project) -> None:
    """In mid-task, with other processes at work."""
    project = endless
    keys = [f"victim-{n}" for n in range(5)]
    kills, seconds = [], []
    with project.working("-c", "3") as worker:
        project.client.begin("work", range(100_000), 0.002, pause=0.01)
        for number, key in enumerate(keys, 1):
            with Gate(project, key) as gate:
                ids = project.client.send("work_till", [[key, gate.path]])
                kills.append(kill(project.journal.wait_started(key).pid))
                seconds.append(project.journal.wait_started(key, 2).start - kills[-1].before)
            project.journal.wait_done([key])
            worker.wait_said("loss 1 of 3", times=number)
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
    project.journal.recoveries += seconds
    hit = account(project.journal, [*keys, *sent.accepted], kills, 1, slack=0)
    assert sorted(run.key for run in hit) == keys
    assert project.client.records(ids)[0]["losses"] == 1
    print(
        f"ran again after {', '.join(f'{one:.2f}' for one in seconds)} s; {len(sent.accepted)} others ran once"
    )


WAYS = ["kill", "exit", "exit 0", "exit in C", "segfault", "abort", "killed in C"]


def test_every_way_to_die_costs_one_run_of_one_task(endless: Project) -> None:
    project = endless
    with project.working():
        good = [f"good-{n}" for n in range(100)]
        ids = project.client.send("work", [[key, 0.005] for key in good[:50]])
        dying = project.client.send("die", [[way.replace(" ", "-"), way, 1] for way in WAYS])
        ids += project.client.send("work", [[key, 0.005] for key in good[50:]])
        project.client.wait_empty()
    account(project.journal, good)
    for way in WAYS:
        assert [run.losses for run in project.journal.of(way.replace(" ", "-"))] == [0, 1]
    records = project.client.records(dying)
    assert [(record["state"], record["losses"]) for record in records] == [("SUCCESS", 1)] * len(WAYS)
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.scenario("f")
def test_a_task_that_kills_its_process_becomes_a_dead_letter_and_good_ones_go_on(endless: Project) -> None:
    project = endless
    ways = [*WAYS, "kill", "exit", "segfault"]
    poison = [f"poison-{n}" for n in range(len(ways))]
    good = [f"good-{n}" for n in range(200)]
    calls = [[key, 0.005] for key in good]
    with project.working():
        ids = project.client.send("work", calls[:100])
        bad = project.client.send("die", [[key, way] for key, way in zip(poison, ways, strict=True)])
        ids += project.client.send("work", calls[100:])
        project.client.wait_empty(300)
    account(project.journal, [*good, *poison], dead=poison)
    runs = project.journal.by_key()
    assert {key: [run.losses for run in runs[key]] for key in poison} == {key: [0, 1, 2] for key in poison}
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}
    for way, record in zip(ways, project.client.records(bad), strict=True):
        assert (record["state"], record["losses"]) == ("FAILURE", 3)
        assert '"exc_type":"WorkerLostError"' in record["result"]
        assert "its process died 3 times while it ran, the last time by" in record["result"], way
        crashed = way in ("segfault", "abort")
        assert (record["traceback"] or "").startswith("Fatal Python error") == crashed, way
        assert ("in die\n" in (record["traceback"] or "")) == crashed, record["traceback"]
        assert re.search(
            r" after \d+\.\d s, with \d+ MB at most\. \(celeriac help E120\)", record["result"]
        ), way
    letters = project.client.ask("dead_letters")
    assert len(letters) == len(ways)
    reasons = " ".join(letter["reason"] for letter in letters)
    for cause in ("SIGKILL", "SIGSEGV", "SIGABRT", "exit status 3", "exit status 4", "exit status 0"):
        assert cause in reasons


TASKS = size(2000, 10_000) * STRESS
KILLS = size(5, 20) * STRESS


@pytest.mark.slow
@pytest.mark.scenario("b")
@pytest.mark.timeout(600 * STRESS)
@pytest.mark.parametrize("seconds", [0.004, 0.0])
@pytest.mark.parametrize("place", PLACES)
def test_the_whole_tree_is_killed_at_random_moments_and_nothing_is_lost(
    make_project: MakeProject, place: str, seconds: float
) -> None:
    """Tasks of some milliseconds, and tasks so short that hundreds are claimed and settled at a time."""
    project = make_project(place, worker_lease=100.0, **PATIENT)
    keys = list(range(TASKS))
    ids = project.client.send("work", [[key, seconds] for key in keys])
    kills = []
    step = TASKS // (KILLS + 1)
    for number in range(1, KILLS + 1):
        worker = project.start(ready=False)
        # Anywhere in its life: while it starts, at work, hardly after what was left behind was settled.
        project.journal.wait_count(number * step + random.randrange(-step // 2, step // 2))
        kills.append(worker.kill_tree())
    with project.working():
        project.client.wait_empty()
    hit = account(project.journal, keys, kills)
    print(f"{len(hit)} of {TASKS} ran again after {KILLS} kills")
    assert len(hit) <= 2 * KILLS
    records = project.client.records(ids)
    assert {record["state"] for record in records} == {"SUCCESS"}
    assert project.client.ask("dead_letters") == []


@pytest.mark.slow
def test_what_follows_a_task_is_sent_once_whoever_dies(project: Project) -> None:
    """By a process that dies between the task and its settlement, too: its supervisor sends it, or the next start."""
    keys = [f"first-{n}" for n in range(600)]
    follow = {"task": "jobs.tasks.follow", "args": [0.002], "kwargs": {}, "options": {}}
    ids = project.client.send("work", [[key, 0.004] for key in keys], link=follow)
    kills = []
    for number in range(3):
        worker = project.start()
        for times in range(3):
            project.journal.wait_count(number * 300 + times * 80 + 60)
            kills.append(kill(random.choice(worker.children())))
            worker.wait_said("Another takes its place", times=times + 1)
        kills.append(worker.kill_tree())
    with project.working():
        project.client.wait_empty()
    hit = account(project.journal, [*keys, *(f"after-{key}" for key in keys)], kills)
    print(f"{len(hit)} of {2 * len(keys)} ran again after {len(kills)} kills")
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}
    assert project.client.ask("dead_letters") == []


LEASE = 3.0


@pytest.mark.scenario("b")
@pytest.mark.parametrize("place", PLACES)
def test_a_tree_killed_with_its_flight_records_is_taken_over_after_the_lease(
    make_project: MakeProject, place: str
) -> None:
    """As on another host: nobody knows what of all that was claimed had started."""
    project = make_project(place, worker_lease=LEASE, **PATIENT)
    keys = ["long-1", "long-2", *(f"behind-{n}" for n in range(60))]
    here = project.start()
    project.client.send("work", [[f"warm-{n}"] for n in range(100)])
    project.client.wait_empty()
    with Gate(project) as gate:
        ids = send_with_long(project, gate, keys[:2], keys[2:])
        project.journal.wait_started("long-1")
        killed = here.kill_tree()
    cut = [run.key for run in project.journal.running()]
    assert "long-1" in cut
    held = project.client.ask("depths")["in_flight"]
    with project.working(worker_state_dir=str(project.folder / "elsewhere")) as there:
        project.client.wait_empty()
        there.wait_said("has not been heard of for 3 s")
    after = min(project.journal.of(key)[1].start for key in cut) - killed.before
    print(f"{held} were held, the first ran again {after:.1f} s after the kill")
    project.journal.recoveries.append(after)
    # Of what it held all may have run, however long ago: only the broker's word for it is lost.
    hit = account(project.journal, keys, [killed], held, slack=600)
    assert {run.key for run in hit} >= set(cut)
    # Nobody is blamed for having been claimed.
    assert {(record["state"], record["losses"]) for record in project.client.records(ids)} == {("SUCCESS", 0)}


@pytest.mark.scenario("orphans")
def test_children_die_with_their_supervisor_and_the_next_start_settles(project: Project) -> None:
    long = ["long-1", "long-2"]
    keys = [*long, *range(300)]
    with Gate(project) as gate:
        ids = send_with_long(project, gate, long, range(300))
        worker = project.start()
        children = worker.children()
        assert len(children) == 2
        for key in long:
            project.journal.wait_started(key)
        killed = kill(worker.pid, children_too=True)
        until(lambda: not any(map(is_running, children)), "the children die")
        print(f"the children were dead after {time.monotonic() - killed.before:.3f} s")
    with project.working() as worker:
        project.client.wait_empty()
        worker.wait_said("A worker that was killed on this host")
    hit = account(project.journal, keys, [killed])
    assert sorted(run.key for run in hit) == long
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}
