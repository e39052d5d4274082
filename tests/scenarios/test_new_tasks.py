"""A deploy in the wrong order: tasks that the old worker does not know are run by the new one."""

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until


@pytest.mark.parametrize("place", ["sqlite", "redis", "postgres"])
def test_what_the_old_worker_did_not_know_runs_when_the_new_one_starts(
    make_project: MakeProject, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project: Project = make_project(place, **PATIENT)
    keys = list(range(250))
    with project.working("-n", "old"):
        monkeypatch.setenv("SCENARIO_RELEASE", "2")
        client = project.client
        ids = client.send("added", [[key] for key in keys])
        client.ask("put", payloads=[b"garbage".hex()])
        until(lambda: len(client.ask("dead_letters")) == len(keys) + 1, "all are dead letters")
    assert {record["state"] for record in client.records(ids)} == {"FAILURE"}
    assert not project.journal.runs()
    with project.working("-n", "new") as new:
        project.journal.wait_done(keys)
        client.wait_empty()
        new.wait_said("250 dead letters go back to their queues")
    assert len(new.said("dead letters go back to their queues")) == 1
    account(project.journal, keys)
    assert [(record["state"], record["losses"]) for record in client.records(ids)] == [("SUCCESS", 0)] * 250
    (letter,) = client.ask("dead_letters")
    assert letter["payload"] == b"garbage".hex()
