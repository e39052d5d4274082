"""Counting what was really executed, without the count becoming what is measured.

``tick`` and ``note`` run in the task bodies: each worker process maps a file of its own and adds to 64-bit cells
in it, which costs a fraction of a microsecond and survives any kind of death. ``read`` runs in the bench and in
producers and adds the files up. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

import mmap
import os
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

SAMPLES = 250_000
"""Samples that one process can note; the file is sparse, so unused room costs nothing."""

_HEAD = struct.Struct("<5q")
"""Executions, sum of their arguments, moment of the first, moment of the last, samples noted."""
_SIZE = _HEAD.size + 8 * SAMPLES
_pack = _HEAD.pack_into
_now = time.monotonic_ns

_lock = threading.Lock()
_file: mmap.mmap | None = None
_count = _total = _first = _noted = 0


def tick(number: int) -> None:
    """Count one execution of the no-op task, and its argument."""
    global _count, _total
    with _lock:
        file = _file or _open()
        _count += 1
        _total += number
        _pack(file, 0, _count, _total, _first, _now(), _noted)


def begin() -> None:
    """Have the time of this process begin here, in tasks that take some: it ends with the last `tick`."""
    with _lock:
        _file or _open()


def note(moment: int) -> None:
    """Keep how long after ``moment`` (``time.time_ns()``) the body was reached."""
    global _noted
    late = time.time_ns() - moment
    with _lock:
        file = _file or _open()
        struct.pack_into("<q", file, _HEAD.size + 8 * _noted, late)
        _noted += 1
        _pack(file, 0, _count, _total, _first, _now(), _noted)


def _open() -> mmap.mmap:
    """Map this process's file and begin at zero, also after a fork from a process that has counted."""
    global _file, _count, _total, _first, _noted
    _count = _total = _noted = 0
    _first = _now()
    path = Path(os.environ["BENCH_TALLY"]) / f"{os.getpid()}.tally"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, _SIZE)
        _file = mmap.mmap(descriptor, _SIZE)
    finally:
        os.close(descriptor)
    return _file


def _forget() -> None:
    global _file
    _file = None


os.register_at_fork(after_in_child=_forget)


@dataclass(frozen=True, slots=True)
class Tally:
    """What all worker processes of one measurement have counted so far."""

    count: int = 0
    total: int = 0
    first: int = 0
    last: int = 0
    processes: int = 0
    samples: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """From the first body to the last."""
        return (self.last - self.first) / 1e9


def read(folder: Path, *, samples: bool = False) -> Tally:
    """Add up the files of a folder."""
    count = total = last = processes = 0
    firsts: list[int] = []
    noted: list[int] = []
    for path in folder.glob("*.tally"):
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                continue
            cells = _HEAD.unpack(head)
            if samples:
                raw = file.read(8 * cells[4])
                noted.extend(struct.unpack(f"<{len(raw) // 8}q", raw))
        count += cells[0]
        total += cells[1]
        last = max(last, cells[3])
        processes += 1
        if cells[2]:
            firsts.append(cells[2])
    return Tally(count, total, min(firsts, default=0), last, processes, tuple(noted))


def noted(folder: Path) -> int:
    """How many samples there are so far."""
    found = 0
    for path in folder.glob("*.tally"):
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
        if len(head) == _HEAD.size:
            found += _HEAD.unpack(head)[4]
    return found
