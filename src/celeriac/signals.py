"""Signals: what others may want to know of tasks and workers, with Celery's names and arguments.

`@task_failure.connect` adds a receiver; receivers are called by keyword, in the order in which they were connected,
in the process where it happens. What one raises is logged. A signal that nobody listens to costs nothing:
senders look at `receivers`, or for what surrounds each task at `around_tasks`, before they make the arguments.
"""

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, overload

from msgspec import Struct

logger = logging.getLogger("celeriac")

_Receiver = TypeVar("_Receiver", bound=Callable[..., Any])


class _Connection(Struct, frozen=True):
    key: Any
    sender: Any
    receiver: Callable[[], Callable[..., Any] | None]


class Signal:
    """One thing that happens. `sender` is what it happens to: a task, a task's name, a worker's name."""

    def __init__(self, name: str, group: "set[Signal] | None" = None) -> None:
        self.name = name
        #: Empty where nobody listens.
        self.receivers: tuple[_Connection, ...] = ()
        self._group = group
        self._lock = threading.Lock()

    @overload
    def connect(
        self, receiver: _Receiver, *, sender: Any = None, weak: bool = True, dispatch_uid: Any = None
    ) -> _Receiver: ...

    @overload
    def connect(
        self, *, sender: Any = None, weak: bool = True, dispatch_uid: Any = None
    ) -> Callable[[_Receiver], _Receiver]: ...

    def connect(
        self,
        receiver: Any = None,
        *,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        **_celery: Any,
    ) -> Any:
        """Have `receiver` called with `signal`, `sender` and the signal's own arguments, all by keyword.

        Also a decorator, with or without options. With `sender` only for that one. `weak` lets a receiver go
        when nothing else holds it; a second one of the same `dispatch_uid` and sender takes no effect.
        Returns the receiver.
        """
        if receiver is None:
            return lambda function: self.connect(
                function, sender=sender, weak=weak, dispatch_uid=dispatch_uid
            )
        key = (_identity(receiver) if dispatch_uid is None else dispatch_uid, _identity(sender))
        connection = _Connection(key, sender, self._hold(receiver, weak))
        with self._lock:
            if all(other.key != key for other in self.receivers):
                self.receivers = (*self.receivers, connection)
            self._note()
        return receiver

    def _hold(self, receiver: Callable[..., Any], weak: bool) -> Callable[[], Callable[..., Any] | None]:
        if not weak:
            return lambda: receiver
        if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
            return weakref.WeakMethod(receiver, self._forget)
        return weakref.ref(receiver, self._forget)

    def _forget(self, dead: Any) -> None:
        # Without the lock: it may be called at any moment, by the garbage collector, and the next change mends it.
        self.receivers = tuple(each for each in self.receivers if each.receiver is not dead)

    def disconnect(self, receiver: Any = None, sender: Any = None, dispatch_uid: Any = None) -> bool:
        """Undo a `connect` of the same receiver (or `dispatch_uid`) and sender; return whether there was one."""
        key = (_identity(receiver) if dispatch_uid is None else dispatch_uid, _identity(sender))
        with self._lock:
            left = tuple(each for each in self.receivers if each.key != key)
            found = len(left) < len(self.receivers)
            self.receivers = left
            self._note()
        return found

    def _note(self) -> None:
        if self._group is not None:
            (self._group.add if self.receivers else self._group.discard)(self)

    def send(self, sender: Any, **named: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call the receivers; return each with what it returned, or the exception that it raised."""
        answers: list[tuple[Callable[..., Any], Any]] = []
        for connection in self.receivers:
            if connection.sender is not None and _identity(connection.sender) != _identity(sender):
                continue
            receiver = connection.receiver()
            if receiver is None:
                continue
            try:
                answers.append((receiver, receiver(signal=self, sender=sender, **named)))
            except Exception as error:
                logger.exception("The receiver %r of the signal %s failed.", receiver, self.name)
                answers.append((receiver, error))
        return answers

    def __repr__(self) -> str:
        return f"<Signal: {self.name}>"


def _identity(target: Any) -> Any:
    """What makes two senders or receivers the same: texts by value, methods by object and function, others as such."""
    if isinstance(target, str):
        return target
    if hasattr(target, "__func__"):
        return (id(target.__self__), id(target.__func__))
    return id(target)


#: Those of the signals about runs of tasks that somebody listens to: one look for a worker where nobody does.
around_tasks: set[Signal] = set()

# Where a task is sent; the sender is the task's name.
before_task_publish = Signal("before_task_publish")
after_task_publish = Signal("after_task_publish")
# In the process that runs the task; the sender is the task.
task_received = Signal("task_received", around_tasks)
task_prerun = Signal("task_prerun", around_tasks)
task_postrun = Signal("task_postrun", around_tasks)
task_success = Signal("task_success", around_tasks)
task_retry = Signal("task_retry", around_tasks)
task_failure = Signal("task_failure", around_tasks)
task_internal_error = Signal("task_internal_error", around_tasks)
task_revoked = Signal("task_revoked", around_tasks)
task_unknown = Signal("task_unknown", around_tasks)
task_rejected = Signal("task_rejected", around_tasks)
# Of the worker: its supervisor, and its children where the name says process.
celeryd_init = Signal("celeryd_init")
celeryd_after_setup = Signal("celeryd_after_setup")
import_modules = Signal("import_modules")
worker_init = Signal("worker_init")
worker_ready = Signal("worker_ready")
worker_shutting_down = Signal("worker_shutting_down")
worker_shutdown = Signal("worker_shutdown")
worker_before_create_process = Signal("worker_before_create_process")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown")
heartbeat_sent = Signal("heartbeat_sent")
# Of logging.
setup_logging = Signal("setup_logging")
after_setup_logger = Signal("after_setup_logger")
after_setup_task_logger = Signal("after_setup_task_logger")
# Of beat: of any, and of one that is a worker's.
beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")
# Of the command line, which does not send it yet.
user_preload_options = Signal("user_preload_options")
