"""Where others join in: what a web framework does for an app, and callables around each task.

`celeriac.django` provides the one `Framework` there is; the core only knows this protocol. Hooks are kept as
tuples, so that an empty one costs nothing.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from celeriac.broker import Broker, Publication
from celeriac.context import Request

T = TypeVar("T")


class Hooks:
    """Callables that run around each task, in each new child process, and with what the broker did not take.

    `before_coroutine` runs on the event loop instead, and must not block; `after_loop` when a loop has ended.
    """

    __slots__ = ("after_loop", "after_task", "before_coroutine", "before_task", "child_started", "not_sent")

    def __init__(self) -> None:
        self.before_task: tuple[Callable[[Request], None], ...] = ()
        self.after_task: tuple[Callable[[Request], None], ...] = ()
        self.before_coroutine: tuple[Callable[[], None], ...] = ()
        self.after_loop: tuple[Callable[[], None], ...] = ()
        self.child_started: tuple[Callable[[], None], ...] = ()
        self.not_sent: tuple[Callable[[Sequence[Publication]], None], ...] = ()


class Outbox(Protocol):
    """Where messages wait that are part of a transaction, for a broker that takes no part in it."""

    def keep(
        self, publications: Sequence[Publication], told: Callable[[Sequence[Publication]], None]
    ) -> Callable[[], bool] | None:
        """Write `publications` into the open transaction, have them published after its commit, and `told` of then.

        Returns what tells whether that is still to come; None where no transaction is open. Raises BrokerError.
        """

    def sweep(self) -> bool:
        """Publish for a moment what senders have left; return whether that was all. Raises BrokerError."""

    def waiting(self) -> int:
        """Return how many messages the broker does not have yet; raises BrokerError."""


class Framework(Protocol):
    """What the framework that the project is written in does for Celeriac."""

    def settings(self) -> dict[str, Any]:
        """Return settings by their new names, that hold where the project sets nothing."""

    def sources(self) -> dict[str, str]:
        """Return where each of `settings` comes from, for people."""

    def task_modules(self, related_name: str) -> list[str]:
        """Return the dotted names of modules to import for their tasks, only those that exist."""

    def signing_keys(self) -> Sequence[str | bytes]:
        """Return the secrets that messages are signed with where the settings name none, the one in use first."""

    def finds_tasks(self) -> bool:
        """Return whether `find_task` may know of tasks that no module has been imported for."""

    def find_task(self, name: str) -> Any:
        """Return the task of this name among the framework's own, None if there is none. Raises nothing."""

    def load_site(self) -> None:
        """Import what the project's site does, whose modules may define tasks too. Raises nothing, and does it once."""

    def is_debugging(self) -> bool:
        """Return whether somebody is at work on the project who wants to be told more than its users do."""

    def pages(self) -> dict[str, str]:
        """Return where the project's site shows what Celeriac does: names and paths. May import much of the project."""

    def defer(self, broker: Broker, publish: Callable[[], None]) -> bool:
        """Keep `publish` for after the commit of the open transaction; False where it is to be called now."""

    def uncommitted(self, broker: Broker) -> Callable[[], bool] | None:
        """Return what tells whether the transaction that `broker` takes part in is still open; None without one."""

    def outbox(self, broker: Broker, timeout: float) -> Outbox | None:
        """Return an outbox for `broker`, None where it takes part in every transaction there may be."""

    def run_coroutine(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call a coroutine function from this thread, which runs no event loop, and return what it returns."""

    def before_fork(self) -> None:
        """Close what a forked child must not share."""

    def leave_thread(self) -> None:
        """Close what this thread has opened, and no other can close."""

    def install_hooks(self, hooks: Hooks) -> None:
        """Add what a worker is to do around each task. May be called again."""

    def schedule(self) -> Any:
        """Return where people edit the schedule, a `celeriac.schedule.ScheduleSource`; None where they do not.

        Not by that type, so that only beat has to import it.
        """

    def check(self) -> None:
        """Raise ImproperlyConfigured where a worker could not work (missing tables, say)."""
