"""Redis is killed, frozen, cut off, or not there yet, under load: the worker says so once and goes on.

What `delay()` accepted is done once; what it refused never runs; what it could not tell of runs at most once.
"""

import itertools
import time

import pytest

from tests.faults.load import LEASE, begin_load, check
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, wait
from tests.servers import RedisServer
from tests.size import size

pytestmark = pytest.mark.redis

#: What the line of an outage ends with.
AWAY = "The worker waits and goes on when it is back."


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """A project on a Redis that keeps what it accepted."""
    return make_project("redis", worker_lease=LEASE)


@pytest.mark.slow
@pytest.mark.scenario("d")
def test_redis_is_killed_and_restarted_under_load(project: Project, redis: RedisServer) -> None:
    # More processes than long tasks each: one that is busy asks nothing, and would notice nothing.
    with project.working("-c", "4") as worker, project.working("-n", "second", "-c", "3") as second:
        begin_load(project, 6.0, 0.001)
        for times in (1, 2, 3):
            redis.restart(down=1.0)
            up = time.monotonic()
            count = len(project.journal.done())
            project.journal.wait_count(count + 50)
            resumed = min(run.start for run in project.journal.runs() if run.start > up)
            print(f"resumed {resumed - up:.2f} s after the server")
            project.journal.recoveries.append(resumed - up)
            assert resumed - up < 4
            worker.wait_said("Back after", times=times)
            second.wait_said("Back after", times=times)
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        for one in (worker, second):
            assert len(one.said(AWAY)) == len(one.said("Back after")) == 3, one.log
            assert not one.said("Traceback")
    assert sent.longest < 3.5
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
@pytest.mark.timeout(size(120, 240))
def test_redis_is_frozen_for_longer_than_the_lease(project: Project, redis: RedisServer) -> None:
    with project.working("-c", "4") as worker, project.working("-n", "second", "-c", "1") as second:
        begin_load(project, size(9.0, 36.0), 0.001)
        redis.freeze()
        frozen = time.monotonic()
        worker.wait_said(AWAY)
        second.wait_said(AWAY)
        wait(size(2 * LEASE, 30.0) - (time.monotonic() - frozen))
        redis.thaw()
        thawed = time.monotonic()
        project.journal.wait_count(len(project.journal.done()) + 50)
        resumed = min(run.start for run in project.journal.runs() if run.start > thawed)
        print(f"resumed {resumed - thawed:.2f} s after the thaw")
        project.journal.recoveries.append(resumed - thawed)
        assert resumed - thawed < 5
        worker.wait_said("Back after")
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        for one in (worker, second):
            assert len(one.said(AWAY)) == 1, one.log
            assert not one.said("has not been heard of"), "nobody was dead"
    assert sent.maybe
    assert sent.longest < 3.5
    check(project, sent)


@pytest.mark.slow
@pytest.mark.scenario("e")
def test_all_connections_are_cut_again_and_again_under_load(project: Project, redis: RedisServer) -> None:
    cuts = 10
    with project.working("-c", "4") as worker, project.working("-n", "second", "-c", "1") as second:
        begin_load(project, 4.0, 0.001)
        for _ in range(cuts):
            count = len(project.journal.done())
            cut = redis.command("CLIENT", "KILL", "TYPE", "normal")
            assert cut.startswith(":") and cut != ":0"
            project.journal.wait_count(count + 40)
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        for one in (worker, second):
            assert len(one.said(AWAY)) <= cuts, one.log
            assert not one.said("Traceback")
    check(project, sent)


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(project: Project, redis: RedisServer) -> None:
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


def test_delay_says_within_two_seconds_that_redis_is_down(project: Project, redis: RedisServer) -> None:
    project.client.delay("work", "before")
    redis.kill()
    for _ in range(3):
        answer = project.client.delay("work", "lost")
        assert answer["seconds"] < 2.5
        error = answer["error"]
        assert (error["type"], error["code"], error["maybe"]) == ("BrokerDown", "E109", False)
        assert redis.url in error["text"]
        assert "The task jobs.tasks.work was NOT queued" in error["text"]
    redis.start()
    project.client.delay("work", "after")
    with project.working():
        project.client.wait_empty()
    assert project.journal.done() == {"before", "after"}


def test_delay_says_within_its_deadline_that_it_cannot_tell(project: Project, redis: RedisServer) -> None:
    project.client.delay("work", "before")
    redis.freeze()
    answer = project.client.delay("work", "unsure")
    redis.thaw()
    assert 1.5 < answer["seconds"] < 3.0
    error = answer["error"]
    assert (error["type"], error["code"], error["maybe"]) == ("BrokerDown", "E109", True)
    assert redis.url in error["text"] and "may have been queued (id " in error["text"]
    with project.working():
        project.client.wait_empty()
    account(project.journal, ["before"])
    assert len(project.journal.of("unsure")) == 1  # it had been


@pytest.mark.slow
@pytest.mark.scenario("j")
@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_results_wait_for_a_store_that_is_away(make_project: MakeProject, place: str) -> None:
    with RedisServer(appendonly="yes", appendfsync="always") as store:
        project = make_project(place, result_backend=store.url)
        with project.working() as worker:
            ids: list[str] = []
            for times in (1, 2):
                ids += project.client.send("work", [[f"{times}-{n}", 0.002] for n in range(300)])
                project.journal.wait_count((times - 1) * 300 + 50)
                store.kill()
                worker.wait_said(AWAY, times=times)
                wait(size(0.0, 20.0))
                store.start()
                worker.wait_said("Back after", times=times)
                project.client.wait_empty()
            assert len(worker.said(AWAY)) == 2, worker.log
        records = project.client.records(ids)
    assert {record["state"] for record in records} == {"SUCCESS"}
    keys = [f"{times}-{n}" for times, n in itertools.product((1, 2), range(300))]
    account(project.journal, keys)
