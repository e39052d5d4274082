"""`Celeriac`, the app: its tasks, and the way from a call to the broker.

What the user makes in `celery.py`, or `celeriac.django` makes for a project that does not. Its settings are
`configured`'s, its broker and store `connected`'s, its tasks `registered`'s part.
"""

import contextvars
import logging
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from celeriac import limits, naming, registry, sensitive, signals
from celeriac.broker import Publication
from celeriac.canvas import Signature, signature
from celeriac.context import current
from celeriac.deferred import AfterCommit
from celeriac.errors import BrokerError, CeleriacError
from celeriac.hooks import Hooks
from celeriac.options import APPLY
from celeriac.publishing import published
from celeriac.registered import Registered
from celeriac.result import AsyncResult, EagerResult, GroupResult, ResultSet
from celeriac.sending import Batch, Sender, origin
from celeriac.task import Task as BaseTask
from celeriac.task import check_call

if TYPE_CHECKING:
    from celeriac.control import Control

logger = logging.getLogger("celeriac")

_batch: contextvars.ContextVar[Batch | None] = contextvars.ContextVar("celeriac_batch", default=None)


class AlwaysEagerIgnored(UserWarning):
    """A task was sent by its name while `task_always_eager` is on: it goes to the broker, as in Celery."""


class Celeriac(Registered):
    """A Celeriac app. `main` is its name, and the module name of tasks defined in `__main__`.

    `broker` and `backend` are short for the settings `broker_url` and `result_backend`; any other setting may be given
    by its lower-case name. `task_cls`, a class or its dotted name, is what tasks are made of that name no `base`, as is
    what is set as `app.Task`. The app made last is the current one, which shared tasks are sent through.
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | None = None,
        backend: str | None = None,
        set_as_current: bool = True,
        task_cls: type[BaseTask] | str | None = None,
        **settings: Any,
    ) -> None:
        if broker is not None:
            settings["broker_url"] = broker
        if backend is not None:
            settings["result_backend"] = backend
        super().__init__(main, task_cls, settings)
        self.hooks = Hooks()
        # Tasks that were sent by name and are not known here.
        self._elsewhere: dict[str, BaseTask] = {}
        self._sender: Sender | None = None
        #: When this process made it, in unix seconds: its code is as old as that.
        self.made = time.time()
        if set_as_current:
            registry.set_current(self)

    def settings_changed(self, names: Collection[str]) -> None:
        super().settings_changed(names)
        self._sender = None

    # -- sending

    def send(
        self, task: BaseTask, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AsyncResult:
        """Send a call; what `delay` and `apply_async` come down to. Raises as they do."""
        arity = task.arity
        if arity is not None and not arity.fits(args, kwargs):
            self._refuse(task, args, kwargs)
        sender = self._sender
        if sender is None:
            sender = self._make_sender()
        if sender.conf.task_always_eager:
            return self.apply(task, args, kwargs, options)
        publication = sender.publication(task, args, kwargs, options)
        return self._send_out(publication, sender.ignores(task, options), options)

    def _refuse(self, task: BaseTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise CallError for arguments that do not fit, unless an annotation says that they are not looked at."""
        self._finish(task)
        if task.arity is not None:
            task.arity.explain(task.name, task.covers, args, kwargs)

    def _send_out(self, publication: Publication, ignored: bool, options: Mapping[str, Any]) -> AsyncResult:
        """Publish one call, now, with its batch, or after the commit of the open transaction; return the handle."""
        unpublished = None
        batch = _batch.get()
        if batch is not None and batch.app is self:
            batch.publications.append(publication)
            unpublished = batch.unpublished
        elif registry.framework() is None:
            self.publish((publication,))
        else:
            unpublished = self._publish_soon((publication,))
        result = AsyncResult(
            publication.id, self, publication.queue, unpublished=unpublished, ignored=ignored
        )
        parent = current.get()
        if parent is not None and (not options or options.get("add_to_parent") is not False):
            parent.add_child(result)
        return result

    def send_on_commit(
        self, task: BaseTask, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AsyncResult:
        """Send a call when the open transaction commits; what `delay_on_commit` comes down to."""
        if task.sends_itself and self.conf.task_publish_on_commit:
            return task.apply_async(args, kwargs, **options)
        if task.arity is not None and not task.arity.fits(args, kwargs):
            self._refuse(task, args, kwargs)
        if self.conf.task_always_eager:
            return self.apply(task, args, kwargs, options)
        sender = self._sender or self._make_sender()
        publication = sender.publication(task, args, kwargs, options)
        unpublished = self._publish_soon((publication,), on_commit=True)
        ignored = sender.ignores(task, options)
        return AsyncResult(publication.id, self, publication.queue, unpublished=unpublished, ignored=ignored)

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Send a task by its name, for a worker that knows it; this process need not.

        Takes the options of `apply_async` and raises as it does. A task that is registered here gives its options and
        has its arguments checked. A name close to that of a registered task is told once (E105), and sent.
        """
        check_call(args, kwargs, options, "send_task()")
        if self.conf.task_always_eager:
            warnings.warn("task_always_eager has no effect on send_task().", AlwaysEagerIgnored, stacklevel=2)
        publication = self.publication(name, args or (), kwargs or {}, options)
        return self._send_out(
            publication, (self._sender or self._make_sender()).ignores(self._named(name), options), options
        )

    def publication(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        sender: Sender | None = None,
    ) -> Publication:
        """Return the message of a call by name, which is not published yet; raises as `send_task` does."""
        task = self._named(name)
        if task.arity is not None and not task.arity.fits(args, kwargs):
            self._refuse(task, args, kwargs)
        return (sender or self._sender or self._make_sender()).publication(task, args, kwargs, options)

    def sender(self, clock: Callable[[], float]) -> Sender:
        """Return what makes messages that are sent at the time that `clock` tells, a unix time."""
        return Sender(self.conf, clock, self._finish, self.signer)

    def _named(self, name: str) -> BaseTask:
        return self._tasks.get(name) or registry.shared_tasks.get(name) or self._task_elsewhere(name)

    def _make_sender(self) -> Sender:
        self._sender = self.sender(self.clock)
        return self._sender

    def _task_elsewhere(self, name: str) -> BaseTask:
        task = self._elsewhere.get(name)
        if task is None:
            warning = naming.likely_misspelt(name, self.tasks)
            if warning:
                logger.warning("%s", warning)
            task = self._elsewhere[name] = BaseTask()
            task.name = name
            task.covers = sensitive.BY_NAME
        return task

    def _publish_soon(
        self, publications: Sequence[Publication], *, on_commit: bool | None = None
    ) -> Callable[[], bool] | None:
        """Publish now, or after the commit of the open transaction; return what tells whether that is still to come."""
        framework = registry.framework()
        if on_commit is None:
            on_commit = self.conf.task_publish_on_commit
        outbox = self._outbox[0] if self._outbox is not None else self.outbox
        if outbox is not None:
            try:
                with limits.held_off() if limits.running else nullcontext():
                    return outbox.keep(publications, self._published)
            except BrokerError:
                self._not_sent(publications)
                raise
        if framework is None or not on_commit:
            self.publish(publications)
            return None
        after_commit = AfterCommit(self.publish, publications)
        if framework.defer(self.broker, after_commit):
            return after_commit.pending
        self.publish(publications)
        return framework.uncommitted(self.broker)

    def publish(self, publications: Sequence[Publication]) -> None:
        """Hand publications to the broker now; raises BrokerDown within `task_publish_timeout` seconds."""
        try:
            if limits.running:
                with limits.held_off():
                    self.broker.publish(publications, self.conf.task_publish_timeout)
            else:
                self.broker.publish(publications, self.conf.task_publish_timeout)
        except BrokerError:
            self._not_sent(publications)
            raise
        self._published(publications)

    def _published(self, publications: Sequence[Publication]) -> None:
        """Take note of what the broker has."""
        if self._watched is not None:
            self._watched.sent(publications)
        if signals.after_task_publish.receivers:
            published(publications)

    def _not_sent(self, publications: Sequence[Publication]) -> None:
        """Tell who counts it that the broker did not take something."""
        # A soft limit that struck meanwhile might leave the worker's lock held.
        with limits.held_off() if limits.running else nullcontext():
            for tell in self.hooks.not_sent:
                tell(publications)

    def awaited(self, task_id: str, queue: str | None) -> None:
        """Have it told if no worker reads the queue of a task that somebody waits for. Raises nothing."""
        try:
            self.broker  # noqa: B018 - opens it
        except CeleriacError as error:
            logger.debug("Could not look who reads the queues: %s", error)
        if self._unread is not None:
            self._unread.awaited(task_id, queue)

    def send_many(self, calls: Iterable[Signature[Any] | tuple[Any, ...]]) -> list[AsyncResult]:
        """Send many calls in few round trips: `app.send_many(add.s(i, i) for i in range(1000))`.

        A call is `task.s(...)`, or a tuple (task, args), (task, args, kwargs) or (task, args, kwargs, options).
        Nothing is sent if one of them is wrong. Returns the handles in order.
        """
        with self.batch():
            return [self._send_call(call) for call in calls]

    def _send_call(self, call: Signature[Any] | tuple[Any, ...]) -> AsyncResult:
        task: Any
        if isinstance(call, Signature):
            task, args, kwargs, options = call.type, call.args, call.kwargs, call.options
            if task is None:
                return self.send_task(call.task, args, kwargs, **options)
        else:
            task, args, kwargs, options = (*call, {}, {})[:4]
        if task.sends_itself:
            sent: AsyncResult = task.apply_async(args, kwargs, **options)
            return sent
        check_call(args, kwargs, options, "send_many()")
        return self.send(task, args, kwargs, options)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Collect what is sent inside the block and publish it at its end, all at once; nothing if it raises."""
        outer = _batch.get()
        if outer is not None and outer.app is self:
            yield
            return
        batch = Batch(self)
        token = _batch.set(batch)
        try:
            yield
        finally:
            _batch.reset(token)
        batch.close(self._publish_soon(batch.publications) if batch.publications else None)

    def apply(
        self, task: BaseTask, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AsyncResult:
        """Run a call here and now, through the worker's execution path."""
        sender = self._sender or self._make_sender()
        throw, retries = options.get("throw"), options.get("retries") or 0
        publication = sender.publication(
            task,
            args,
            kwargs,
            {name: value for name, value in options.items() if name not in APPLY},
            told=False,
        )
        stored = (
            self.conf.task_store_eager_result if task.store_eager_result is None else task.store_eager_result
        )
        from celeriac.eager import run_eagerly  # noqa: PLC0415 - with all that runs tasks, which a sender does not
        from celeriac.execute import Executor  # noqa: PLC0415

        executor = Executor(self, origin())
        record, error = run_eagerly(executor, publication, self.store if stored else None, retries)
        if error is not None and (self.conf.task_eager_propagates if throw is None else throw):
            raise error
        return EagerResult.of(record, self, error)

    @property
    def control(self) -> "Control":
        """Revokes tasks, and tells running workers what to do: `app.control.revoke(task_id, terminate=True)`."""
        from celeriac.control import Control  # noqa: PLC0415 - few processes steer others

        return Control(self)

    def signature(self, task: Any, *args: Any, **kwargs: Any) -> Signature[Any]:
        """Return the signature of a call that is sent through this app: `app.signature("shop.tasks.add", (1, 2))`."""
        return signature(task, *args, app=self, **kwargs)

    def AsyncResult(self, task_id: str) -> AsyncResult:  # noqa: N802 - Celery's name
        """Return the handle of the task with this id."""
        return AsyncResult(task_id, self)

    def ResultSet(self, results: Iterable[Any]) -> ResultSet:  # noqa: N802
        """Return several results as one."""
        return ResultSet(results, self)

    def GroupResult(  # noqa: N802
        self, id: str | None = None, results: Iterable[Any] = (), parent: Any = None
    ) -> GroupResult:
        """Return several results as one with an id."""
        return GroupResult(id, results, parent, app=self)

    def set_current(self) -> None:
        """Have shared tasks sent through this app, and what asks for the current app get it."""
        registry.set_current(self)

    set_default = set_current

    @property
    def current_task(self) -> BaseTask | None:
        """The task that runs here, None where none does."""
        request = current.get()
        if request is None:
            return None
        return self._tasks.get(request.task) or registry.shared_tasks.get(request.task)

    current_worker_task = current_task

    def finalize(self, auto: bool = False) -> None:
        """Do nothing: an app is ready when it is made. For code that was written for Celery."""

    def close(self) -> None:
        """Close connections and stop being the current app."""
        self.close_keepers()
        registry.forget_app(self)

    def __repr__(self) -> str:
        return f"<Celeriac {self.main or ''}>"
