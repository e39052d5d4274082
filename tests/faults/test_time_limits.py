"""Time limits on real workers: what a task gets, what becomes of it, of its neighbours and of its process."""

import math
import signal
import time
from typing import Any

import pytest

from tests.faults.load import PATIENT, Gate
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until
from tests.size import STRESS, size

PLACES = ["sqlite", "redis"]
POOLS = ["prefork", "threads"]
#: A limit that nothing comes near to.
FAR = 600
#: A hard limit is kept within so many seconds, and what the result's way to the test may add. Asked in the long form:
#: `make test` runs on machines that stand still now and then.
WITHIN, SLACK = size(math.inf, 1.0), 1.0


@pytest.fixture(params=PLACES)
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on SQLite and on Redis."""
    return make_project(request.param, **PATIENT)


def outcome(project: Project, task_id: str) -> dict[str, Any]:
    """Return what is stored of a task as soon as it has ended."""

    def ended() -> Any:
        (record,) = project.client.ask("records", ids=[task_id])
        return record if record is not None and record["state"] in ("SUCCESS", "FAILURE") else None

    return dict(until(ended, f"{task_id} ends"))


def failed_by(record: dict[str, Any]) -> str:
    """Return the name of the exception of a task that failed."""
    assert record["state"] == "FAILURE", record
    return str(record["result"].split('"exc_type":"')[1].split('"')[0])


def tidied(project: Project, task_id: str, key: str) -> bool:
    """Whether a task that tidies up at its soft limit has; a process may be halted before the task's first line."""
    record = outcome(project, task_id)
    if record["state"] == "FAILURE":
        return failed_by(record) == "SoftTimeLimitExceeded" and not project.journal.of(key)
    return bool(record["result"] == '"tidied up"')


@pytest.mark.scenario("g")
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("task", ["spin", "hold", "work", "deaf"])
def test_a_hard_limit_ends_whatever_the_task_does(project: Project, task: str, pool: str) -> None:
    """In Python, in C with the interpreter's lock held, in a system call, with all signals blocked."""
    args = {"spin": [], "hold": [3600], "work": [3600], "deaf": []}[task]
    with project.working("-P", pool, "-c", "1") as worker:
        (task_id,) = project.client.send(task, [["long", *args]], time_limit=1.2)
        after = project.client.send("work", [["after"]])
        record = outcome(project, task_id)
        now = time.monotonic()
        late = [now - run.start - 1.2 for run in project.journal.of("long")]
        project.journal.recoveries += late
        print("ended so many seconds after its limit:", late)
        assert all(each < WITHIN + SLACK for each in late)
        project.client.wait_empty()
        assert worker.said("was ended at its hard time limit of 1.2 s")
    assert failed_by(record) == "TimeLimitExceeded"
    assert record["losses"] == 0
    assert len(project.journal.of("long")) <= 1, "once, unless it was halted before its first line"
    assert outcome(project, after[0])["state"] == "SUCCESS"
    account(project.journal, ["after"])


def test_a_short_limit_is_kept_as_well(project: Project) -> None:
    """The supervisor looks at its records once a second; it is told of limits that are shorter."""
    with project.working():
        ids = project.client.send("work", [[f"long-{n}", 3600] for n in range(6)], time_limit=0.2)
        begun = time.monotonic()
        records = [outcome(project, task_id) for task_id in ids]
        print(f"six limits of 0.2 s on two processes took {time.monotonic() - begun:.2f} s")
    assert {failed_by(record) for record in records} == {"TimeLimitExceeded"}
    assert {len(runs) for runs in project.journal.by_key().values()} == {1}


def test_limits_of_the_task_of_the_call_and_of_the_settings(project: Project) -> None:
    """Where it is the soft one that is asked for, the hard one is far: a process may be halted between them."""
    with project.working("--time-limit", "2.5", "--soft-time-limit", "1"):
        send = project.client.send
        (own_soft,) = send("has_limits", [["own-soft", True]], time_limit=FAR)
        (own_hard,) = send("has_limits", [["own-hard", False]])
        (of_call,) = send("has_limits", [["of-the-call", True]], soft_time_limit=0.1, time_limit=FAR)
        (of_setting,) = send("tidy", [["of-the-setting", 3600]], time_limit=FAR)
        (hard_of_setting,) = send("spin", [["hard-of-the-setting"]], soft_time_limit=FAR)
        struck = {
            of_call: ("SoftTimeLimitExceeded", 0.1),
            own_soft: ("SoftTimeLimitExceeded", 0.5),
            own_hard: ("TimeLimitExceeded", 1.5),
            hard_of_setting: ("TimeLimitExceeded", 2.5),
        }
        for task_id, (error, limit) in struck.items():
            record = outcome(project, task_id)
            assert failed_by(record) == error
            assert f'"exc_message":[{limit}]' in record["result"]
        assert tidied(project, of_setting, "of-the-setting")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_soft_limits_of_every_kind_of_task(project: Project, pool: str) -> None:
    """A function that sleeps on the main thread, one that computes on any, a coroutine."""
    with project.working("-P", pool, "-c", "2"):
        sleeps = ["sleeps"] if pool != "threads" else []
        spins, awaits = ([f"{kind}-{n}" for n in range(4)] for kind in ("spins", "awaits"))
        ids = project.client.send("tidy", [[key, 3600] for key in sleeps], soft_time_limit=0.3)
        ids += project.client.send("tidy", [[key, 3600, "spin"] for key in spins], soft_time_limit=0.3)
        ids += project.client.send("atidy", [[key, 3600] for key in awaits], soft_time_limit=0.3)
        in_time = project.client.send("tidy", [["in-time", 0.1]], soft_time_limit=FAR)
        for key, task_id in zip([*sleeps, *spins, *awaits], ids, strict=True):
            assert tidied(project, task_id, key), key
        assert outcome(project, in_time[0])["result"] == '"done"'
        project.client.wait_empty()


def test_a_coroutine_that_will_not_end_is_closed_and_its_process_lives_on(project: Project) -> None:
    """By its event loop, for which the supervisor would wait half a second: here it sees nothing meanwhile."""
    with Gate(project) as gate, project.working("-c", "1") as worker:
        beside = project.client.send("sleep_till", [["beside", gate.path]])
        run = project.journal.wait_started("beside")
        worker.signal(signal.SIGSTOP)
        (task_id,) = project.client.send("stubborn", [["stubborn"]], soft_time_limit=0.3, time_limit=1)
        assert failed_by(outcome(project, task_id)) == "TimeLimitExceeded"
        worker.signal(signal.SIGCONT)
        gate.open()
        assert outcome(project, beside[0])["state"] == "SUCCESS"
    assert {each.pid for runs in project.journal.by_key().values() for each in runs} == {run.pid}
    assert len(project.journal.of("beside")) == 1


def test_a_coroutine_that_blocks_its_loop_is_ended_with_its_process(project: Project) -> None:
    with project.working("-c", "1"):
        beside = project.client.send("sleep", [[f"beside-{n}", 2] for n in range(3)])
        project.journal.wait_started("beside-2")
        (task_id,) = project.client.send("block", [["blocks"]], time_limit=1)
        assert failed_by(outcome(project, task_id)) == "TimeLimitExceeded"
        records = [outcome(project, each) for each in beside]
        project.client.wait_empty()
    assert {(record["state"], record["losses"]) for record in records} == {("SUCCESS", 0)}
    assert len(project.journal.of("blocks")) <= 1


def test_neighbours_on_other_threads_run_again_uncounted(project: Project) -> None:
    with project.working("-P", "threads", "-c", "3"):
        beside = project.client.send("work", [["beside-1", 2], ["beside-2", 2]])
        project.journal.wait_started("beside-2")
        (task_id,) = project.client.send("work", [["long", 3600]], time_limit=1)
        assert failed_by(outcome(project, task_id)) == "TimeLimitExceeded"
        records = [outcome(project, each) for each in beside]
        project.client.wait_empty()
    assert {(record["state"], record["losses"]) for record in records} == {("SUCCESS", 0)}
    assert len(project.journal.of("long")) <= 1


def test_a_worker_that_stops_does_not_wait_longer_than_the_limit(project: Project) -> None:
    worker = project.start("-c", "1")
    # The supervisor is told to stop before it can see that the limit is over, however slow the machine.
    worker.signal(signal.SIGSTOP)
    (task_id,) = project.client.send("spin", [["spins"]], time_limit=2)
    project.journal.wait_started("spins")
    (waiting,) = project.client.send("work", [["waits"]])
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGCONT)
    assert worker.wait_end() == 0
    assert failed_by(outcome(project, task_id)) == "TimeLimitExceeded"
    assert project.client.ask("depths") == {"ready": 1, "scheduled": 0, "in_flight": 0}
    with project.working("-c", "1"):
        assert outcome(project, waiting)["state"] == "SUCCESS"


@pytest.mark.parametrize("place", [*PLACES, "postgres"])
def test_a_limit_that_strikes_in_the_midst_of_sending_spoils_nothing(
    make_project: MakeProject, place: str
) -> None:
    """What was sent runs once, and the next task in that process finds its connections in order."""
    project = make_project(place, **PATIENT)
    count = 40 * STRESS
    with project.working("-c", "1"):
        ids = [
            project.client.send("sends", [[f"sender-{n}"]], soft_time_limit=0.05 + n % 10 * 0.003)[0]
            for n in range(count)
        ]
        records = [outcome(project, task_id) for task_id in ids]
        project.client.wait_empty()
    counts = [how_many(project, record, f"sender-{n}") for n, record in enumerate(records)]
    sent = {f"sender-{n}-{m}" for n in range(count) for m in range(counts[n])}
    ran = {key: len(runs) for key, runs in project.journal.by_key().items() if key.count("-") == 2}
    assert sent <= ran.keys()
    assert set(ran.values()) == {1}
    # At most one of each was on its way when the limit struck.
    assert len(ran) - len(sent) <= count
    print(f"{len(sent)} sent by {count} tasks, {len(ran) - len(sent)} more of which the sender did not hear")


def how_many(project: Project, record: dict[str, Any], key: str) -> int:
    """Return how many tasks a sender says that it has sent, which is none where it did not get to its first line."""
    if record["state"] == "SUCCESS":
        return int(record["result"])
    assert failed_by(record) == "SoftTimeLimitExceeded" and not project.journal.of(key), record
    return 0


@pytest.mark.parametrize("pool", POOLS)
def test_tasks_that_end_right_at_their_limits_end_once(project: Project, pool: str) -> None:
    """Whichever comes first, there is one outcome, nothing is lost, and no other task is hit."""
    count = 60 * STRESS
    with project.working("-P", pool, "-c", "2"):
        ids = []
        for n in range(count):
            options = {"soft_time_limit": 0.1} if n % 3 else {"time_limit": 0.1}
            ids += project.client.send("work", [[f"at-{n}", 0.09 + n % 21 * 0.001]], **options)
            ids += project.client.send("work", [[f"other-{n}", 0.002]])
        records = [outcome(project, task_id) for task_id in ids]
        project.client.wait_empty()
    for n, (at, other) in enumerate(zip(records[::2], records[1::2], strict=True)):
        assert (other["state"], other["losses"]) == ("SUCCESS", 0), n
        runs = project.journal.of(f"at-{n}")
        assert pool == "threads" or len(runs) <= 1
        if at["state"] == "SUCCESS":
            assert runs[-1].end is not None
        else:
            assert failed_by(at) == ("SoftTimeLimitExceeded" if n % 3 else "TimeLimitExceeded")
    print(
        {state: sum(record["state"] == state for record in records[::2]) for state in ("SUCCESS", "FAILURE")}
    )
