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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.scenarios.account import SLACK, Account, account
from tests.scenarios.journal import (
    PATIENCE,
    Journal,
    Kill,
    Run,
    is_running,
    kill,
    until,
    wait,
    was_killed,
)

__all__ = [
    "PATIENCE",
    "SLACK",
    "Account",
    "Journal",
    "Kill",
    "Run",
    "account",
    "is_running",
    "kill",
    "until",
    "wait",
]

PROJECT = Path(__file__).with_name("project")
#: Operations of client.py that change nothing: they may be repeated.
_LOOKS = ("depths", "dead_letters", "records", "fired", "kept", "task_result")
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)


# -- processes


class Worker:
    """A worker of a project, in a process group of its own, its log in a file."""

    def __init__(
        self,
        project: "Project",
        words: Sequence[str],
        environment: dict[str, str],
        within: Sequence[str] = (),
    ) -> None:
        self.log_path = project.folder / f"worker-{len(project.workers)}.log"
        self.told_to_end = False
        program = [sys.executable, "-W", "error", str(PROJECT / "manage.py"), "celeriac"]
        command = [*within, *program, *words]
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
        self.told_to_end |= number in _ENDING
        self.process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Send a signal to all of the worker's processes, as a terminal does; nothing where it has ended."""
        # Once it is waited for, its number may be somebody else's.
        if self.process.poll() is None:
            self.told_to_end |= number in _ENDING
            os.killpg(self.pid, number)

    @property
    def died(self) -> bool:
        """Whether it has ended and nobody had asked it to."""
        return self.process.poll() is not None and not (self.told_to_end or was_killed(self.pid))

    def kill_tree(self) -> Kill:
        """SIGKILL to all at once. They are gone afterwards."""
        family = self.children()
        before = time.monotonic()
        self.signal_group(signal.SIGKILL)
        self.process.wait(PATIENCE)
        until(lambda: not any(map(is_running, family)), "its processes are gone")
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
        """Have one of client.py's operations done and return what it returns.

        What only looks is asked again where a server takes too long to answer.
        """
        deadline = time.monotonic() + seconds
        answer = self._exchange(do, seconds, arguments)
        while "error" in answer and do in _LOOKS and time.monotonic() < deadline:
            wait(0.1)
            answer = self._exchange(do, seconds, arguments)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def _exchange(self, do: str, seconds: float, arguments: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
        self._process.stdin.flush()
        return self._read(seconds)

    def send(self, task: str, calls: Sequence[Sequence[Any]], **options: Any) -> list[str]:
        """Send calls in one batch; return the ids."""
        return list(self.ask("send", task=f"jobs.tasks.{task}", calls=calls, options=options))

    def delay(self, task: str, *args: Any) -> dict[str, Any]:
        """Call `delay` once; return the id or the error, and the seconds that it took."""
        return dict(self.ask("delay", task=f"jobs.tasks.{task}", args=args))

    def control(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of `app.control`."""
        self.ask("control", method=method, args=args, kwargs=kwargs)

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
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)


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

    def start(self, *words: str, ready: bool = True, within: Sequence[str] = (), **settings: Any) -> Worker:
        """Start a worker, of two children unless `words` say otherwise, and wait until it is ready.

        `within` is a command that runs it.
        """
        count = () if "-c" in words else ("-c", "2")
        words = ("worker", "-l", "info", *count, *words)
        worker = Worker(self, words, self.environment(**settings), within)
        self.workers.append(worker)
        return worker.wait_ready() if ready else worker

    def start_beat(self, *words: str) -> Worker:
        """Start a beat, and wait until it is ready."""
        beat = Worker(self, ["beat", *words], self.environment())
        self.workers.append(beat)
        return beat.wait_ready()

    @contextlib.contextmanager
    def working(self, *words: str, **settings: Any) -> Iterator[Worker]:
        """Have a worker within a block; at the block's end it must stop with status 0."""
        worker = self.start(*words, **settings)
        yield worker
        assert worker.stop() == 0, worker.log[-3000:]

    def stuck(self) -> int:
        """Return how many messages are ready or held when all should be done; those for later do not count."""
        if self._client is None:
            return 0
        try:
            depths = self._client.ask("depths", 10)
        except (AssertionError, OSError):
            return 0  # the test has failed, and says more
        return int(depths["ready"] + depths["in_flight"])

    def close(self) -> None:
        """End what still runs."""
        for worker in self.workers:
            worker.signal_group(signal.SIGCONT)
            worker.kill_tree()
        if self._client is not None:
            self._client.close()
