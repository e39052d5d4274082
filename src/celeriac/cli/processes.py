"""Processes that the terminal's commands start: each a group of its own, ended with it, none left behind.

Used by `reload` and `dev`. Ctrl-C reaches only the process in front, which then decides what the others are told.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_LAUNCH = str(Path(__file__).with_name("launch.py"))


class Process:
    """A command that runs in its own process group and ends with this process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        pipe_output: bool = False,
        keep: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipe_output else None,
            stderr=subprocess.STDOUT if pipe_output else None,
            pass_fds=keep,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )

    @property
    def pid(self) -> int:
        """The process id, and its group's."""
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        """What it writes, if it was started with `pipe_output`."""
        assert self._process.stdout is not None
        return self._process.stdout

    def status(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._process.poll()

    def ask(self) -> None:
        """Send SIGTERM to the process, not to its children."""
        if self.status() is None:
            self._process.terminate()

    def end(self, patience: float) -> int:
        """Wait up to `patience` seconds, then kill the whole group; return the exit status. May be called twice."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """Kill what is left of the group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
