"""Django's own tasks, enqueued by a web process, run by a worker that was told nothing of them."""

import django
import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import until

LONG = 200.0


@pytest.mark.parametrize("place", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_a_worker_runs_them(make_project: MakeProject, place: str) -> None:
    project = make_project(place, **PATIENT)
    client = project.client

    def enqueue(name: str, *args: object, **using: object) -> str:
        return str(client.ask("enqueue", task=name, args=args, using=using))

    def result(task_id: str) -> dict[str, object]:
        return dict(client.ask("task_result", task_id=task_id))

    low, high = enqueue("write", "ada", priority=-5), enqueue("write", "grace", priority=5)
    fetched, later = enqueue("fetch", 0.01), enqueue("write", "later", seconds=2)
    sent, lost, never = enqueue("send", "mars"), enqueue("lose"), enqueue("write", "never", seconds=9999)
    assert {result(each)["status"] for each in (low, fetched, later, sent, lost, never)} == {"READY"}
    with project.working("-c", "1"):
        ended = (low, high, fetched, later, sent, lost)
        until(
            lambda: all(result(each)["finished_at"] for each in ended),
            lambda: f"they have ended: {[result(each) for each in ended]}",
            LONG,
        )
        assert not project.journal.runs()
    assert result(low)["started_at"] > result(high)["finished_at"]  # type: ignore[operator]
    assert result(fetched)["value"] == "fetched"
    assert result(later)["started_at"] > result(later)["run_after"]  # type: ignore[operator]
    assert (result(lost)["status"], result(lost)["errors"]) == ("FAILED", ["builtins.LookupError"])
    assert result(never)["status"] == "READY"
    assert result(low)["workers"] == result(high)["workers"] != []
    if not (6, 0) <= django.VERSION < (6, 1):
        assert result(sent)["value"] == [2, sent]
        assert (result(sent)["errors"], len(result(sent)["workers"])) == (["builtins.OSError"], 2)  # type: ignore[arg-type]
