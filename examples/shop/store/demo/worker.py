"""Runs the demo's worker: `manage.py celeriac worker --beat` as a process of its own, its log in a file.

The worker has its own session, so that Ctrl-C in the terminal reaches the demo alone, which then stops the worker in
good order.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

REPORT_EVERY = 2  # seconds, so that the schedule fires while one looks
GRACE = 20.0  # seconds that a worker has to finish what it runs


class Worker:
    """A worker for the length of a `with` block."""

    def __init__(self, manage: Path, log: Path) -> None:
        self.command = [sys.executable, str(manage), "celeriac", "worker", "--beat", "-l", "info"]
        self.log = log

    def __enter__(self) -> "Worker":
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command,
                env=os.environ | {"SHOP_REPORT_EVERY": str(REPORT_EVERY)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self) -> int:
        """Ask it to finish and wait; if it does not, end it and its children. May be called twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log, for the message when it has gone."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
