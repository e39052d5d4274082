"""Two workers read one queue: they share the work, and no task is theirs both; also if they have one name."""

import time
from collections import Counter

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until


@pytest.mark.scenario("names")
@pytest.mark.parametrize("place", ["sqlite", "redis", "postgres"])
@pytest.mark.parametrize("names", [("one", "two"), ("same", "same")])
def test_two_workers_share_the_work(make_project: MakeProject, place: str, names: tuple[str, str]) -> None:
    project: Project = make_project(place, **PATIENT)
    ids: list[str] = []
    with project.working("-n", names[0]) as first, project.working("-n", names[1]) as second:
        children = {pid: worker.pid for worker in (first, second) for pid in worker.children()}
        assert len(children) == 4

        def shared() -> bool:
            # More than once where one of them was not let run meanwhile.
            more = range(len(ids), len(ids) + 600)
            ids.extend(project.client.send("work", [[key, 0.004] for key in more]))
            project.client.wait_empty()
            shares = Counter(children[run.pid] for run in project.journal.runs())
            return all(shares[worker.pid] > 60 for worker in (first, second))

        until(shared, "each has its share")
    assert account(project.journal, range(len(ids))) == []
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.scenario("names")
@pytest.mark.parametrize(
    ("place", "names"),
    [("sqlite", ("lives", "dies")), ("redis", ("same", "same")), ("redis", ("lives", "dies"))],
)
def test_a_killed_neighbour_s_work_is_taken_over_by_its_records(
    make_project: MakeProject, place: str, names: tuple[str, str]
) -> None:
    """A worker that lives on the same host need not wait for the lease, and knows what had run."""
    project: Project = make_project(place, **PATIENT)  # with the lease of 15 s that everybody has
    with project.working("-n", names[0]) as survivor:
        neighbour = project.start("-n", names[1])
        theirs = set(neighbour.children())
        project.client.send("work", [[key, 0.002] for key in range(1000)])
        project.client.send("work", [[f"long-{n}", 1.0] for n in range(4)])
        project.journal.wait_count(600)
        killed = neighbour.kill_tree()
        project.client.wait_empty()
        took = time.monotonic() - killed.after
        survivor.wait_said("A worker that was killed on this host")
        assert not survivor.said("has not been heard of")
    hit = account(project.journal, [*range(1000), *(f"long-{n}" for n in range(4))], [killed])
    assert all(run.pid in theirs for run in hit)
    print(f"all done {took:.1f} s after the kill")
    project.journal.recoveries.append(took)
