"""How a child died, as far as its supervisor can tell: by its exit status, what it held, and its traceback.

A child has the interpreter write its traceback into a file beside its flight record when C code crashes it. Nothing is
written when the kernel kills it.
"""

import contextlib
import faulthandler
import os
import signal
from pathlib import Path
from resource import struct_rusage
from typing import TextIO

from msgspec import Struct

_MOST = 64 * 1024  # characters of a traceback

#: The file must not be closed as long as the process lives.
_crash_file: list[TextIO] = []


class Death(Struct):
    """What is known of it. `cause` is like "signal 9 (SIGKILL)".

    `moment` is by the monotonic clock, `peak` how much memory it held at most, in KiB; None where that is not known.
    """

    cause: str
    moment: float | None = None
    peak: int | None = None
    trace: str | None = None

    def details(self, start: float) -> str:
        """Return what is to be said of a task that it ran since `start`: " after 31.2 s, with 498 MB at most"."""
        after = "" if self.moment is None else f" after {self.moment - start:.1f} s"
        return after if self.peak is None else f"{after}, with {self.peak / 1024:,.0f} MB at most"


def of_child(status: int, usage: struct_rusage, moment: float, trace: Path) -> Death:
    """Return how a child died that `os.wait4` told of; `trace` is its file for that."""
    return Death(cause_of(status), moment, usage.ru_maxrss or None, read_trace(trace))


def cause_of(status: int) -> str:
    """Return a wait status in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"signal {number} ({signal.Signals(number).name})"
        except ValueError:
            return f"signal {number}"
    return f"exit status {os.WEXITSTATUS(status)}"


def keep_trace(path: Path) -> None:
    """Have this process write its traceback there if it crashes, unless the user has asked for it elsewhere."""
    if faulthandler.is_enabled():
        return
    with contextlib.suppress(OSError):
        _crash_file[:] = [path.open("w")]
        faulthandler.enable(_crash_file[0])


def read_trace(path: Path) -> str | None:
    """Return what a crashed process has written, None if it has not."""
    try:
        with path.open(errors="replace") as file:
            return file.read(_MOST) or None
    except OSError:
        return None
