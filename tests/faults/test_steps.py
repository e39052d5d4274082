"""A process dies at every single step that it takes at the broker: before it, in the midst of it, after it.

The story is always the same and holds every way in which a message can go. Whatever the moment, all is well after a
fresh start: nothing is lost, what was settled is not run again, and what ran and was not settled is. The short form
takes some of the steps only.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.account import ONCE
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Kill, Project, account, until
from tests.scenarios.journal import PATIENCE
from tests.size import size

PLACES = ["sqlite", "redis", "postgres"]
#: How a process ends that dies at an odd step; at an even one it is by SIGKILL.
DIED = 66
#: A supervisor that dies with messages that it has just taken over keeps them for so long.
LEASE = 3.0
#: The short form takes every so many-th step.
EVERY = size(13, 1)


class Stage:
    """The process that `stepping` runs in, which forks one for each part."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.folder
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-W",
                "ignore::DeprecationWarning",
                Path(__file__).with_name("stepping.py"),
            ],
            env=project.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.playing: set[int] = set()
        self.plays = self.played = 0
        self.seen_off = 0.0
        self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE)[0], "the stage does not answer"
        line = self.process.stdout.readline()
        assert line, "the stage has fallen"
        return json.loads(line).get("answer")

    def _ask(self, **order: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()

    def play(self, part: str, at: int = 0) -> int:
        """Begin a part that is to die at step `at`; return its process."""
        self.note.unlink(missing_ok=True)
        self.plays += 1
        pid: int = self._ask(do="play", part=part, at=at, note=str(self.note), log=str(self.log_path))
        self.playing.add(pid)
        self.played = pid
        return pid

    @property
    def note(self) -> Path:
        """What the process that died has left: when, and at which step."""
        return self.folder / "note"

    @property
    def log_path(self) -> Path:
        """Where the last one writes what it says."""
        return self.folder / f"play-{self.plays}.log"

    @property
    def log(self) -> str:
        """What the last one has said."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def status(self, pid: int) -> int | None:
        """Return how a process has ended, None while it goes on."""
        answer: int | None = self._ask(do="status", pid=pid)
        return answer

    def wait_end(self, pid: int) -> int:
        """Wait for a process's end and return its status."""
        until(lambda: self.status(pid) is not None, lambda: f"it ends:\n{self.log[-3000:]}")
        self.seen_off = time.monotonic()
        self.playing.discard(pid)
        return self.status(pid) or 0

    def died(self) -> Kill | None:
        """Return the death of the last part, None if it lived."""
        if not self.note.exists():
            return None
        moment, pid, step, *_ = self.note.read_text().split()
        # A supervisor dies with its child; who is halted in the midst of it may begin something else until then.
        alone = int(pid) != self.played
        return Kill(float(moment), self.seen_off, f"died {step} a step", pid=int(pid) if alone else 0)

    def work(self, pid: int) -> None:
        """See a worker through: until it dies, or all is done; then it is stopped."""
        client = self.project.client
        until(
            lambda: (
                self.status(pid) is not None
                or (" ready." in self.log and not any(client.ask("depths").values()))
            ),
            lambda: f"all is done: {client.ask('depths')}\n{self.log[-4000:]}",
        )
        if self.status(pid) is None:
            os.kill(pid, signal.SIGTERM)
        self.wait_end(pid)

    def recover(self) -> None:
        """Have another worker do what is left."""
        pid = self.play("work")
        self.work(pid)
        assert self.status(pid) == 0, self.log[-4000:]

    def close(self) -> None:
        """End all."""
        for pid in self.playing:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait(PATIENCE)


@pytest.fixture(params=PLACES)
def stage(request: pytest.FixtureRequest, make_project: MakeProject) -> Iterator[Stage]:
    """A project on each broker, and the process that plays in it."""
    made = Stage(make_project(request.param, worker_lease=LEASE, **PATIENT))
    yield made
    made.close()


def story(stage: Stage, prefix: str) -> tuple[list[str], list[str]]:
    """Send one task for each way that a message can go; return the keys, and the ids of those that end in SUCCESS."""
    send = stage.project.client.send
    names = ["one", "two", "later", "again", "first", "last"]
    follow = {"task": "jobs.tasks.follow", "args": [], "kwargs": {}, "options": {}}
    ids = send("work", [[f"{prefix}-one"], [f"{prefix}-two"]])
    ids += send("work", [[f"{prefix}-later"]], countdown=0.2)
    ids += send("flaky", [[f"{prefix}-again", 1]])
    ids += send("work", [[f"{prefix}-first"]], link=follow)
    send("refuse", [[f"{prefix}-back", True]])
    send("refuse", [[f"{prefix}-refused", False]])
    send("at_most_once", [[f"{prefix}-at-most-once"]])
    ids += send("work", [[f"{prefix}-last"]])
    return [*(f"{prefix}-{name}" for name in names), f"after-{prefix}-first"], ids


def check(stage: Stage, prefix: str, keys: list[str], ids: list[str], died: Kill | None) -> None:
    """Give account of one performance."""
    project = stage.project
    hit = account(project.journal, keys, [died] if died else [], slots=1, slack=0.02)
    assert {record["state"] for record in project.client.records(ids)} == {"SUCCESS"}
    losses = sum(record["losses"] for record in project.client.records(ids))
    assert len(hit) <= 1 and losses <= 1  # it may have been hit before its first line
    assert len(project.journal.of(f"{prefix}-at-most-once")) <= 1
    # Once to be put back, once more; and once more than that where it was hit.
    assert 2 <= len(project.journal.of(f"{prefix}-back")) <= 3
    assert project.journal.of(f"{prefix}-back")[-1].end is not None
    refused = [
        letter for letter in project.client.ask("dead_letters") if f"{prefix}-refused'" in told(letter)
    ]
    assert len(refused) == 1 and refused[0]["reason"].startswith("rejected: ")
    project.journal.fates |= {f"{prefix}-refused": "dead letter", f"{prefix}-back": ONCE}


def told(letter: dict[str, Any]) -> str:
    """Return a message's text."""
    return bytes.fromhex(letter["payload"]).decode()


@pytest.mark.slow
@pytest.mark.scenario("steps")
@pytest.mark.timeout(size(600, 1800))
@pytest.mark.parametrize("part", ["serve", "supervise"])
def test_a_worker_dies_at_every_step(stage: Stage, part: str) -> None:
    """Its only child, or its supervisor."""
    at, deaths = size(EVERY // 2, 1), 0
    while True:
        prefix = f"{part}-{at}"
        ids, keys = [], []
        if part == "supervise":
            extra = [f"{prefix}-{name}" for name in ("held-1", "held-2", "unknown")]
            ids += stage.project.client.send("work", [[key] for key in extra])
            assert stage.wait_end(stage.play("abandon")) == 0, stage.log[-3000:]
            keys += extra
        more, more_ids = story(stage, prefix)
        pid = stage.play(part, at)
        stage.work(pid)
        died, log = stage.died(), stage.log
        if part == "supervise" and died:
            assert stage.status(pid) != 0
            stage.recover()
        else:
            assert stage.status(pid) == 0, log[-3000:]
        check(stage, prefix, keys + more, ids + more_ids, died)
        if died is None:
            break
        at += EVERY
        deaths += 1
    print(f"{deaths} deaths, and it takes less than {at} steps")
    assert deaths > size(1, 20)  # the slower the machine, the more goes into one step


@pytest.mark.scenario("steps")
@pytest.mark.timeout(600)
def test_a_sender_dies_at_every_step(stage: Stage) -> None:
    """What was accepted runs, and of a batch or a transaction all or nothing does."""
    at, status = 0, 1
    while status:
        at += 1
        status = stage.wait_end(stage.play("send", at))
        assert status in (0, DIED, -signal.SIGKILL), stage.log[-3000:]
    assert at > 6, stage.log[-3000:]
    stage.recover()
    told: dict[str, list[str]] = {"begun": [], "accepted": []}
    for line in stage.note.with_name("note.sent").read_text().splitlines():
        event, key = line.split()
        told[event].append(key)
    done = stage.project.journal.done()
    unsure = [key for key in told["begun"] if key not in told["accepted"] and key in done]
    assert account(stage.project.journal, [*told["accepted"], *unsure]) == []
    assert done == {*told["accepted"], *unsure}
    for n in range(1, at + 1):
        for kind in ("batch", "atomic"):
            of_one = [key for key in told["begun"] if key.startswith(f"s{n}-{kind}")]
            whole = kind == "batch" or "broker_url" not in stage.project.settings
            # On another broker what is sent in a transaction follows its commit, one by one.
            assert not whole or len([key for key in of_one if key in done]) in (0, len(of_one)), of_one
    print(f"{at - 1} deaths: {len(told['accepted'])} accepted, {len(unsure)} more were")
