"""What a task's options say about a delivery that does not end well: a failure, a time limit, a lost process.

Asked by `celeriac.execute` and, for a dead child, by `celeriac.worker.recovery`. Nothing here is asked for a task that
succeeds.
"""

from typing import Protocol

from celeriac import states
from celeriac.config import Settings
from celeriac.errors import TimeLimitExceeded
from celeriac.failure import safe_text
from celeriac.message.message import Message
from celeriac.run import Outcome, Run


class Acknowledged(Protocol):
    """What is to be known of a task. None stands for "as the settings say"."""

    acks_on_failure: bool | None
    acks_on_timeout: bool | None
    acks_on_failure_or_timeout: bool | None
    reject_on_worker_lost: bool | None
    retry_on_worker_lost: bool | None


class Acks:
    """Reads the options, and the settings where they are silent, in Celery's order."""

    def __init__(self, conf: Settings) -> None:
        self.conf = conf

    def on_failure(self, task: Acknowledged) -> bool:
        """Whether a delivery is done when its task has failed; else it becomes a dead letter."""
        return self._said(task, task.acks_on_failure, self.conf.task_acks_on_failure)

    def on_timeout(self, task: Acknowledged) -> bool:
        """Whether a delivery is done when its task was over its hard limit; else it goes back."""
        return self._said(task, task.acks_on_timeout, self.conf.task_acks_on_timeout)

    def _said(self, task: Acknowledged, own: bool | None, setting: bool | None) -> bool:
        alias = task.acks_on_failure_or_timeout
        said = (own, setting, alias, self.conf.task_acks_on_failure_or_timeout)
        return next(each for each in said if each is not None)

    def judge(self, run: Run, outcome: Outcome) -> Outcome:
        """Return the outcome of a run that failed, with what becomes of its delivery."""
        task, error = run.task, outcome.error
        if task is None or not run.tag:
            return outcome
        if isinstance(error, TimeLimitExceeded) and run.hard is not None:
            if not self.on_timeout(task):
                if count_loss(run.message, self.conf.task_max_deliveries):
                    return Outcome(states.IGNORED, error=error, requeue=True, counted=True)
                most = self.conf.task_max_deliveries
                outcome.dead = f"it was over its hard time limit of {run.hard:g} s, or lost, {most} times"
        elif not self.on_failure(task):
            outcome.dead = f"failed: {type(error).__name__}: {safe_text(error)}"
        return outcome

    def retries_lost(self, task: Acknowledged) -> bool:
        """Whether a task whose process died is retried, rather than run again."""
        own = task.retry_on_worker_lost
        return self.conf.task_retry_on_worker_lost if own is None else own

    def fails_lost(self, task: Acknowledged) -> bool:
        """Whether a task whose process died has failed. Only where that is said: unlike in Celery, silence is no."""
        own = task.reject_on_worker_lost
        return (self.conf.task_reject_on_worker_lost if own is None else own) is False


def count_loss(message: Message, most: int) -> bool:
    """Count that a run of this message did not come to its end; return whether it may run again."""
    properties = message.properties
    properties.celeriac_losses += 1
    # Its last chance it has alone: nothing that only ran beside poison three times is taken for poison.
    properties.celeriac_suspect = properties.celeriac_losses == most - 1
    return properties.celeriac_losses < most
