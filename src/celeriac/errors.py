"""Every exception that Celeriac raises, in one tree.

    CeleriacError
      ImproperlyConfigured
        UnknownSetting (E111)      UnknownScheme (E110)      NotInstalled (E112)
        NoTasksFound (E113)        TasksModuleError (E114)   AppNotFound (E123)
        NotATask (E119)
      BrokerError
        BrokerDown (E109)          LeaseLost
      StoreError
      MessageError                 a message that cannot be read: it goes to the dead letters
        ContentDisallowed          TooLarge                  BadSignature (E126)
      EncodeError (E103)           an argument or result that cannot be serialised
        ModelArgument (E102)       UnstorableResult (E118)
      CallError (E104)             UnknownOption (E108)      these are TypeErrors as well
        WrongOption (E125)
          WrongLimits              a ValueError as well
      TaskPredicate
        Ignore  Reject  Retry
      TaskError
        NotRegistered (E105)       TaskTimeout               MaxRetriesExceededError
        QueueNotFound              a KeyError as well, as NotRegistered is
        TaskRevokedError           WorkerLostError (E120)    TimeLimitExceeded
        WaitInTransaction          WaitInTask (E117)         IncompleteStream
    SoftTimeLimitExceeded

A keeper (broker, store) lets no exception of its driver out: it raises one of these. The text says
what happened and what to do; `code` is the number under which `celeriac help` knows more.
"""

from datetime import datetime
from typing import Any, ClassVar

__all__ = [
    "AppNotFound",
    "BadSignature",
    "BrokerDown",
    "BrokerError",
    "CallError",
    "CeleriacError",
    "ContentDisallowed",
    "EncodeError",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "LeaseLost",
    "MaxRetriesExceededError",
    "MessageError",
    "ModelArgument",
    "NoTasksFound",
    "NotATask",
    "NotInstalled",
    "NotRegistered",
    "QueueNotFound",
    "Reject",
    "Retry",
    "SoftTimeLimitExceeded",
    "StoreError",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "TaskTimeout",
    "TasksModuleError",
    "TimeLimitExceeded",
    "TooLarge",
    "UnknownOption",
    "UnknownScheme",
    "UnknownSetting",
    "UnstorableResult",
    "WaitInTask",
    "WaitInTransaction",
    "WorkerLostError",
    "WrongLimits",
    "WrongOption",
]


class CeleriacError(Exception):
    """Root of the tree. `code` is like "E109", or empty where there is no long form."""

    code: ClassVar[str] = ""


class ImproperlyConfigured(CeleriacError):
    """The settings cannot be used as they stand."""


class NotATask(ImproperlyConfigured):
    """A function that cannot be a task as it is written."""

    code = "E119"


class UnknownSetting(ImproperlyConfigured):
    """A setting whose name is a near miss of a known one."""

    code = "E111"


class UnknownScheme(ImproperlyConfigured):
    """A broker or result store URL that no keeper answers to."""

    code = "E110"


class NotInstalled(ImproperlyConfigured):
    """`celeriac.django` is not in INSTALLED_APPS, its tables are missing, or an extra is not installed."""

    code = "E112"


class NoTasksFound(ImproperlyConfigured):
    """A worker that has no task to run."""

    code = "E113"


class TasksModuleError(ImproperlyConfigured):
    """A tasks module that does not import."""

    code = "E114"


class AppNotFound(ImproperlyConfigured):
    """`-A` names nothing that can be imported, or no project could be found without it."""

    code = "E123"


class BrokerError(CeleriacError):
    """The broker could not do what was asked."""


class BrokerDown(BrokerError):
    """The broker cannot be reached.

    `maybe_queued` is True where the connection broke after the message was sent and before it was
    confirmed: then the task with `task_id` may have been queued, else it certainly was not.
    """

    code = "E109"

    def __init__(self, text: str, *, maybe_queued: bool = False, task_id: str | None = None) -> None:
        super().__init__(text)
        self.maybe_queued = maybe_queued
        self.task_id = task_id


class LeaseLost(BrokerError):
    """The consumer's lease was taken over: what it held belongs to somebody else now."""


class StoreError(CeleriacError):
    """The result store could not do what was asked."""


class MessageError(CeleriacError):
    """A message that cannot be read. The text is the reason that the dead letter carries."""


class ContentDisallowed(MessageError):
    """A message in a content type that `accept_content` does not name."""


class TooLarge(MessageError):
    """A message above `worker_max_message_bytes`."""


class BadSignature(MessageError):
    """A message that is not signed, or not by this project, where `task_signing` is on."""

    code = "E126"


class EncodeError(CeleriacError, TypeError):
    """A value that the serializer cannot hold."""

    code = "E103"


class ModelArgument(EncodeError):
    """A Django model instance as an argument."""

    code = "E102"


class UnstorableResult(EncodeError):
    """What a task returned, that the result store cannot hold."""

    code = "E118"


class CallError(CeleriacError, TypeError):
    """Arguments that do not fit the task's signature."""

    code = "E104"


class WrongOption(CallError):
    """An option of a call with a value that it cannot have."""

    code = "E125"


class WrongLimits(WrongOption, ValueError):
    """A soft time limit above the hard one."""


class UnknownOption(CeleriacError, TypeError):
    """An option that `apply_async` or `@task` does not have."""

    code = "E108"


class TaskPredicate(CeleriacError):
    """Raised in a task to say how the run ends, not that it failed."""


class Ignore(TaskPredicate):
    """End the run without storing a state."""


class Reject(TaskPredicate):
    """Refuse the message: back on the queue with `requeue`, else to the dead letters."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue


class Retry(TaskPredicate):
    """The task is to run again at `when`: a datetime, or seconds from now; `exc` is the cause."""

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | None = None,
        when: float | datetime | None = None,
        *,
        call: tuple[Any, ...] | None = None,
    ) -> None:
        super().__init__(message, exc, when)
        self.message = message
        self.exc = exc
        self.when = when
        self.call = call

    def __str__(self) -> str:
        if self.message:
            return self.message
        cause = f": {self.exc!r}" if self.exc is not None else ""
        if isinstance(self.when, int | float):
            return f"Retry in {self.when:g} s{cause}"
        return f"Retry at {self.when}{cause}"


class TaskError(CeleriacError):
    """A task that did not come to its end."""


class NotRegistered(TaskError, KeyError):
    """A task name that this process does not know."""

    code = "E105"

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class QueueNotFound(TaskError, KeyError):
    """A queue that `task_queues` does not declare, or an exchange and routing key that lead to none."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TaskTimeout(TaskError, TimeoutError):
    """`AsyncResult.get` waited for `timeout` seconds; the task goes on."""


class MaxRetriesExceededError(TaskError):
    """`retry()` after the last allowed one."""


class TaskRevokedError(TaskError):
    """The task was revoked or had expired before it started."""


class WorkerLostError(TaskError):
    """The process that ran the task died."""

    code = "E120"


class TimeLimitExceeded(TaskError):
    """The hard time limit ended the task. Its argument is the limit in seconds."""

    def __str__(self) -> str:
        return (
            f"the hard time limit of {self.args[0]} s is over" if self.args else "the hard time limit is over"
        )


class IncompleteStream(TaskError):
    """What a task has sent is asked for before the task has ended."""


class WaitInTransaction(TaskError):
    """`get()` on a task that is only published when the surrounding transaction commits."""


class WaitInTask(TaskError, RuntimeError):
    """`get()` inside a running task."""

    code = "E117"


class SoftTimeLimitExceeded(Exception):
    """Raised in the task when its soft time limit is over. Not a CeleriacError, as tasks catch it by name."""

    def __str__(self) -> str:
        return (
            f"the soft time limit of {self.args[0]} s is over" if self.args else "the soft time limit is over"
        )


def sentences(trouble: object, more: str) -> str:
    """Return what an error says and `more` after it, as sentences: its text may end with a command, without a stop."""
    text = str(trouble)
    return f"{text} {more}" if text.endswith((".", "!", "?")) else f"{text}. {more}"
