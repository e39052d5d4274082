"""Deaths of processes that run several tasks at a time: threads, coroutines, and a worker without a supervisor."""

import pytest

from tests.faults.load import PATIENT, Gate, send_with_long
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, kill


@pytest.fixture(params=["sqlite", "redis"])
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each of two brokers."""
    return make_project(request.param, **PATIENT)


def test_all_that_ran_on_a_killed_process_s_threads_runs_again_and_nothing_else(project: Project) -> None:
    running = [f"long-{n}" for n in range(3)]
    rest = [f"short-{n}" for n in range(100)]
    with project.working("-P", "threads", "-c", "3") as worker, Gate(project) as gate:
        ids = send_with_long(project, gate, running, rest)
        for key in running:
            project.journal.wait_started(key)
        (child,) = worker.children()
        killed = kill(child)
        gate.open()
        project.client.wait_empty()
    hit = account(project.journal, running + rest, [killed], 3)
    assert {run.key for run in hit} == set(running)
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.parametrize("kind", ["threads", "coroutines"])
def test_what_runs_beside_poison_is_not_taken_for_poison(project: Project, kind: str) -> None:
    """The process dies three times with innocents in it; only the task that kills it becomes a dead letter."""
    pool = ("-P", "threads", "-c", "4") if kind == "threads" else ("-c", "1")
    task = "work" if kind == "threads" else "sleep"
    innocent = [f"innocent-{n}" for n in range(6)]
    with project.working(*pool):
        with Gate(project) as gate:
            ids = project.client.send(f"{task}_till", [[key, gate.path] for key in innocent[:3]])
            for key in innocent[:3]:
                project.journal.wait_started(key)
            (poison,) = project.client.send("die", [["poison", "segfault"]])
            project.journal.wait_started("poison")
        ids += project.client.send(task, [[key, 1.0] for key in innocent[3:]])
        project.client.wait_empty()
    assert [run.losses for run in project.journal.of("poison")] == [0, 1, 2]
    assert project.journal.done() == set(innocent)
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}
    assert project.client.records([poison])[0]["state"] == "FAILURE"
    assert len(project.client.ask("dead_letters")) == 1


def test_a_killed_worker_without_supervisor_is_settled_by_the_next(project: Project) -> None:
    keys = list(range(400))
    ids = project.client.send("work", [[key, 0.005] for key in keys])
    kills = []
    for count in (50, 150):
        worker = project.start("-P", "solo", ready=False)
        project.journal.wait_count(count)
        kills.append(worker.kill_tree())
    with project.working("-P", "solo"):
        project.client.wait_empty()
    account(project.journal, keys, kills, 1)
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


def test_at_most_once_loses_what_ran_and_runs_nothing_twice(project: Project) -> None:
    """The option for tasks that must not run twice, whatever happens: what ran when its process died is lost."""
    keys = list(range(300))
    kills = []
    project.client.send("at_most_once", [[key, 0.01] for key in keys])
    for count in (60, 160):
        worker = project.start()
        project.journal.wait_count(count)
        kills.append(worker.kill_tree())
    with project.working():
        project.client.wait_empty()
    runs = project.journal.by_key()
    assert all(len(of_one) == 1 for of_one in runs.values())
    cut = [run for run in project.journal.runs() if run.end is None]
    lost = set(map(str, keys)) - set(runs)
    # Settled and not begun is a matter of microseconds; each process may have had one in either state.
    assert len(cut) + len(lost) <= 2 * len(kills)
    assert all(any(kill.hit(run, 0) for kill in kills) for run in cut)
