"""The file by which a worker says that it lives: touched about once a second, read by `celeriac health`.

Kept by whoever has the worker's loop, the supervisor or the solo worker; what is in it is known to `celeriac_health`.
A file that cannot be written is told once, and is no reason not to work.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from celeriac_health import MAX_AGE, Heartbeat, file_name, heartbeats

logger = logging.getLogger("celeriac.worker")

EVERY = 1.0  # seconds


class HeartbeatFile:
    """The file of the worker `name` in `directory`. `broker` tells those of one name apart by what they serve."""

    def __init__(
        self, directory: Path, broker: str, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.directory = directory
        self._path = directory / file_name(uuid.uuid4().hex)
        self._said = Heartbeat(str(self._path), 0.0, name, os.getpid(), broker, "")
        self._clock = clock
        self._there = False
        self._told = False
        #: When the next one is due.
        self.next = clock()

    def beat(self, trouble: str) -> None:
        """Touch the file where that is due; `trouble` is why the worker is not ready, "" if it is."""
        now = self._clock()
        if now < self.next and trouble == self._said.trouble:
            return
        self.next = now + EVERY
        try:
            if not self._there:
                self._tidy()
            if self._there and trouble == self._said.trouble:
                os.utime(self._path)
            else:
                self._write(trouble)
        except FileNotFoundError:
            self._there = False  # somebody has tidied up: it is written anew
            self.next = now
        except OSError as error:
            self._tell(error)

    def end(self) -> None:
        """Remove the file: the worker has stopped as it should."""
        try:
            for path in (self._path, self._path.with_suffix(".new")):
                path.unlink(missing_ok=True)
        except OSError as error:
            self._tell(error)

    def _write(self, trouble: str) -> None:
        self._said.trouble = trouble
        hidden = self._path.with_suffix(".new")
        hidden.write_text(self._said.text(), encoding="utf-8", errors="replace")
        hidden.rename(self._path)
        self._there = True

    def _tidy(self) -> None:
        """Remove what a worker has left that was killed: one whose place this one takes, or any that is long gone."""
        for other in heartbeats(str(self.directory)):
            same = other.broker == self._said.broker and other.path != self._said.path
            if same and (other.name == self._said.name or other.age > MAX_AGE):
                Path(other.path).unlink(missing_ok=True)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            logger.warning("`celeriac health` cannot see this worker: %s", error)
