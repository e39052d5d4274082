"""Declared queues, routes and annotations through real processes: the web process sends, workers read what they may."""

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject


@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_a_worker_reads_the_declared_queues_but_those_that_it_is_to_leave(
    make_project: MakeProject, place: str
) -> None:
    project = make_project(
        place,
        task_queues={"celery": {}, "slow": {"exchange": "work", "routing_key": "slow"}},
        task_create_missing_queues=False,
        task_routes=[{"*.work": {"exchange": "work", "routing_key": "slow", "priority": 3}}],
        task_annotations={"jobs.tasks.sleep": {"ignore_result": True}},
        **PATIENT,
    )
    (routed,) = project.client.send("work", [["routed", 0.0]])
    (annotated,) = project.client.send("sleep", [["default", 0.0]])
    with project.working("-X", "slow"):
        project.journal.wait_done(["default"])
    assert project.client.ask("depths") == {"ready": 1, "scheduled": 0, "in_flight": 0}
    assert not project.journal.of("routed")
    with project.working():
        project.journal.wait_done(["routed"])
        project.client.wait_empty()
    assert [record["state"] for record in project.client.records([routed])] == ["SUCCESS"]
    assert project.client.ask("records", ids=[annotated]) == [None]
