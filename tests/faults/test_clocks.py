"""A worker whose clock is an hour off, beside one whose clock is right: the broker's own is what counts.

On SQLite there is one clock for all.
"""

import re
import time
from pathlib import Path

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import account, wait
from tests.size import size

#: Long enough not to run out while a process is held up.
LEASE = 5.0
LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


@pytest.mark.slow
@pytest.mark.scenario("q")
@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
@pytest.mark.parametrize(
    ("place", "off"),
    [("redis", 3600), ("postgres", -3600), *size([], [("redis", -3600), ("postgres", 3600)])],
)
def test_a_worker_whose_clock_is_an_hour_off(
    make_project: MakeProject, place: str, off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(place, worker_lease=LEASE, **PATIENT)
    keys = [f"short-{n}" for n in range(size(100, 2000))]
    later = [f"later-{n}" for n in range(20)]
    long = [f"long-{n}" for n in range(4)]
    with project.working("-n", "right", "-c", "2") as right:
        with monkeypatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(LIBRARY))
            patch.setenv("FAKETIME", f"{off:+d}")
            wrong = project.start("-n", "wrong", "-c", "2", ready=False)
        wrong.wait_ready()
        processes = set(wrong.children())
        sent = time.monotonic()
        ids = project.client.send("work", [[key] for key in later], countdown=3.0)
        with Gate(project) as gate:
            ids += project.client.send("work_till", [[key, gate.path] for key in long])
            for key in long:
                project.journal.wait_started(key)
            ids += project.client.send("work", [[key, 0.01] for key in keys])
            wait(LEASE)  # at which all have looked more than once for leases that are over
        project.client.wait_empty()
        assert set(wrong.children()) == processes and wrong.stop() == 0, wrong.log[-3000:]
        for worker in (right, wrong):
            assert not worker.said("has not been heard of") and not worker.said("lease"), worker.log
    # The library has the monotonic clock tell the false time of day.
    ahead = off + time.time() - time.monotonic()
    for run in project.journal.runs():
        if run.pid in processes:
            run.start, run.end = run.start - ahead, run.end and run.end - ahead
    assert account(project.journal, [*keys, *later, *long]) == []
    ran = {run.pid for run in project.journal.runs()}
    assert ran & processes, "the wrong one has run some"
    early = [key for key in later if project.journal.of(key)[0].start < sent + 2.99]
    assert not early
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}


@pytest.mark.slow
@pytest.mark.scenario("q")
@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed")
@pytest.mark.parametrize(("place", "off"), [("redis", 3600), ("redis", -3600), ("postgres", 3600)])
def test_what_is_due_and_what_expires_is_reckoned_by_the_broker_s_clock(
    make_project: MakeProject, place: str, off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry, what a task sends for later, a task that was to run soon or not at all, one that was lost."""
    project = make_project(place, **PATIENT)
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(LIBRARY))
        patch.setenv("FAKETIME", f"{off:+d}")
        worker = project.start("-n", "wrong", "-c", "2", ready=False)
    worker.wait_ready()
    ids = project.client.send("again_later", [["again", 2.0]])
    ids += project.client.send("work", [["in-time"]], expires=600)
    ids += project.client.send("retried_if_lost", [["lost", "kill", 1]])
    late = project.client.send("work", [["too-late"]], countdown=3.0, expires=1.0)
    project.client.wait_empty()
    project.journal.wait_done(["again-sent"])
    assert worker.stop() == 0, worker.log[-3000:]
    (told,) = re.findall(r"This machine's clock is (\d+) s", worker.log)
    assert abs(int(told) - 3600) < 60
    first, second = project.journal.of("again")
    (sent,) = project.journal.of("again-sent")
    once, again = project.journal.of("lost")
    for earlier, later, seconds in ((first, second, 2.0), (second, sent, 2.0), (once, again, 0.3)):
        # Half of the time that an answer takes is the error by which the clock is known.
        assert seconds - 0.3 < later.start - earlier.start < 600
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}
    assert project.client.records(late)[0]["state"] == "REVOKED"
