"""A project that signs its tasks changes its SECRET_KEY, with workers at work."""

import pytest

from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Client, Project, account, until

UNSIGNED = protocol.encode(
    Message(Headers("jobs.tasks.work", "forged"), Properties(), b'[["forged"],{},{}]'), "celery"
)


@pytest.mark.redis
def test_the_key_is_changed_without_losing_a_task(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project: Project = make_project("redis", task_signing=True)
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
