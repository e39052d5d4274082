"""One child process: sets itself up after the fork, runs the pool, ends.

The main thread runs tasks, others beside it in the `threads` pool; the fetcher has a thread of its own. Signals that
stop a worker are the supervisor's: a child is told by its flight record and a poke.
"""

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from msgspec import Struct

from celeriac import signals
from celeriac.app import Celeriac
from celeriac.execute import Executor
from celeriac.libc import libc
from celeriac.limits import of_tasks
from celeriac.waker import Waker
from celeriac.worker import recycling
from celeriac.worker.broker_clock import BrokerClock
from celeriac.worker.death import keep_trace
from celeriac.worker.fetcher import Fetcher
from celeriac.worker.lookout import Lookout
from celeriac.worker.options import WorkerOptions
from celeriac.worker.outage import Notice
from celeriac.worker.pool import Pool
from celeriac.worker.recorder import Recorder
from celeriac.worker.tally import Tally

logger = logging.getLogger("celeriac.worker")

_PR_SET_PDEATHSIG = 1
_SWITCH_INTERVAL = 0.001  # seconds; lets the fetcher have the GIL soon enough beside busy tasks


class ChildSetup(Struct):
    """What a child is given by its supervisor. It pokes `parent_waker` after it has written into `notice`."""

    options: WorkerOptions
    executor: Executor
    recorder: Recorder
    waker: Waker
    parent_waker: Waker
    notice: Notice
    threads: int
    lookout: Lookout | None = None
    tally: Tally | None = None

    def tell(self, text: str) -> None:
        """Have the supervisor say that something is away; "": that it is back."""
        self.notice.write(text)
        self.parent_waker.poke()


def make_executor(app: Celeriac, hostname: str) -> Executor:
    """Return what runs the tasks. Made once, before the fork: what is made after it each child has for itself."""
    if app.framework is not None:
        app.framework.install_hooks(app.hooks)
    executor = Executor(app, hostname)
    executor.limits = of_tasks(executor.tasks, app.conf)
    return executor


def run_child(app: Celeriac, setup: ChildSetup, supervisor: int) -> int:
    """Be a child until told to stop; return the exit status."""
    return be_process(app, setup.options.hostname, supervisor, lambda: serve(app, setup))


def flush() -> None:
    """Empty the buffers, which a fork would copy and `os._exit` would drop."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def fork_process(app: Celeriac, hostname: str, work: Callable[[], None], failure: str) -> int:
    """Fork a process that runs the project's code and does `work`, or logs that `failure`; return its number."""
    if app.framework is not None:
        app.framework.before_fork()
    flush()
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        end_as(lambda: be_process(app, hostname, supervisor, work), failure)
    return pid


def end_as(process: Callable[[], int], failure: str) -> NoReturn:
    """Be a forked process to its end, and leave with the status that it returns."""
    status = 1
    try:
        status = process()
    except BaseException:
        logger.exception("%s", failure)
    finally:
        flush()
        os._exit(status)


def be_process(app: Celeriac, hostname: str, supervisor: int, work: Callable[[], None]) -> int:
    """Be a process that runs the project's code, forked by the supervisor, and do `work`; return the exit status."""
    die_with_parent(supervisor)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, _leave_to_supervisor)
        signal.siginterrupt(number, False)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    gc.enable()
    for hook in app.hooks.child_started:
        hook()
    signals.worker_process_init.send(hostname)
    status = 1
    try:
        work()
        status = 0
    finally:
        signals.worker_process_shutdown.send(hostname, pid=os.getpid(), exitcode=status)
    return status


def serve(app: Celeriac, setup: ChildSetup) -> None:
    """Fetch and run tasks on this thread and `setup.threads` - 1 others until the record says stop."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    keep_trace(setup.recorder.trace_path)
    options, executor, conf = setup.options, setup.executor, app.conf
    pool = Pool(executor, setup.recorder, setup.waker, setup.threads, conf.worker_async_concurrency)
    pool.overseer = setup.parent_waker
    pool.tally = setup.tally
    app.hooks.not_sent += (pool.not_sent,)
    fetcher = Fetcher(
        app.broker,
        app.store,
        executor,
        pool,
        setup.recorder,
        setup.waker,
        options.queues,
        conf.worker_prefetch_multiplier,
        conf.task_publish_timeout,
        setup.tell,
        setup.lookout,
    )
    own_clock = app.clock
    if own_clock is time.time:  # not where a test has one of its own
        fetcher.clock = app.clock = executor.clock = BrokerClock(app.broker, quiet=options.pool != "solo")
        app.settings_changed(())  # what was made with the other one
    if options.pool == "prefork":
        fetcher.recycling = recycling.of(conf)
    pool.recycling = fetcher.recycling

    def on_thread(function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        finally:
            if app.framework is not None:
                app.framework.leave_thread()

    io_thread = threading.Thread(target=on_thread, args=(fetcher.run,), name="celeriac-fetcher", daemon=True)
    others = [
        threading.Thread(
            target=on_thread, args=(pool.work, number), name=f"celeriac-task-{number}", daemon=True
        )
        for number in range(1, setup.threads)
    ]
    setup.recorder.turned(time.monotonic())  # until the fetcher says that it is, this child is not at rest
    for thread in (io_thread, *others):
        thread.start()
    setup.recorder.set_ready()
    setup.parent_waker.poke()
    pool.work(0)
    for thread in (*others, io_thread):
        thread.join()
    pool.end_loop()
    app.hooks.not_sent = ()
    app.clock = own_clock  # of a process that goes on
    app.settings_changed(())


def _leave_to_supervisor(_number: int, _frame: FrameType | None) -> None:
    """Take no notice of a signal. Not SIG_IGN, which the programs that tasks start would inherit."""


def die_with_parent(supervisor: int) -> None:
    """Have the kernel kill this process when its supervisor dies (Linux; elsewhere the lease has to run out)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(1)
