"""A real Celery 5.7 and Celeriac on one Redis: either side's tasks on the other side's worker, results read across.

Each side runs as its users run it: workers by their command, producers in processes of their own.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.servers import RedisServer

pytestmark = pytest.mark.redis
PATIENCE = 200.0
PROJECT = Path(__file__).with_name("project")
SIDES = {"celery": "celery_side", "celeriac": "our_side"}


class Fleet:
    """One Redis database, a journal, and the processes of both sides."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.journal.touch()
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "DJANGO"))
            },
            "REDIS": url,
            "JOURNAL": str(self.journal),
            "PYTHONPATH": str(PROJECT),
        }

    @contextmanager
    def worker(self, side: str, *words: str, status: int = 0) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker of one side, with more `words`, until the block ends; it must end with `status`."""
        module = SIDES[side]
        log = self.folder / f"{side}.log"
        command = [
            sys.executable,
            "-m",
            side,
            "-A",
            module,
            "worker",
            "-l",
            "info",
            "-c",
            "2",
            "-n",
            f"{side}@here",
            *words,
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdout=output, stderr=output
            )
            try:
                wait_for(
                    lambda: " ready" in log.read_text() or process.poll() is not None, lambda: log.read_text()
                )
                assert process.poll() is None, log.read_text()
                yield process
                process.terminate()
                assert process.wait(PATIENCE) == status, log.read_text()
            finally:
                process.kill()
                process.wait(PATIENCE)

    def call(self, side: str, script: str) -> Any:
        """Run a script with one side's `app` and tasks in a process of its own; return what it assigns to `out`."""
        text = f"import json\nfrom {SIDES[side]} import *\n{script}\nprint(json.dumps(out))"
        done = subprocess.run(
            [sys.executable, "-c", text],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout.decode().splitlines()[-1])

    def runs(self) -> Counter[str]:
        return Counter(self.journal.read_text().splitlines())

    def wait_for_runs(self, count: int) -> None:
        """Return when the journal has `count` lines, of which nobody has the results."""
        wait_for(lambda: sum(self.runs().values()) >= count, lambda: f"{count} wanted: {self.runs()}")


def wait_for(condition: Any, told: Any, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, told()
        time.sleep(0.02)


@pytest.fixture
def fleet(redis_server: RedisServer, tmp_path: Path) -> Fleet:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return Fleet(redis_server.url, tmp_path)


ACROSS = [("celery", "celeriac"), ("celeriac", "celery")]

CALLS = """
import datetime, decimal, uuid
value = {"when": datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc), "price": decimal.Decimal("1.10"),
         "id": uuid.UUID(int=7), "raw": b"bytes", "text": "ü", "list": [1, 2.5, None, True]}
sum_, text, echoed, soon, rich = (
    add.delay(1, 2), fail.delay("boom"), echo.delay(value), add.apply_async((3, 4), countdown=0.7),
    headers.apply_async(headers={"x-tenant": 7}, task_id="my-own-id"))
try:
    text.get(timeout=100)
    error = None
except ValueError as caught:
    error = [type(caught).__name__, str(caught)]
back = echoed.get(timeout=100)
out = [sum_.get(timeout=100), error, text.state, back == value, soon.get(timeout=100), rich.get(timeout=100),
       "ValueError: boom" in text.traceback]
"""


@pytest.mark.parametrize(("producer", "worker"), ACROSS)
def test_tasks_of_one_side_run_on_the_others_worker(fleet: Fleet, producer: str, worker: str) -> None:
    with fleet.worker(worker):
        got = fleet.call(producer, CALLS)
    headers = [{"x-tenant": 7}, "my-own-id", "my-own-id", "celery"]
    assert got == [3, ["ValueError", "boom"], "FAILURE", True, 7, headers, True]
    assert fleet.runs() == {f"{worker} add-1-2": 1, f"{worker} add-3-4": 1}


@pytest.mark.parametrize(("producer", "worker"), ACROSS)
def test_retries_and_many_at_once(fleet: Fleet, producer: str, worker: str) -> None:
    many = (
        "group(add.s(n, 0) for n in range(50))()"
        if producer == "celery"
        else "app.send_many(add.s(n, 0) for n in range(50))"
    )
    imports = "from celery import group\n" if producer == "celery" else ""
    script = (
        f"{imports}many = {many}\nresult = flaky.delay('a')\n"
        "out = [result.get(timeout=100), sorted(r.get(timeout=100) for r in many)]"
    )
    with fleet.worker(worker):
        got = fleet.call(producer, script)
    assert got == [2, list(range(50))]
    runs = fleet.runs()
    assert all(runs[f"{worker} flaky-a-{n}"] == 1 for n in range(3))
    assert sum(runs.values()) == 53
    assert set(runs.values()) == {1}


def test_both_workers_share_one_queue(fleet: Fleet) -> None:
    # In bursts: of each Celery's worker, whose call Redis holds, gets the first, and ours what Celery cannot take yet.
    # More than 100 of them where one of the two is halted meanwhile.
    send = """
import os, time
from collections import Counter
from pathlib import Path

def shares():
    return Counter(line.partition(" ")[0] for line in Path(os.environ["JOURNAL"]).read_text().splitlines())

results, begun, until = [], shares(), time.monotonic() + 100
while len(results) < 150 or (min((shares() - begun)[side] for side in ("celery", "celeriac")) <= 5
                             and time.monotonic() < until):
    results += [add.delay(len(results) + n, {tag}) for n in range(10)]
    time.sleep(0.05)
"""
    check = "out = [r.get(timeout=100) for r in results] + [flaky.delay('{tag}').get(timeout=100)]"
    sent = 0
    with ExitStack() as stack:
        for side in SIDES:
            stack.enter_context(fleet.worker(side))
        for tag, side in enumerate(SIDES):
            got = fleet.call(side, (send + check).replace("{tag}", str(tag)))
            assert got == [n + tag for n in range(len(got) - 1)] + [2]
            sent += len(got) - 1
    runs = fleet.runs()
    tasks = Counter(line.partition(" ")[2] for line in runs.elements())
    assert set(tasks.values()) == {1}
    assert len(tasks) == sent + 6
    shares = Counter(line.partition(" ")[0] for line in runs.elements())
    print(f"shares: {dict(shares)}")
    assert shares["celery"] > 10
    assert shares["celeriac"] > 10


def test_celerys_workers_cannot_be_counted_and_are_not_overlooked(fleet: Fleet) -> None:
    look = "out = app.broker.readers()"
    assert fleet.call("celeriac", look) == {}
    with fleet.worker("celeriac"):
        assert set(map(tuple, fleet.call("celeriac", look).values())) == {("celery",)}
        with fleet.worker("celery", "--without-gossip", "--without-mingle"):
            # It blocks on a list or listens for remote control: a moment after it is ready.
            wait_for(lambda: fleet.call("celeriac", look) is None, lambda: "it is overlooked")
    wait_for(lambda: fleet.call("celeriac", look) == {}, lambda: "they are still there")


def test_priorities_in_a_mixed_fleet_are_celerys(fleet: Fleet) -> None:
    """0 before 9, as Celery's Redis transport has it, whoever sends and whoever works."""
    script = "out = [add.apply_async((n, p), priority=p).id for n, p in enumerate([9, 0, 6, 3])]"
    fleet.call("celeriac", script)
    code = "from our_side import *\nfrom celeriac.brokers import KEEPERS\nfrom celeriac.message import protocol\n"
    code += (
        "b = app.broker; b.register('me', 60)\n"
        "out = [protocol.decode(d.payload).headers.argsrepr for d in b.claim('me', ['celery'], 10, 1)]"
    )
    assert fleet.call("celeriac", code) == ["(1, 0)", "(3, 3)", "(2, 6)", "(0, 9)"]
