"""What is revoked does not run, whoever was there to hear of it; what runs is ended if that is asked for."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until
from tests.size import size

PLACES = size(["sqlite", "redis"], ["sqlite", "redis", "postgres"])


@pytest.fixture(params=PLACES)
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker."""
    return make_project(request.param, **PATIENT)


def ended(project: Project, task_id: str) -> dict[str, Any]:
    """Return what is stored of a task as soon as it has ended for good."""

    def look() -> Any:
        (record,) = project.client.ask("records", ids=[task_id])
        return record if record is not None and record["state"] in ("SUCCESS", "FAILURE", "REVOKED") else None

    return dict(until(look, f"{task_id} ends"))


def told(project: Project, count: int) -> list[list[str]]:
    """Return what `task_revoked` was sent with, so many times."""
    path = Path(f"{project.journal.path}.told")

    def look() -> list[list[str]]:
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return lines if len(lines) >= count else []

    return list(until(look, f"{count} signals"))


def test_what_was_revoked_with_all_workers_down_never_runs(project: Project) -> None:
    client = project.client
    ids = client.send("work", [[f"now-{n}"] for n in range(20)])
    later = client.send("work", [[f"later-{n}"] for n in range(10)], countdown=1)
    coroutines = client.send("sleep", [[f"async-{n}"] for n in range(10)])
    revoked = [*ids[::2], *later[::2], *coroutines[::2]]
    client.control("revoke", revoked)
    assert {record["state"] for record in client.records(revoked)} == {"REVOKED"}, "at once"
    with project.working():
        client.wait_empty()
    keys = [
        *(f"now-{n}" for n in range(1, 20, 2)),
        *(f"later-{n}" for n in range(1, 10, 2)),
        *(f"async-{n}" for n in range(1, 10, 2)),
    ]
    assert account(project.journal, keys) == []
    assert sorted(project.journal.by_key()) == sorted(keys)
    for record in client.records(revoked):
        assert record["state"] == "REVOKED" and '"exc_message":["revoked"]' in record["result"]
    assert {line[2] for line in told(project, 20)} == set(revoked)
    assert {tuple(line[3:]) for line in told(project, 20)} == {("False", "None", "False")}


def test_what_waits_behind_a_running_task_or_for_a_retry_does_not_start(project: Project) -> None:
    client = project.client
    with Gate(project) as gate, project.working("-c", "1"):
        client.send("work_till", [["long", gate.path]])
        project.journal.wait_started("long")
        behind = client.send("work", [["behind-0"], ["behind-1"]])
        client.control("revoke", behind[:1])
        (flaky,) = client.send("flaky", [["flaky", 3]])
        client.control("revoke", [flaky])
        gate.open()
        client.wait_empty()
    assert account(project.journal, ["long", "behind-1"]) == []
    assert sorted(project.journal.by_key()) == ["behind-1", "long"]
    assert [each["state"] for each in client.records([*behind, flaky])] == ["REVOKED", "SUCCESS", "REVOKED"]


@pytest.mark.parametrize(
    ("place", "task"),
    [
        ("sqlite", "spin"),
        ("redis", "hold"),
        ("postgres", "work"),
        ("sqlite", "deaf"),
        ("redis", "at_most_once"),
        ("sqlite", "at_most_once"),
    ],
)
def test_terminate_ends_what_runs(make_project: MakeProject, place: str, task: str) -> None:
    """In Python, in C with the interpreter's lock held, in a system call, with all signals blocked, settled before."""
    project = make_project(place, **PATIENT)
    client = project.client
    args = {"spin": [], "hold": [3600], "work": [3600], "deaf": [], "at_most_once": [3600]}[task]
    with project.working() as worker:
        (task_id,) = client.send(task, [["long", *args]])
        project.journal.wait_started("long")
        client.control("revoke", task_id, terminate=True, signal="SIGKILL")
        begun = time.monotonic()
        until(lambda: worker.said("was ended, and another takes its place"), "the process is ended")
        print(f"ended {time.monotonic() - begun:.2f} s after it was asked for")
        after = client.send("work", [[f"after-{n}"] for n in range(10)])
        client.wait_empty()
        until(lambda: '"terminated"' in client.records([task_id])[0]["result"], "the end is stored")
    assert client.records([task_id])[0]["state"] == "REVOKED"
    assert {record["state"] for record in client.records(after)} == {"SUCCESS"}
    assert len(project.journal.of("long")) == 1
    if task != "at_most_once":  # of which nobody knows more than the id
        assert told(project, 1) == [["task_revoked", f"jobs.tasks.{task}", task_id, "True", "9", "False"]]


def test_terminate_cancels_a_coroutine_and_leaves_its_neighbours_alone(project: Project) -> None:
    client = project.client
    with Gate(project) as gate, project.working("-c", "1") as worker:
        neighbours = [f"near-{n}" for n in range(20)]
        ids = client.send("sleep_till", [[key, gate.path] for key in neighbours])
        ids += client.send("sleep", [["long", 3600]])
        for key in [*neighbours, "long"]:
            project.journal.wait_started(key)
        client.control("terminate", ids[-1])
        record = ended(project, ids[-1])
        until(lambda: '"terminated"' in client.records(ids[-1:])[0]["result"], "the end is stored")
        assert len(project.journal.running()) == 1 + len(neighbours)
        gate.open()
        client.wait_empty()
        assert not worker.said("another takes its place")
    assert record["state"] == "REVOKED"
    assert account(project.journal, neighbours) == []
    assert {record["state"] for record in client.records(ids[:-1])} == {"SUCCESS"}
    assert told(project, 1) == [["task_revoked", "jobs.tasks.sleep", ids[-1], "True", "15", "False"]]


def test_a_coroutine_that_is_cancelled_in_vain_is_ended_with_its_process(make_project: MakeProject) -> None:
    project = make_project("redis", **PATIENT)
    client = project.client
    with project.working("-c", "1"):
        ids = client.send("uncancelled", [["long"]])
        near = client.send("work", [["near", 0.0]])
        project.journal.wait_started("long")
        client.control("revoke", ids, terminate=True)
        until(lambda: '"terminated"' in client.records(ids)[0]["result"], "the end is stored")
        client.wait_empty()
    assert client.records(ids)[0]["state"] == "REVOKED"
    assert client.records(near)[0]["state"] == "SUCCESS"


def test_without_terminate_what_runs_goes_on(project: Project) -> None:
    with Gate(project) as gate, project.working():
        (task_id,) = project.client.send("work_till", [["runs", gate.path]])
        project.journal.wait_started("runs")
        project.client.control("revoke", task_id)
        gate.open()
        project.client.wait_empty()
    assert account(project.journal, ["runs"]) == []
    assert project.client.records([task_id])[0]["state"] == "SUCCESS"


def test_a_pool_grows_and_shrinks(project: Project) -> None:
    client = project.client
    with project.working("-n", "one") as worker, project.working("-n", "two") as other:
        client.begin("work", range(100_000), 0.002, pause=0.002)
        client.control("pool_grow", 2, destination=[host(worker)])
        until(lambda: len(worker.children()) == 4, "two more")
        assert len(other.children()) == 2
        client.control("pool_shrink", 3)
        until(lambda: len(worker.children()) == len(other.children()) == 1, "one stays")
        client.control("pool_shrink")
        client.control("pool_grow")
        until(lambda: len(worker.children()) == len(other.children()) == 2, "one more again")
        sent = client.finish(stop=True)
        client.wait_empty()
    assert account(project.journal, sent.accepted) == []


def test_commands_that_nobody_can_read_hurt_nobody(project: Project) -> None:
    payloads = [
        b"",
        b"\x00\xff",
        b"null",
        b'{"method": "shutdown", "arguments": {}}',
        b'{"method": "revoke", "arguments": {}}',
        b'{"method": "revoke", "arguments": {"task_id": 7, "terminate": true}}',
        b'{"method": "revoke", "arguments": {"task_id": ["x"], "signal": "SIGNOTHING"}}',
        b'{"method": "pool_grow", "arguments": {"n": "many"}}',
        b'{"method": "pool_shrink", "arguments": {"n": -5}}',
        b'{"method": "revoke", "arguments": {}, "destination": 5}',
        b"[" * 100_000,
    ]
    with project.working() as worker:
        for payload in payloads:
            project.client.ask("command", payload=payload.hex())
        ids = project.client.send("work", [[n] for n in range(10)])
        project.client.wait_empty()
        worker.wait_said("cannot be carried out", times=8)
        worker.wait_said("does not know the command 'shutdown'")
        assert len(worker.children()) == 2
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


def host(worker: Any) -> str:
    """Return the worker's name, as its first lines say it."""
    line = next(line for line in worker.log.splitlines() if " ready." in line)
    return str(line.split(" ready.")[0].split()[-1])
