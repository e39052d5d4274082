"""Redis is killed, frozen, cut off, or not there yet, under load: the worker says so once and goes on.

What `delay()` accepted is done once; what it refused never runs; what it could not tell of runs at most once.
"""

import itertools
import time

import pytest

from tests.faults.load import AWAY, PATIENT, accepted, check, load, resumed, told, wait_told
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until, wait
from tests.servers import RedisServer
from tests.size import size

pytestmark = pytest.mark.redis

#: Half of it is what all have, after an outage, to say that they live: more than any of them is held up for.
LEASE = 8.0


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """A project on a Redis that keeps what it accepted."""
    return make_project("redis")


@pytest.mark.slow
@pytest.mark.scenario("d")
def test_redis_is_killed_and_restarted_under_load(make_project: MakeProject, redis: RedisServer) -> None:
    project = make_project("redis", **PATIENT)
    # More processes than long tasks each: one that is busy asks nothing, and would notice nothing.
    with project.working("-c", "4") as worker, project.working("-n", "second", "-c", "3") as second:
        with load(project, 0.001) as end:
            for times in (1, 2, 3):
                redis.kill()
                for one in (worker, second):
                    one.wait_said(AWAY, times=times)
                wait_told(project)
                redis.start()
                project.journal.recoveries.append(resumed(project, "the server"))
                for one in (worker, second):
                    one.wait_said("Back after", times=times)
            sent = end()
        project.client.wait_empty()
        for one in (worker, second):
            assert told(one, 3) >= 3
            assert not one.said("Traceback")
    assert sent.refused
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
def test_redis_is_frozen_for_longer_than_the_lease(make_project: MakeProject, redis: RedisServer) -> None:
    project = make_project("redis", worker_lease=LEASE, broker_connection_timeout=60.0)
    with project.working("-c", "4") as worker, project.working("-n", "second", "-c", "1") as second:
        with load(project, 0.001) as end:
            redis.freeze()
            frozen = time.monotonic()
            worker.wait_said(AWAY)
            second.wait_said(AWAY)
            wait_told(project)
            wait(size(LEASE + 0.5, 30.0) - (time.monotonic() - frozen))
            redis.thaw()
            project.journal.recoveries.append(resumed(project, "the thaw"))
            worker.wait_said("Back after")
            sent = end()
        project.client.wait_empty()
        for one in (worker, second):
            told(one)
            assert not one.said("has not been heard of"), "nobody was dead"
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
def test_all_connections_are_cut_again_and_again_under_load(
    make_project: MakeProject, redis: RedisServer
) -> None:
    project = make_project("redis", **PATIENT)
    cuts = 10
    with project.working("-c", "4") as worker, project.working("-n", "second", "-c", "1") as second:
        with load(project, 0.001) as end:
            for _ in range(cuts):
                count = len(project.journal.done())
                until(lambda: redis.command("CLIENT", "KILL", "TYPE", "normal") > ":0", "some are cut")
                project.journal.wait_count(count + 40)
            sent = end()
        project.client.wait_empty()
        for one in (worker, second):
            assert len(one.said(AWAY)) <= cuts, one.log
            assert not one.said("Traceback")
    check(project, sent)


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(
    make_project: MakeProject, redis: RedisServer
) -> None:
    project = make_project("redis", **PATIENT)
    ids = project.client.send("work", [[1]])
    redis.kill()
    workers = [project.start("-P", pool, ready=False) for pool in ("prefork", "threads", "solo")]
    for worker in workers:
        worker.wait_said("Cannot reach redis://", "The worker starts when it is there.")
    stopped = workers.pop()
    assert stopped.stop() == 0, "a worker that waits can be stopped"
    redis.start()
    for worker in workers:
        worker.wait_ready()
    project.client.wait_empty()
    account(project.journal, [1])
    assert project.client.records(ids)[0]["state"] == "SUCCESS"
    for worker in workers:
        assert len(worker.said("Cannot reach")) == 1, worker.log
        assert worker.stop() == 0


def test_delay_says_that_redis_is_down_before_it_is_back(project: Project, redis: RedisServer) -> None:
    before = accepted(project, "before")
    redis.kill()
    for _ in range(3):
        error = project.client.delay("work", "lost")["error"]
        assert (error["type"], error["code"], error["maybe"]) == ("BrokerDown", "E109", False)
        assert redis.url in error["text"]
        assert "The task jobs.tasks.work was NOT queued" in error["text"]
    redis.start()
    after = accepted(project, "after")
    with project.working():
        project.client.wait_empty()
    ran = project.journal.done()
    assert {before, after} <= ran and "lost" not in ran


def test_delay_says_while_redis_is_frozen_that_it_cannot_tell(project: Project, redis: RedisServer) -> None:
    before, refused = [], []

    def unsure() -> str:
        """Return what may have been queued. A connection that was idle for 2 s is asked first, and then it is sure."""
        before.append(accepted(project, f"before-{len(before)}"))
        key = f"unsure-{len(before)}"
        redis.freeze()
        answer = project.client.delay("work", key)
        redis.thaw()
        error = answer["error"]
        assert (error["type"], error["code"]) == ("BrokerDown", "E109") and redis.url in error["text"]
        if not error["maybe"]:
            refused.append(key)
            return ""
        assert answer["seconds"] > 1.5 and "may have been queued (id " in error["text"]
        return key

    key = until(unsure, "it cannot tell")
    with project.working():
        project.client.wait_empty()
    account(project.journal, before)
    assert len(project.journal.of(key)) == 1  # it had been
    assert not project.journal.done() & set(refused)


@pytest.mark.slow
@pytest.mark.scenario("j")
@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_results_wait_for_a_store_that_is_away(make_project: MakeProject, place: str) -> None:
    with RedisServer(appendonly="yes", appendfsync="always") as store:
        project = make_project(place, result_backend=store.url, **PATIENT)
        with project.working() as worker:
            ids: list[str] = []
            for times in (1, 2):
                calls = [[f"{times}-{n}", 0.002] for n in range(300)]
                ids += project.client.send("work", calls[:150])
                project.journal.wait_count((times - 1) * 300 + 50)
                store.kill()
                ids += project.client.send("work", calls[150:])  # the others may all have been done
                worker.wait_said(AWAY, times=times)
                wait(size(0.0, 20.0))
                store.start()
                worker.wait_said("Back after", times=times)
                project.client.wait_empty()
            assert told(worker, 2) >= 2
        records = project.client.records(ids)
    assert {record["state"] for record in records} == {"SUCCESS"}
    keys = [f"{times}-{n}" for times, n in itertools.product((1, 2), range(300))]
    account(project.journal, keys)
