"""What the scenarios play with: a Django project in a folder of the test's own, its workers and its web process.

Everything is a real process, driven through the public command line and API, and watched from outside: by the journal
that the tasks keep, by the workers' log, by the result store and the broker's counts. Nothing waits without
a deadline, and every process that is started ends with the test.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

PROJECT = Path(__file__).with_name("project")
PATIENCE = 60.0
_Found = TypeVar("_Found")


def until(
    condition: Callable[[], _Found], what: str | Callable[[], str], seconds: float = PATIENCE
) -> _Found:
    """Return what `condition` returns as soon as that is true; fail after `seconds`, saying what did not happen."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"Within {seconds:g} s not: {what if isinstance(what, str) else what()}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.02)


# -- the journal


class Run(Struct):
    """One run of a task as its journal tells it. Times are monotonic; `end` is None if it did not come to its end."""

    key: str
    pid: int
    losses: int
    retries: int
    start: float
    end: float | None = None


class Kill(Struct):
    """A SIGKILL: it fell between these two moments."""

    before: float
    after: float

    def hit(self, run: Run, slack: float) -> bool:
        """Whether it may have hit `run`; `slack` is the time between its last line and its being noted as done."""
        return run.start <= self.after and (run.end is None or run.end + slack >= self.before)


def kill(pid: int) -> Kill:
    """SIGKILL to one process."""
    before = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    return Kill(before, time.monotonic())


class Journal:
    """What the tasks wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._runs: list[Run] = []
        self._going: dict[tuple[str, ...], Run] = {}
        self._read = 0

    def runs(self) -> list[Run]:
        """Return all runs, in the order of their start."""
        with self.path.open() as file:
            file.seek(self._read)
            text = file.read()
        text = text[: text.rfind("\n") + 1]  # the last line may be on its way
        self._read += len(text)  # it is ASCII
        for line in text.splitlines():
            moment, event, *words = line.split()
            if event == "start":
                key, pid, losses, retries = words
                run = self._going[tuple(words)] = Run(key, int(pid), int(losses), int(retries), float(moment))
                self._runs.append(run)
            else:
                self._going.pop(tuple(words)).end = float(moment)
        return self._runs

    def of(self, key: Any) -> list[Run]:
        """Return the runs of one task."""
        return [run for run in self.runs() if run.key == str(key)]

    def by_key(self) -> dict[str, list[Run]]:
        """Return the runs of each task."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs():
            found[run.key].append(run)
        return found

    def done(self) -> set[str]:
        """Return the keys of the tasks that came to their end."""
        return {run.key for run in self.runs() if run.end is not None}

    def running(self) -> list[Run]:
        """Return the runs without an end."""
        return [run for run in self.runs() if run.end is None]

    def wait_started(self, key: Any, times: int = 1, seconds: float = PATIENCE) -> Run:
        """Return the last of `times` runs of a task as soon as it has begun."""

        def begun() -> Run | None:
            runs = self.of(key)
            return runs[times - 1] if len(runs) >= times else None

        return until(begun, f"run {times} of {key} begins", seconds)

    def wait_done(self, keys: Iterable[Any], seconds: float = PATIENCE) -> None:
        """Wait until every task has come to its end."""
        wanted = {str(key) for key in keys}
        until(
            lambda: wanted <= self.done(),
            lambda: (
                f"{len(wanted - self.done())} of {len(wanted)} tasks end: {sorted(wanted - self.done())[:10]}"
            ),
            seconds,
        )

    def wait_count(self, count: int, seconds: float = PATIENCE) -> None:
        """Wait until `count` tasks have come to their end."""
        until(
            lambda: len(self.done()) >= count, lambda: f"{count} tasks end; {len(self.done())} have", seconds
        )


#: From a task's last line in the journal to its outcome being on record, on a busy machine.
SLACK = 0.05


def account(
    journal: Journal,
    keys: Iterable[Any],
    kills: Sequence[Kill] = (),
    slots: int = 2,
    slack: float = SLACK,
) -> list[Run]:
    """Check that every task was done, and run once unless one of the `kills` hit it; return the runs that were hit.

    No kill may have hit more than `slots` of them, and no run may have begun while an earlier one of its task went on.
    A run that ended up to `slack` seconds before a kill may have been hit by it.
    """
    by_key = journal.by_key()
    wanted = {str(key) for key in keys}
    lost = sorted(key for key in wanted if not by_key.get(key) or by_key[key][-1].end is None)
    assert not lost, f"{len(lost)} of {len(wanted)} tasks were not done: {lost[:10]}"
    hit: list[Run] = []
    victims = [0] * len(kills)
    for key in wanted:
        for run, again in pairwise(by_key[key]):
            causes = [n for n, kill in enumerate(kills) if kill.hit(run, slack) and kill.before < again.start]
            assert causes, f"{key} ran twice without a cause: {by_key[key]}, kills {kills}"
            victims[causes[0]] += 1
            hit.append(run)
    assert all(count <= slots for count in victims), f"More ran again than had run: {victims}"
    return hit


# -- processes


class Worker:
    """A worker of a project, in a process group of its own, its log in a file."""

    def __init__(self, project: "Project", words: Sequence[str], environment: dict[str, str]) -> None:
        self.log_path = project.folder / f"worker-{len(project.workers)}.log"
        command = [sys.executable, "-W", "error", str(PROJECT / "manage.py"), "celeriac", "worker", *words]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has said."""
        return self.log_path.read_text(errors="replace")

    def said(self, *words: str) -> list[str]:
        """Return the lines of the log that hold all of `words`."""
        return [line for line in self.log.splitlines() if all(word in line for word in words)]

    def wait_said(self, *words: str, times: int = 1, seconds: float = PATIENCE) -> None:
        """Wait for a line in the log."""
        until(
            lambda: len(self.said(*words)) >= times or self.process.poll() is not None,
            lambda: f"the worker says {words} ({times}): {self.log[-3000:]}",
            seconds,
        )
        assert len(self.said(*words)) >= times, f"The worker has ended:\n{self.log[-3000:]}"

    def wait_ready(self, seconds: float = PATIENCE) -> "Worker":
        """Wait until all its children are at work."""
        self.wait_said(" ready.", seconds=seconds)
        return self

    def children(self) -> list[int]:
        """Return the processes that run tasks."""
        found: list[int] = []
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{self.pid}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
        return found

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor alone."""
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Send a signal to all of the worker's processes, as a terminal does; nothing where it has ended."""
        # Once it is waited for, its number may be somebody else's.
        if self.process.poll() is None:
            os.killpg(self.pid, number)

    def kill_tree(self) -> Kill:
        """SIGKILL to all at once. They are gone afterwards."""
        before = time.monotonic()
        self.signal_group(signal.SIGKILL)
        self.process.wait(PATIENCE)
        return Kill(before, time.monotonic())

    def wait_end(self, seconds: float = PATIENCE) -> int:
        """Return the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"The worker does not end:\n{self.log[-3000:]}") from None

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM, and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_end(seconds)


class Client:
    """The project's web process: sends tasks, and looks into broker and result store."""

    def __init__(self, project: "Project") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROJECT / "client.py")],
            env=project.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._asked = 0
        self._read(PATIENCE)

    def _read(self, seconds: float) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], seconds)[0]:
            raise AssertionError(f"The web process has not answered within {seconds:g} s.")
        line = stdout.readline()
        assert line, "The web process has ended."
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, seconds: float = PATIENCE, **arguments: Any) -> Any:
        """Have one of client.py's operations done and return what it returns."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._read(seconds)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def send(self, task: str, calls: Sequence[Sequence[Any]], **options: Any) -> list[str]:
        """Send calls in one batch; return the ids."""
        return list(self.ask("send", task=f"jobs.tasks.{task}", calls=calls, options=options))

    def delay(self, task: str, *args: Any) -> dict[str, Any]:
        """Call `delay` once; return the id or the error, and the seconds that it took."""
        return dict(self.ask("delay", task=f"jobs.tasks.{task}", args=args))

    def begin(self, task: str, keys: Sequence[Any], *args: Any, pause: float = 0.0) -> None:
        """Begin to send in the background, one by one."""
        self.ask("begin", task=f"jobs.tasks.{task}", keys=list(keys), args=args, pause=pause)

    def finish(self, stop: bool = False) -> "Sent":
        """Wait for the background's end; return what was accepted."""
        answer = self.ask("finish", stop=stop)
        lists = {name: [str(key) for key in answer[name]] for name in ("accepted", "maybe", "refused")}
        return Sent(**lists, longest=answer["longest"])

    def wait_empty(self, seconds: float = PATIENCE) -> None:
        """Wait until no message is ready, scheduled or in flight."""
        until(
            lambda: not any(self.ask("depths").values()),
            lambda: f"the queues are empty: {self.ask('depths')}",
            seconds,
        )

    def records(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the stored result of each id; fails where one is missing."""
        found = self.ask("records", ids=ids)
        missing = [task_id for task_id, record in zip(ids, found, strict=True) if record is None]
        assert not missing, f"{len(missing)} of {len(ids)} tasks have no result: {missing[:5]}"
        return list(found)

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


class Sent(Struct):
    """What became of the calls that the web process made one by one, by key."""

    accepted: list[str]
    maybe: list[str]
    refused: list[str]
    longest: float


# -- the project


class Project:
    """A Django project with its own database, journal and flight records. `settings` are Celeriac's, lower-case."""

    def __init__(self, folder: Path, database: dict[str, Any], **settings: Any) -> None:
        self.folder = folder
        self.database = database
        self.settings = {"worker_state_dir": str(folder / "state"), **settings}
        self.journal = Journal(folder / "journal")
        self.workers: list[Worker] = []
        self._client: Client | None = None

    def environment(self, **settings: Any) -> dict[str, str]:
        """Return the environment of a process of this project; `settings` go before the project's."""
        left_out = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "DJANGO_SETTINGS_MODULE", "FORCE_COLOR")
        names = {f"CELERY_{name.upper()}": value for name, value in (self.settings | settings).items()}
        return {name: value for name, value in os.environ.items() if name not in left_out} | {
            "SCENARIO": json.dumps({"database": self.database, "settings": names}),
            "SCENARIO_JOURNAL": str(self.journal.path),
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": str(PROJECT),
        }

    @property
    def client(self) -> Client:
        """The web process, started when first needed."""
        if self._client is None:
            self._client = Client(self)
        return self._client

    def start(self, *words: str, ready: bool = True, **settings: Any) -> Worker:
        """Start a worker, of two children unless `words` say otherwise, and wait until it is ready."""
        count = () if "-c" in words else ("-c", "2")
        worker = Worker(self, ["-l", "info", *count, *words], self.environment(**settings))
        self.workers.append(worker)
        return worker.wait_ready() if ready else worker

    @contextlib.contextmanager
    def working(self, *words: str, **settings: Any) -> Iterator[Worker]:
        """Have a worker within a block; at the block's end it must stop with status 0."""
        worker = self.start(*words, **settings)
        yield worker
        assert worker.stop() == 0, worker.log[-3000:]

    def close(self) -> None:
        """End what still runs."""
        for worker in self.workers:
            worker.signal_group(signal.SIGCONT)
            worker.kill_tree()
        if self._client is not None:
            self._client.close()
