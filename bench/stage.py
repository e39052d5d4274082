"""The place of one measurement: an emptied server, a fresh folder, one contender's producer and workers.

Made by ``bench.run`` for every contender and round, used by the procedures in ``bench.measure``.
"""

import json
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import tally
from .procs import Failed, Process, wait_until
from .roster import Contender, environment
from .tally import Tally

ROOT = Path(__file__).resolve().parent.parent
STALL = 20.0
"""Seconds without a single executed task after which a measurement is given up."""


class Client:
    """The bench's end of a producer process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.buffer = b""

    def ask(self, do: str, *, seconds: float = 60, **arguments: object) -> Any:
        """Have one command carried out."""
        pipe = self.process.popen.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            pass
        answer = json.loads(self._line(do, time.monotonic() + seconds))
        if "error" in answer:
            error = answer["error"].strip()
            raise Failed(f"producer: {error.splitlines()[-1]}\n{error}")
        return answer["ok"]

    def _line(self, do: str, deadline: float) -> bytes:
        pipe = self.process.popen.stdout
        assert pipe is not None
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise Failed(f"producer: {do} took too long")
            piece = pipe.read1(65536)  # type: ignore[attr-defined]
            if not piece:
                raise Failed(f"producer ended: {self.process.tail(1)}\n{self.process.tail()}")
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line


class Workers:
    """The worker processes of one contender, usually one tree."""

    def __init__(self, processes: list[Process]) -> None:
        self.processes = processes

    @property
    def started(self) -> int:
        return self.processes[0].started

    def pids(self) -> list[int]:
        return [pid for process in self.processes for pid in process.tree()]

    def check(self) -> None:
        """Fail if one of them has ended."""
        for process in self.processes:
            if not process.alive:
                raise Failed(f"the worker ended: {process.tail(1)}\n{process.tail()}")


class Stage:
    """One contender, ready to be measured."""

    def __init__(
        self,
        contender: Contender,
        folder: Path,
        redis_url: str,
        *,
        results: bool = False,
        django: bool = False,
    ) -> None:
        self.contender = contender
        self.folder = folder
        self.tally_folder = folder / "tally"
        (folder / "tmp").mkdir(parents=True)
        self.tally_folder.mkdir()
        self.env = environment() | dict(contender.env)
        self.env |= {
            "BENCH_REDIS": redis_url,
            "BENCH_SQLITE": str(folder / "bench.sqlite3"),
            "BENCH_TALLY": str(self.tally_folder),
            "BENCH_RESULTS": "1" if results else "0",
            "BENCH_DJANGO": "1" if django else "0",
            "TMPDIR": str(folder / "tmp"),
        }

    @contextmanager
    def producer(self) -> Iterator[Client]:
        """A producer process that has prepared the broker."""
        argv = [sys.executable, "-m", "bench.producer", f"bench.contenders.{self.contender.module}"]
        process = Process(argv, env=self.env, log=self.folder / "producer.log", cwd=ROOT, pipes=True)
        try:
            client = Client(process)
            client.ask("prepare", seconds=30)
            yield client
        finally:
            process.stop()

    @contextmanager
    def workers(self) -> Iterator[Workers]:
        """The contender's workers, as long as the block lasts."""
        started: list[Process] = []
        try:
            for argv in self.contender.workers:
                log = self.folder / f"worker{len(started)}.log"
                started.append(Process(argv, env=self.env, log=log, cwd=ROOT))
            yield Workers(started)
        finally:
            for process in started:
                process.stop()

    def executed(self, workers: Workers, count: int, *, every: float = 0.05) -> Tally:
        """Wait until ``count`` no-op tasks have been executed; fail when nothing moves any more."""
        last, moved = 0, time.monotonic()
        while (now := self.tally()).count < count:
            if now.count > last:
                last, moved = now.count, time.monotonic()
            workers.check()
            if time.monotonic() - moved > STALL:
                tails = "\n".join(process.tail() for process in workers.processes)
                raise Failed(f"{now.count} of {count} tasks executed, then nothing for {STALL:g} s\n{tails}")
            time.sleep(every)
        return now

    def tally(self, *, samples: bool = False) -> Tally:
        return tally.read(self.tally_folder, samples=samples)

    def noted(self, workers: Workers, count: int, *, seconds: float) -> Tally:
        """Wait until ``count`` samples have been noted."""

        def reached() -> bool:
            workers.check()
            return tally.noted(self.tally_folder) >= count

        wait_until(reached, f"{count} samples", seconds=seconds, every=0.2)
        return self.tally(samples=True)
