"""What becomes of a task whose run was ended with its process: by its death, or by the supervisor at the hard limit.

`recovery` finds out which tasks these are, and settles what is returned here. An app's executor knows the tasks and
makes the records; without one every task has the options that are defaults.
"""

import logging
import time
from collections.abc import Callable

from msgspec import Struct

from celeriac import overlap, states
from celeriac.acks import Acks, count_loss
from celeriac.broker import Action, Delivery, Publication, Settlement
from celeriac.errors import Retry, TaskError, TaskRevokedError, TimeLimitExceeded, WorkerLostError
from celeriac.execute import Executor
from celeriac.failure import failure_json
from celeriac.message.message import Message, details_of
from celeriac.run import Outcome, Run
from celeriac.store import Record
from celeriac.unpacking import PLAIN, Codec
from celeriac.worker.death import Death
from celeriac.worker.ending import Terminated

logger = logging.getLogger("celeriac.worker")


def _nothing(_ended: "Ended") -> tuple[Publication, ...]:
    return ()


class Ended(Struct):
    """A run that was ended, and its task with it for `error`; or, with `retry`, until that.

    `signum` is set where somebody wanted it to end.
    """

    run: Run
    error: TaskError
    retry: Retry | None = None
    signum: int | None = None


class NotYet(Exception):
    """What follows a task is still being worked out: its delivery is to be settled a little later."""


class Losses:
    """Decides for one worker. `hostname` is its name, for records; `most` how many losses make a dead letter."""

    def __init__(
        self, hostname: str, most: int, executor: Executor | None = None, codec: Codec = PLAIN
    ) -> None:
        self.hostname = hostname
        self.most = most
        self.executor = executor
        self.codec = codec
        self.acks = None if executor is None else Acks(executor.conf)
        #: What is to be told of once it is settled.
        self.ended: list[Ended] = []
        #: Returns what is to be published as a task has failed; raises NotYet.
        self.followers: Callable[[Ended], tuple[Publication, ...]] = _nothing

    def lost(self, delivery: Delivery, message: Message, death: Death, start: float) -> Settlement:
        """Return how the delivery of a task ends whose process died while it ran, since `start`."""
        headers = message.headers
        run = self._run(delivery, message)
        details = death.details(start)
        if run is not None and self.acks is not None and run.task is not None:
            error = WorkerLostError(
                f"{headers.task}: its process died while it ran, by {death.cause}{details}. (celeriac help E120)"
            )
            if self.acks.retries_lost(run.task):
                return self._retried(run, error, death.trace)
            if self.acks.fails_lost(run.task):
                return self._failed(run, error, death.trace)
        if count_loss(message, self.most):
            logger.warning(
                "%s[%s]: its process died (%s) while it ran, loss %d of %d%s; it runs again. (celeriac help E120)",
                headers.task, headers.id, death.cause, message.properties.celeriac_losses, self.most, details,
            )  # fmt: skip
            return Settlement(
                delivery.tag, Action.PUT_BACK, payload=self.codec.encode(message, delivery.queue)
            )
        losses = message.properties.celeriac_losses
        reason = f"its process died {losses} times while it ran, the last time by {death.cause}{details}"
        return self._dead(delivery, message, reason, trace=death.trace)

    def timed_out(self, delivery: Delivery, message: Message, limit: float) -> Settlement:
        """Return how the delivery of a task ends that was ended after `limit` seconds."""
        run = self._run(delivery, message)
        headers = message.headers
        if (
            run is not None
            and self.acks is not None
            and run.task is not None
            and not self.acks.on_timeout(run.task)
        ):
            if count_loss(message, self.most):
                logger.error(
                    "%s[%s] was ended at its hard time limit of %g s, loss %d of %d; it runs again.",
                    headers.task, headers.id, limit, message.properties.celeriac_losses, self.most,
                )  # fmt: skip
                payload = self.codec.encode(message, delivery.queue)
                return Settlement(delivery.tag, Action.PUT_BACK, payload=payload)
            reason = f"it was over its hard time limit of {limit:g} s, or lost, {self.most} times"
            return self._dead(delivery, message, reason, TimeLimitExceeded(limit))
        error = TimeLimitExceeded(limit)
        if run is None or self.executor is None:
            record = self._record(delivery, message, error)
            return Settlement(delivery.tag, record=record, frees=overlap.ended(message))
        outcome = Outcome(states.FAILURE, failure_json(error), error=error, finished=time.time())
        outcome.publish = self._followers(Ended(run, error))
        logger.error("%s[%s] was ended at its hard time limit of %g s.", headers.task, headers.id, limit)
        run.started = time.time() - limit
        return self.executor.settling.settlement(run, outcome)

    def terminated(self, delivery: Delivery, message: Message, cause: Terminated) -> Settlement:
        """Return how the delivery of a task ends that somebody wanted to end."""
        headers, error = message.headers, TaskRevokedError("terminated")
        logger.warning("%s[%s] was terminated.", headers.task, headers.id)
        run = self._run(delivery, message)
        if run is None or self.executor is None:
            record = self._record(delivery, message, error, state=states.REVOKED)
            return Settlement(delivery.tag, record=record, frees=overlap.ended(message))
        self.ended.append(Ended(run, error, signum=cause.signum))
        outcome = Outcome(states.REVOKED, failure_json(error), error=error, finished=time.time())
        return self.executor.settling.settlement(run, outcome)

    def _run(self, delivery: Delivery, message: Message) -> Run | None:
        if self.executor is None:
            return None
        name = message.headers.task
        task = self.executor.tasks.get(name) or self.executor.find(name)
        return Run(delivery.tag, delivery.queue, message, task)

    def _retried(self, run: Run, error: WorkerLostError, trace: str | None) -> Settlement:
        task, headers, executor = run.task, run.message.headers, self.executor
        assert task is not None and executor is not None  # for mypy: `lost` has looked
        if task.max_retries is not None and (headers.retries or 0) >= task.max_retries:
            return self._failed(run, error, trace)
        retry = Retry(exc=error, when=task.default_retry_delay)
        outcome = executor.failed(run, retry)
        self.ended.append(Ended(run, error, retry))
        outcome.finished = time.time()
        logger.warning(
            "%s[%s]: %s; it is retried in %g s.", headers.task, headers.id, error, task.default_retry_delay
        )
        return executor.settling.settlement(run, outcome)

    def _failed(self, run: Run, error: WorkerLostError, trace: str | None) -> Settlement:
        assert self.executor is not None  # for mypy
        # Not by way of `failed`, which would look whether `autoretry_for` names this.
        outcome = Outcome(states.FAILURE, failure_json(error), trace, error, finished=time.time())
        outcome = self.executor.acks.judge(run, outcome)
        outcome.publish = self._followers(Ended(run, error))
        logger.error("%s[%s] has failed: %s.", run.message.headers.task, run.message.headers.id, error)
        return self.executor.settling.settlement(run, outcome)

    def _followers(self, ended: Ended) -> tuple[Publication, ...]:
        """Return what is to be published as a task has failed, and have it told; raises NotYet, first of all."""
        found = self.followers(ended)
        self.ended.append(ended)
        return found

    def _dead(
        self,
        delivery: Delivery,
        message: Message,
        reason: str,
        error: TaskError | None = None,
        trace: str | None = None,
    ) -> Settlement:
        if error is None:
            error = WorkerLostError(f"{message.headers.task}: {reason}. (celeriac help E120)")
        run = self._run(delivery, message)
        publish = () if run is None else self._followers(Ended(run, error))
        logger.error("%s[%s] is a dead letter now: %s.", message.headers.task, message.headers.id, reason)
        record = self._record(delivery, message, error)
        record.traceback = trace
        frees = overlap.ended(message)
        return Settlement(
            delivery.tag, Action.DEAD, reason=reason, publish=publish, record=record, frees=frees
        )

    def _record(
        self, delivery: Delivery, message: Message, error: TaskError, state: str = states.FAILURE
    ) -> Record:
        headers, properties = message.headers, message.properties
        return Record(
            headers.id,
            state,
            failure_json(error),
            name=headers.task,
            args=headers.argsrepr or "",
            kwargs=headers.kwargsrepr or "",
            queue=delivery.queue,
            worker=self.hostname,
            retries=headers.retries or 0,
            losses=properties.celeriac_losses,
            enqueued=properties.timestamp,
            finished=time.time(),
            root_id=headers.root_id,
            parent_id=headers.parent_id,
            details=details_of(message),
        )
