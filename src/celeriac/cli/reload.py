"""A worker that is always on the newest code: the process in front starts it, watches files, and starts it anew.

`Reloading` is one such worker, also `dev`'s; `run_reloading` is `celeriac worker --reload`. A worker that is to go
gets SIGTERM, finishes what runs, and is interrupted after GRACE seconds; what did not start goes back to the
broker. This process never imports the project.
"""

import json
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from celeriac.cli import failures, finding, log_setup
from celeriac.cli.banner import Facts
from celeriac.cli.options import Arguments
from celeriac.cli.processes import Process
from celeriac.cli.program import Session
from celeriac.cli.watching import Watch, project_roots
from celeriac.waker import Waker

logger = logging.getLogger("celeriac")

GRACE = 10.0  # seconds that running tasks have to end
_AFTER_GRACE = 3.0  # seconds that an interrupted worker has to give back what it holds
#: Errors that the next save may mend; a start that fails with another is final.
_MENDABLE = ("E110", "E111", "E113", "E114", "")


class Reloading:
    """One worker, kept on the newest code. `say(text)` is told of restarts, `on_ready(facts)` of each start."""

    def __init__(self, command: list[str], watch: Watch, say: Callable[[str], None]) -> None:
        self.status: int | None = None  #: its exit status, once it is not to be started again
        self.on_ready: Callable[[Facts], None] = lambda facts: None
        self._command = command
        self._watch = watch
        self._say = say
        self._process: Process | None = None
        self._pipe: int | None = None
        self._facts: Facts = {}
        self._told = b""
        self._changed: list[str] = []
        self._since = 0.0
        self._leaving = False
        self._ever_ready = False
        self._hurried = False
        self._deadline: float | None = None
        self._next_look = 0.0

    # -- what the loop calls

    def start(self) -> None:
        """Start the worker."""
        self._pipe, far = os.pipe()
        self._facts, self._told, self._deadline, self._hurried = {}, b"", None, False
        try:
            extra = ["--ready-fd", str(far), *(["--restarted"] if self._ever_ready else [])]
            self._process = Process([*self._command, *extra], keep=[far])
        finally:
            os.close(far)

    def descriptors(self) -> list[int]:
        """Return what to wait on."""
        return [self._pipe] if self._pipe is not None else []

    def turn(self, now: float) -> float:
        """Do what is due; return when to be called again at the latest."""
        self._read_facts()
        self._bury()
        if self.status is None and not self._leaving and now >= self._next_look:
            self._look(now)
            self._next_look = now + self._watch.pause
        if self._deadline is not None and now >= self._deadline:
            self.hurry()
        return self._next_look if self._deadline is None else min(self._deadline, now + 0.5)

    def leave(self) -> None:
        """Have the worker finish and not start again."""
        self._leaving = True
        if self._process is None:
            self.status = self.status or failures.OK
        else:
            self._ask()

    def hurry(self) -> None:
        """Have it interrupt what runs; the second time it is killed."""
        if self._process is None:
            return
        if self._hurried:
            self._process.kill()
        else:
            self._hurried = True
            self._process.ask()
            self._deadline = time.monotonic() + _AFTER_GRACE

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None:
            self._process.kill()
        self._close_pipe()

    # -- steps

    def _ask(self) -> None:
        if self._process is not None and self._deadline is None:
            self._process.ask()
            self._deadline = time.monotonic() + GRACE

    def _look(self, now: float) -> None:
        changed = self._watch.changed()
        if not changed:
            return
        if not self._changed:
            self._since = now
        self._changed = sorted({*self._changed, *changed})
        if self._process is None:
            self.start()
        else:
            self._ask()

    def _read_facts(self) -> None:
        # To its end: where there are thousands of tasks, a pipe holds only a part at a time.
        while self._pipe is not None and select.select([self._pipe], [], [], 0)[0]:
            data = os.read(self._pipe, 1 << 16)
            self._told += data
            if not data:
                self._close_pipe()
                if self._told:
                    self._take(json.loads(self._told))

    def _take(self, facts: Facts) -> None:
        self._facts = facts
        if "error" in facts:
            return
        if self._changed and self._deadline is None:
            self._say(
                f"⟳ {_shown(self._changed)} changed, restarted in {time.monotonic() - self._since:.1f} s"
            )
            self._changed = []
        self._ever_ready = True
        self.on_ready(facts)

    def _bury(self) -> None:
        status = None if self._process is None else self._process.status()
        if self._process is None or status is None:
            return
        self._read_facts()
        self._close_pipe()
        self._process.kill()  # what is left of its group
        self._process = None
        restarting, self._deadline = self._deadline is not None, None
        if self._leaving:
            self.status = _leaving_status(status)
        elif restarting:
            self.start()
        elif not self._ever_ready and self._facts.get("code", "") not in _MENDABLE:
            self.status = status
        else:
            what = f"⟳ {_shown(self._changed)} changed: " if self._changed else ""
            self._say(f"{what}the worker ended with exit status {status}; waiting for the next save")
            self._changed = []

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def _leaving_status(status: int) -> int:
    """Return the status to leave with: one that was told to stop before it could listen has stopped well."""
    if status == -signal.SIGTERM:
        return failures.OK
    return failures.PROBLEM if status < 0 else status


def _shown(changed: list[str]) -> str:
    path = Path(changed[0])
    try:
        first = str(path.relative_to(Path.cwd()))
    except ValueError:
        first = str(path)
    return first if len(changed) == 1 else f"{first} and {len(changed) - 1} more"


class Interrupts:
    """Ctrl-C and SIGTERM, counted, with a descriptor that wakes the loop."""

    def __init__(self) -> None:
        self.waker = Waker()
        self.count = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; a child's end only wakes."""
        self.count += number != signal.SIGCHLD
        self.waker.poke()

    @contextmanager
    def caught(self) -> Iterator["Interrupts"]:
        """Catch them inside the block."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, self.note) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.waker.close()


def run_reloading(session: Session, arguments: Arguments) -> int:
    """Be `celeriac worker --reload`; return the worker's exit status."""
    watch = Watch(project_roots(finding.find_manage()))
    log_setup.set_up("INFO", style=arguments.log_format, no_color=session.no_color, logfile=arguments.logfile)
    logger.info("watching %d files", watch.count)
    command = [*session.again(), *(["-q"] if session.quiet else []), *arguments.words()]
    worker = Reloading(command, watch, lambda text: logger.info("%s", text))
    asked = 0
    with Interrupts().caught() as interrupts:
        worker.start()
        try:
            while worker.status is None:
                until = worker.turn(time.monotonic())
                wait(interrupts, worker.descriptors(), until)
                if interrupts.count > asked:
                    # Several at once, as when a terminal is closed, are one.
                    worker.hurry() if asked else worker.leave()
                    asked = interrupts.count
        finally:
            worker.close()
    return worker.status


def wait(interrupts: Interrupts, descriptors: list[Any], until: float) -> list[Any]:
    """Wait for a signal, one of `descriptors` or a time; return the descriptors that are readable."""
    seconds = max(0.0, until - time.monotonic())
    readable = select.select([interrupts.waker, *descriptors], [], [], seconds)[0]
    interrupts.waker.clear()
    return [descriptor for descriptor in readable if descriptor is not interrupts.waker]
