"""Work for a worker while its broker is away, and the account afterwards. Used by the tests of faults."""

import fcntl
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.scenarios.harness import Project, Sent, Worker, account, until
from tests.size import size

LONG = ["long-0", "long-1"]
#: What the line of an outage ends with.
AWAY = "The worker waits and goes on when it is back."
#: Settings for tests in which a server is there, and slow at most: nobody takes that for an outage.
PATIENT: dict[str, Any] = {"task_publish_timeout": 60.0, "broker_connection_timeout": 60.0}
#: A lease that does not run out in a test: what happens in it happened in another way.
ENDLESS = 600.0
#: Seconds from the end of an outage until tasks run again. Asked in the long form: `make test` runs on machines that
#: stand still now and then.
RESUMED_WITHIN = size(math.inf, 5.0)


class Gate:
    """What `work_till` and `sleep_till` wait for: they pass when it is open. Ends with the block, or with the test."""

    def __init__(self, project: Project, name: str = "gate", side: str = "") -> None:
        #: The task's argument. `side` is SCENARIO_SIDE in the worker's environment.
        self.path = str(project.journal.path.with_name(name))
        self._file = open(self.path + side, "w")  # noqa: SIM115, PTH123 - closed when it is opened
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def open(self) -> None:
        """Let all pass, those that come later too."""
        self._file.close()

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.open()


@contextmanager
def load(project: Project, pause: float) -> Iterator[Callable[[], Sent]]:
    """Two long tasks that keep two of the worker's processes, and a stream of short ones, `pause` apart.

    Give a function that ends both, and returns what became of the stream.
    """
    with Gate(project) as gate:
        project.client.send("work_till", [[key, gate.path] for key in LONG])
        for key in LONG:
            project.journal.wait_started(key)
        project.client.begin("work", range(100_000), 0.001, pause=pause)
        project.journal.wait_count(50)

        def end() -> Sent:
            gate.open()
            return project.client.finish(stop=True)

        yield end


def send_with_long(project: Project, gate: Gate, long: Sequence[str], short: Sequence[Any]) -> list[str]:
    """Send, in one batch, tasks that wait at the gate and behind them short ones; return the ids."""
    calls = [["jobs.tasks.work_till", [key, gate.path]] for key in long]
    calls += [["jobs.tasks.work", [key, 0.001]] for key in short]
    return list(project.client.ask("send_mixed", calls=calls))


def wait_told(project: Project) -> None:
    """Wait until the stream has been told that a call failed: during an outage, that `delay` does not outwait it."""
    before = sum(_failed(project))
    until(lambda: sum(_failed(project)) > before, "delay() gives up")


def _failed(project: Project) -> tuple[int, int]:
    counts = project.client.ask("so_far")
    return counts["maybe"], counts["refused"]


def told(worker: Worker, outages: int = 1) -> int:
    """Return how often `worker` has said that the other side is away, once it has said as often that it is back.

    That is once for each outage; and once more at most for each process that hears of it when the others were back
    already: it was not scheduled, or its call was begun in the outage. Not at all where nobody asked
    anything meanwhile.
    """
    until(lambda: len(worker.said(AWAY)) == len(worker.said("Back after")), lambda: worker.log[-2000:])
    times = len(worker.said(AWAY))
    assert times <= outages + 1 + len(worker.children()), worker.log
    return times


def resumed(project: Project, after: str) -> float:
    """Return how many seconds from now the next task begins, once fifty more are done."""
    begun, count = time.monotonic(), len(project.journal.done())
    project.journal.wait_count(count + 50)
    seconds = min(run.start for run in project.journal.runs() if run.start > begun) - begun
    print(f"resumed {seconds:.2f} s after {after}")
    assert seconds < RESUMED_WITHIN
    return seconds


def accepted(project: Project, name: str) -> str:
    """Call `delay` until it has accepted a task, more than once where the server is slow; return its key."""
    keys = (f"{name}-{n}" for n in itertools.count())

    def call() -> str:
        key = next(keys)
        return key if "id" in project.client.delay("work", key) else ""

    return until(call, f"{name} is accepted")


def check(project: Project, sent: Sent) -> None:
    """Account for everything once the queues are empty."""
    assert len(sent.accepted) > 50
    done = project.journal.done()
    account(project.journal, [*LONG, *sent.accepted])
    assert not done & set(sent.refused), "refused by delay(), and yet run"
    maybe = [key for key in sent.maybe if key in done]
    account(project.journal, maybe)
    assert project.client.ask("dead_letters") == []
    print(
        f"{len(sent.accepted)} accepted and done once, {len(sent.refused)} refused, "
        f"{len(sent.maybe)} unsure of which {len(maybe)} ran; the longest delay() took {sent.longest:.2f} s"
    )


def run_soon(project: Project, name: str) -> list[str]:
    """Send one task after another to an idle worker until five in a row have begun soon; return their keys.

    Whoever is woken is that quick sooner or later, however slow the machine; children that look now and then are not:
    three of them, each every 5 s, find a task after 1.25 s on average.
    """
    keys: list[str] = []
    waits: list[float] = []

    def soon() -> bool:
        keys.append(f"{name}-{len(keys)}")
        sent = time.monotonic()
        project.client.send("work", [keys[-1:]])
        project.journal.wait_done(keys[-1:])
        project.client.wait_empty()
        waits.append(project.journal.of(keys[-1])[0].start - sent)
        return len(waits) >= 5 and sum(waits[-5:]) < 1.5

    until(soon, lambda: f"tasks begin soon: {waits}")
    project.journal.recoveries.append(waits[0])
    return keys
