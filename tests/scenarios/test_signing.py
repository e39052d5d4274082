"""A project begins to sign its tasks, and changes its SECRET_KEY, with workers at work."""

from datetime import UTC, datetime, timedelta

import pytest

from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from celeriac.message.signing import Signer
from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Client, Project, account, until
from tests.servers import RedisServer

UNSIGNED = protocol.encode(
    Message(Headers("jobs.tasks.work", "forged"), Properties(), b'[["forged"],{},{}]'), "celery"
)


@pytest.mark.redis
def test_the_key_is_changed_without_losing_a_task(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project: Project = make_project("redis", task_signing=True, **PATIENT)
    monkeypatch.setenv("SCENARIO_SECRETS", "old")
    old = Client(project)
    monkeypatch.setenv("SCENARIO_SECRETS", "new old")
    try:
        with project.working() as worker:
            # Signed with the old key, of which one is due later, one is retried and one dies with its process once.
            old.send("work", [["old"]])
            old.send("work", [["scheduled"]], countdown=1.0)
            old.send("again_later", [["retried", 0.3]])
            old.send("die", [["dies", "kill", 1]])
            project.client.send("work", [["new"]])  # by a process that has the new one
            project.client.ask("put", payloads=[UNSIGNED.hex()])
            keys = ["old", "scheduled", "retried", "dies", "new"]
            project.journal.wait_done(keys)
            project.client.wait_empty()
            until(lambda: worker.said("dead letter", "it is not signed"), "what is forged is told")
        monkeypatch.setenv("SCENARIO_SECRETS", "new")
        with project.working() as worker:
            old.send("work", [["too old"]])
            project.client.send("work", [["newer"]])
            project.journal.wait_done([*keys, "newer"])
            project.client.wait_empty()
            until(
                lambda: worker.said("dead letter", "its signature is wrong"),
                "the old key does not count any more",
            )
    finally:
        old.close()
    assert len(project.client.ask("dead_letters")) == 2
    assert not {"forged", "too old"} & project.journal.done()
    account(project.journal, [key for key in [*keys, "newer"] if key != "dies"])


@pytest.mark.redis
def test_it_is_turned_on_while_celery_still_sends(make_project: MakeProject, redis: RedisServer) -> None:
    """What a stock Celery sends is run until the time that was set, and set aside afterwards; ours is run always."""
    celery = pytest.importorskip("celery")
    from tests.celery_close import close_celery

    project: Project = make_project("redis", task_signing=True, **PATIENT)
    forged = protocol.encode(
        Message(Headers("jobs.tasks.work", "f"), Properties(), b'[["forged"],{},{}]'),
        "celery",
        Signer(["guessed"]),
    )
    theirs = celery.Celery("theirs", broker=redis.url, set_as_current=False, fixups=[])
    try:
        with project.working(
            task_signing_optional_until=(datetime.now(UTC) + timedelta(hours=1)).isoformat()
        ) as worker:
            theirs.send_task("jobs.tasks.work", ["theirs"])
            project.client.ask("put", payloads=[forged.hex()])
            project.client.send("work", [["ours"]])
            project.journal.wait_done(["theirs", "ours"])
            project.client.wait_empty()
            until(lambda: worker.said("dead letter", "its signature is wrong"), "what is forged is told")
            until(
                lambda: worker.said("jobs.tasks.work", "is not signed", "task_signing_optional_until"),
                "it is told",
            )
        with project.working(
            task_signing_optional_until=(datetime.now(UTC) - timedelta(hours=1)).isoformat()
        ) as worker:
            theirs.send_task("jobs.tasks.work", ["too-late"])
            project.client.send("work", [["ours-too"]])
            project.journal.wait_done(["theirs", "ours", "ours-too"])
            project.client.wait_empty()
            until(lambda: worker.said("dead letter", "it is not signed, and had to be"), "it is told")
    finally:
        close_celery(theirs)
    assert len(project.client.ask("dead_letters")) == 2
    account(project.journal, ["theirs", "ours", "ours-too"])
