"""Running a call in the caller's process, through the worker's execution path.

For `task.apply()` and `task_always_eager`: arguments are encoded and decoded as on the wire, retries run at once,
results are not stored unless it is asked for. Used by `celeriac.app`.
"""

from concurrent.futures import ThreadPoolExecutor

from celeriac import registry, states
from celeriac.broker import Publication
from celeriac.errors import Reject
from celeriac.execute import Executor
from celeriac.run import Outcome, Run
from celeriac.store import Record, ResultStore


def run_eagerly(
    executor: Executor, publication: Publication, store: ResultStore | None, retries: int = 0
) -> tuple[Record, BaseException | None]:
    """Run a publication to its end and return its record, and the exception of a run that failed.

    The record is kept in `store` if there is one. `retries` is how often it is to be taken for retried already.
    """
    executor.eager = True
    while True:
        message = executor.decode(publication.payload, publication.queue)
        message.headers.retries = message.headers.retries or retries
        run = Run(0, publication.queue, message, executor.tasks.get(message.headers.task))
        outcome = run_once(executor, run)
        if outcome.retry is None:
            break
        publication = outcome.retry
    if outcome.requeue or isinstance(outcome.error, Reject):
        outcome = Outcome(
            states.REJECTED, finished=outcome.finished
        )  # there is no message that could go anywhere
    failed = outcome.state in states.PROPAGATE_STATES
    record = executor.settling.record(run, outcome)
    if store is not None and executor.settling.stores(run, outcome.state):
        store.store([record])
    return record, outcome.error if failed else None


def run_once(executor: Executor, run: Run) -> Outcome:
    """Run a task once, on this thread, whether its function is a coroutine function or not."""
    if run.task is None or not run.task.is_async:
        return executor.execute(run)
    import asyncio  # noqa: PLC0415 - few callers need it, and it is slow to import

    framework = registry.framework()

    def run_here() -> Outcome:
        if framework is None:
            return asyncio.run(executor.aexecute(run))
        return framework.run_coroutine(executor.aexecute, run)

    def run_elsewhere() -> Outcome:
        try:
            return run_here()
        finally:
            if framework is not None:
                framework.leave_thread()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_here()
    # The caller is a coroutine, of a test say: its loop stands until we return, so the task needs another, elsewhere.
    with ThreadPoolExecutor(1, "celeriac-eager") as elsewhere:
        return elsewhere.submit(run_elsewhere).result()
