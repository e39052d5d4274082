"""Very many tasks for later: they wait in the broker and not in a worker, and a worker that dies changes nothing."""

import time

import pytest

from tests.faults.load import PATIENT
from tests.faults.test_under_fire import memory
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Worker, account, until
from tests.size import LONG, size

TASKS, BATCHES, SPREAD = size((2_000, 20, 6.0), (100_000, 100, 60.0))
#: Seconds from now until the first is due, and after a kill until lateness counts again.
AHEAD, AGAIN = size(4.0, 45.0), size(3.0, 5.0)


def held(worker: Worker) -> int:
    """Return the memory of all its processes, in KiB."""
    return sum(memory(pid) for pid in (worker.pid, *worker.children()))


@pytest.mark.slow
@pytest.mark.scenario("k")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", size(["postgres"], ["sqlite", "redis", "postgres"]))
def test_many_scheduled_tasks_and_a_kill(make_project: MakeProject, place: str) -> None:
    project = make_project(place, **PATIENT)
    worker = project.start()
    before = held(worker)
    begun = time.monotonic()
    due: dict[str, float] = {}
    each = TASKS // BATCHES
    for batch in range(BATCHES):
        at = max(begun + AHEAD + SPREAD * batch / BATCHES, time.monotonic() + 1)
        keys = [f"{batch}-{n}" for n in range(each)]
        project.client.send("work", [[key] for key in keys], countdown=at - time.monotonic())
        due |= dict.fromkeys(keys, at)
    grown = held(worker) - before
    project.journal.wait_count(TASKS // 3, 300)
    killed = worker.kill_tree()
    with project.working() as worker:
        until(lambda: len(project.journal.done()) >= TASKS, "all run", 300)
        project.client.wait_empty()
        grown = max(grown, held(worker) - before)
    hit = account(project.journal, due, [killed])
    runs = project.journal.by_key()
    early = [key for key in due if runs[key][0].start < due[key] - 0.01]
    assert not early, f"{len(early)} ran early: {early[:5]}"
    back = min(run.start for run in project.journal.runs() if run.start > killed.after)
    project.journal.recoveries.append(back - killed.after)
    calm = sorted(
        runs[key][0].start - due[key]
        for key in due
        if due[key] > back + AGAIN or due[key] < killed.before - 1
    )
    late = calm[int(len(calm) * 0.99)] if calm else 0.0
    print(
        f"{TASKS} tasks, {TASKS / SPREAD:.0f} due each second: 99 of 100 of {len(calm)} at most {late:.2f} s late, "
        f"{len(hit)} ran again, {grown / 1024:.0f} MB more"
    )
    assert late < 1.0 or not LONG, "what is asked for on a machine that does nothing else"
    assert grown < 50 * 1024
