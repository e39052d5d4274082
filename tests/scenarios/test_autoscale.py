"""A worker has as many processes as there is work for, between two numbers."""

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import account, until


@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_processes_come_with_the_work_and_go_without(
    make_project: MakeProject, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSCALE_KEEPALIVE", "1")
    project = make_project(place, **PATIENT)
    keys = [f"first-{n}" for n in range(10)]
    with Gate(project) as gate, project.working("--autoscale", "3,1") as worker:
        assert "1 to 3 processes" in worker.log
        assert len(worker.children()) == 1
        project.client.send("work_till", [[key, gate.path] for key in keys])
        until(lambda: len(project.journal.running()) == 3, lambda: worker.log)
        assert len(worker.children()) == 3
        gate.open()
        project.journal.wait_done(keys)

        def all_have_gone() -> bool:
            # Two, or more where one that was halted was once taken for all there are.
            gone = len(worker.said("has had nothing to do, and ends"))
            return (
                2 <= gone == len(worker.said("processes are busy: one more")) and len(worker.children()) == 1
            )

        until(all_have_gone, lambda: worker.log)
        project.client.wait_empty()
        # One that was just told to end finishes what it has all the same.
        keys += [f"second-{n}" for n in range(40)]
        project.client.send("work", [[key, 0.1] for key in keys[10:]])
        project.client.wait_empty()
        assert not worker.said("died")
    assert len({project.journal.of(key)[0].pid for key in keys[:10]}) >= 3
    account(project.journal, keys)
