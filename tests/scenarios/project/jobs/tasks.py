"""Tasks that leave a trace: each start and each end of a run is a line in the journal.

A line is: monotonic time, "start" or "end", the task's key, process, losses and retries so far. `harness.Journal`
reads it. Written with O_APPEND and one system call, so that lines of several processes stay whole, and the
last one before a kill is there.
"""

import asyncio
import ctypes
import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celeriac import Reject, SoftTimeLimitExceeded, Task, shared_task
from celeriac.signals import task_revoked

_journal = os.open(os.environ["SCENARIO_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@contextmanager
def noted(task: Task, key: Any) -> Iterator[None]:
    """Note the beginning of a run, and its end if it comes to one."""
    request = task.request
    words = f"{key} {os.getpid()} {request.losses} {request.retries}"
    os.write(_journal, f"{time.monotonic():.6f} start {words}\n".encode())
    yield
    os.write(_journal, f"{time.monotonic():.6f} end {words}\n".encode())


@shared_task(bind=True)
def work(self: Task, key: Any, seconds: float = 0.0) -> Any:
    """Take `seconds` and return the key."""
    with noted(self, key):
        if seconds:
            time.sleep(seconds)
    return key


if os.environ.get("SCENARIO_RELEASE") == "2":

    @shared_task(bind=True)
    def added(self: Task, key: Any) -> Any:
        """What the project's first release did not have."""
        with noted(self, key):
            return key


@shared_task(bind=True)
async def sleep(self: Task, key: Any, seconds: float = 0.0) -> Any:
    """The same as a coroutine."""
    with noted(self, key):
        await asyncio.sleep(seconds)
    return key


def _pass(gate: str, how: int = fcntl.LOCK_SH) -> None:
    with Path(gate + os.environ.get("SCENARIO_SIDE", "")).open() as file:
        fcntl.flock(file, how)


def _is_open(gate: str) -> bool:
    try:
        _pass(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@shared_task(bind=True)
def work_till(self: Task, key: Any, gate: str) -> Any:
    """Take until the test opens a gate (`tests.faults.load.Gate`): no longer and no shorter."""
    with noted(self, key):
        _pass(gate)
    return key


@shared_task(bind=True)
def loop_till(self: Task, key: Any, gate: str) -> Any:
    """The same in Python: a signal that comes right before a call into the system is heard when that returns."""
    with noted(self, key):
        while not _is_open(gate):
            time.sleep(0.01)
    return key


@shared_task(bind=True)
async def sleep_till(self: Task, key: Any, gate: str) -> Any:
    """The same as a coroutine."""
    with noted(self, key):
        # Not on a thread: there are few for a loop, and others need them.
        while not _is_open(gate):
            await asyncio.sleep(0.02)
    return key


@shared_task(bind=True)
def follow(self: Task, key: Any, seconds: float = 0.0) -> None:
    """Follow a task that has returned `key`."""
    with noted(self, f"after-{key}"):
        time.sleep(seconds)


@shared_task(bind=True)
def outlive(self: Task, key: Any, seconds: float) -> Any:
    """The same in a process that does not die with its supervisor, as where the kernel knows no such thing."""
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
    with noted(self, key):
        time.sleep(seconds)
    return key


@shared_task(bind=True)
def outlive_till(self: Task, key: Any, gate: str) -> Any:
    """The same until the test opens a gate."""
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG
    with noted(self, key):
        _pass(gate)
    return key


@shared_task(bind=True)
def leave_behind(self: Task, key: Any, seconds: float, count: int) -> Any:
    """Start programs that nobody waits for: their next parent is process 1."""
    with noted(self, key):
        for _ in range(count):
            subprocess.run(["sh", "-c", f"sleep {seconds} &"], check=True)
    return key


@shared_task(bind=True, acks_late=False)
def at_most_once(self: Task, key: Any, seconds: float = 0.0) -> Any:
    """The same, settled before it starts."""
    with noted(self, key):
        time.sleep(seconds)
    return key


_hoard: list[bytes] = []


@shared_task(bind=True)
def hoard(self: Task, key: Any, size: int) -> None:
    """Take `size` bytes of memory and never give them back."""
    with noted(self, key):
        _hoard.append(os.urandom(1) * size)


@shared_task(bind=True)
def large(self: Task, key: Any, size: int) -> str:
    """Return `size` characters: more than a flight record holds, if need be."""
    with noted(self, key):
        return "x" * size


@shared_task(bind=True)
def hold(self: Task, key: Any, seconds: float) -> Any:
    """Be in C for `seconds` without once letting go of the interpreter's lock, so that no other thread can run."""
    with noted(self, key):
        # PyDLL, unlike CDLL, keeps the lock.
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return key


@shared_task(bind=True)
def hold_till(self: Task, key: Any, gate: str) -> Any:
    """The same until the test opens a gate."""
    with noted(self, key), Path(gate).open() as file:
        ctypes.PyDLL(None).flock(file.fileno(), fcntl.LOCK_SH)
    return key


@shared_task(bind=True)
def spin(self: Task, key: Any) -> None:
    """Never end, in Python."""
    with noted(self, key):
        while True:
            pass


@shared_task(bind=True)
def deaf(self: Task, key: Any) -> None:
    """Never end, and hear no signal that can be blocked."""
    with noted(self, key):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(3600)


@shared_task(bind=True)
def tidy(self: Task, key: Any, seconds: float, how: str = "sleep") -> str:
    """Take `seconds`, unless the soft limit comes first; then tidy up."""
    try:
        with noted(self, key):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(seconds if how == "sleep" else 0)
    except SoftTimeLimitExceeded:
        return "tidied up"
    return "done"


@shared_task(bind=True)
async def atidy(self: Task, key: Any, seconds: float) -> str:
    """The same as a coroutine."""
    try:
        with noted(self, key):
            await asyncio.sleep(seconds)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0.01)
        return "tidied up"
    return "done"


@shared_task(bind=True)
async def stubborn(self: Task, key: Any) -> None:
    """A coroutine that wants to go on whatever is raised in it."""
    with noted(self, key):
        while True:
            try:
                await asyncio.sleep(3600)
            except Exception:
                continue


@shared_task(bind=True)
async def uncancelled(self: Task, key: Any) -> None:
    """A coroutine that takes no notice of being cancelled."""
    with noted(self, key):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue


@shared_task(bind=True)
async def block(self: Task, key: Any) -> None:
    """A coroutine that lets its event loop do nothing else."""
    with noted(self, key):
        time.sleep(3600)


@shared_task(bind=True)
def sends(self: Task, key: Any) -> int:
    """Send tasks until the soft limit comes, and return how many."""
    sent = 0
    try:
        with noted(self, key):
            while True:
                work.delay(f"{key}-{sent}")
                sent += 1
    except SoftTimeLimitExceeded:
        return sent


@shared_task(bind=True, time_limit=1.5, soft_time_limit=0.5)
def has_limits(self: Task, key: Any, soft: bool) -> None:
    """Sleep, for ever if the soft limit is not to end it."""
    with noted(self, key):
        while True:
            try:
                time.sleep(3600)
            except SoftTimeLimitExceeded:
                if soft:
                    raise


@shared_task(bind=True, max_retries=5)
def flaky(self: Task, key: Any, times: int) -> Any:
    """Fail `times` times and ask for another try at once."""
    with noted(self, key):
        pass
    if self.request.retries < times:
        raise self.retry(countdown=0)
    return key


@shared_task(bind=True)
def refuse(self: Task, key: Any, requeue: bool) -> Any:
    """Refuse the message: the first time, if it is to go back, else for good."""
    mark = Path(f"{os.environ['SCENARIO_JOURNAL']}.{key}")
    with noted(self, key):
        pass
    if not requeue or not mark.exists():
        mark.touch()
        raise Reject("refused", requeue=requeue)
    return key


@shared_task(bind=True, max_retries=1)
def again_later(self: Task, key: Any, seconds: float) -> Any:
    """Ask for another try in so many seconds, once."""
    with noted(self, key):
        pass
    if self.request.retries == 0:
        raise self.retry(countdown=seconds)
    work.apply_async([f"{key}-sent"], countdown=seconds)
    return key


@shared_task(bind=True)
def die(self: Task, key: Any, how: str, times: int = 100) -> Any:
    """End this process, in the first `times` runs."""
    with noted(self, key):
        if self.request.losses < times:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            _DEATHS[how]()
    return key


def _die_or_fail(task: Task, key: Any, how: str, times: int) -> Any:
    """Run, and in the first `times` runs end badly."""
    with noted(task, key):
        if task.request.losses + task.request.retries < times:
            if how == "raise":
                raise ValueError("as told")
            if how == "over":
                time.sleep(3600)
            _DEATHS[how]()
    return key


@task_revoked.connect(weak=False)
def _note_revoked(
    sender: Any, request: Any, terminated: bool, signum: int | None, expired: bool, **_: Any
) -> None:
    with Path(os.environ["SCENARIO_JOURNAL"] + ".told").open("a") as file:
        file.write(f"task_revoked {sender.name} {request.id} {terminated} {signum} {expired}\n")


class Telling(Task):
    """Writes down what its handlers are told, a line each, in a file beside the journal."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._tell("on_failure", exc, args)

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._tell("on_retry", exc, args)

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: None
    ) -> None:
        self._tell("after_return", retval, args)

    def _tell(self, handler: str, error: Any, args: Any) -> None:
        if os.environ.get("SCENARIO_HANDLERS_HANG"):
            time.sleep(3600)
        with Path(os.environ["SCENARIO_JOURNAL"] + ".told").open("a") as file:
            file.write(f"{handler} {type(error).__name__} {args[0]} {self.request.id}\n")


@shared_task(bind=True, base=Telling, reject_on_worker_lost=False, autoretry_for=(Exception,))
def fails_if_lost(self: Telling, key: Any, how: str = "kill", times: int = 100) -> Any:
    """A process that dies is its failure."""
    return _die_or_fail(self, key, how, times)


@shared_task(bind=True, base=Telling, retry_on_worker_lost=True, max_retries=2, default_retry_delay=0.3)
def retried_if_lost(self: Telling, key: Any, how: str = "kill", times: int = 100) -> Any:
    """A process that dies is a reason to retry."""
    return _die_or_fail(self, key, how, times)


@shared_task(bind=True, base=Telling, acks_on_failure=False, reject_on_worker_lost=False)
def kept_if_failed(self: Telling, key: Any, how: str = "raise", times: int = 100) -> Any:
    """Its message is kept when it has failed, however."""
    return _die_or_fail(self, key, how, times)


@shared_task(bind=True, base=Telling, acks_on_timeout=False, time_limit=0.5)
def again_if_over(self: Telling, key: Any, how: str = "over", times: int = 100) -> Any:
    """It runs again when it was over its limit."""
    return _die_or_fail(self, key, how, times)


@shared_task(bind=True, acks_on_failure_or_timeout=False, time_limit=0.5)
async def aagain_if_over(self: Task, key: Any, times: int = 100) -> Any:
    """The same as a coroutine, and by the older option."""
    with noted(self, key):
        if self.request.losses < times:
            await asyncio.sleep(3600)
    return key


@shared_task(bind=True, base=Telling, time_limit=0.5)
def over(self: Telling, key: Any) -> None:
    """It is over its limit, and tells."""
    _die_or_fail(self, key, "over", 1)


def _exit_in_c() -> None:
    # Not only in C, but from a thread's point of view in the midst of it: the other threads are still running.
    ctypes.PyDLL(None).exit(4)


def _segfault() -> None:
    ctypes.string_at(8)


def _killed_in_c() -> None:
    """Be killed by another process while C code runs that has let go of the GIL."""
    subprocess.Popen(["sh", "-c", f"sleep 0.05; kill -9 {os.getpid()}"])
    hashlib.pbkdf2_hmac("sha512", b"password", b"salt", 50_000_000)


_DEATHS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "exit 0": lambda: os._exit(0),
    "exit in C": _exit_in_c,
    "segfault": _segfault,
    "abort": os.abort,
    "killed in C": _killed_in_c,
}


@shared_task(bind=True)
def run_program(self: Task, key: Any) -> int:
    """Start a program, ask it to end, and return its status."""
    with noted(self, key):
        program = subprocess.Popen(["sleep", "60"])
        program.terminate()
        return program.wait(20)


class Unspeakable(Exception):
    """Its own text cannot be had, and it cannot be made anew from its arguments."""

    def __init__(self, *, needed: int) -> None:
        super().__init__(object())

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def _raise(error: BaseException) -> Any:
    raise error


def _deep(levels: int) -> Any:
    return [] if not levels else [_deep(levels - 1)]


def _circular() -> Any:
    box: list[Any] = []
    box.append(box)
    return box


def _endless() -> Any:
    return _endless()


_ODDITIES = {
    "lone surrogate": lambda: _raise(ValueError("a file named \udcff\udcfe")),
    "NUL": lambda: _raise(ValueError("a\0b")),
    "unspeakable": lambda: _raise(Unspeakable(needed=1)),
    "endless recursion": _endless,
    "no memory": lambda: bytearray(1 << 60),
    "MemoryError": lambda: _raise(MemoryError()),
    "SystemExit": lambda: _raise(SystemExit(0)),
    "KeyboardInterrupt": lambda: _raise(KeyboardInterrupt()),
    "GeneratorExit": lambda: _raise(GeneratorExit()),
    "StopIteration": lambda: _raise(StopIteration()),
    "long text": lambda: _raise(ValueError("x" * 3_000_000)),
    "result: an object": object,
    "result: deep": lambda: _deep(900),
    "result: circular": _circular,
    "result: NaN": lambda: float("nan"),
    "result: huge int": lambda: 10**5000,
    "result: lone surrogate": lambda: "\udcff",
}


@shared_task(bind=True)
def odd(self: Task, key: Any, how: str) -> Any:
    """End in an odd way, but end."""
    with noted(self, key):
        pass
    return _ODDITIES[how]()
