"""The task that runs here and now, and what may be asked of it.

`celeriac.execute` sets `current` around the user's function; `Task.request` and `App.send` (for parent and root
ids) read it. One context variable, so that threads and coroutines each see their own.
"""

from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from celeriac.errors import Retry
from celeriac.message import protocol
from celeriac.message.message import Message
from celeriac.store import Record

_MOST_CHILDREN = 1000


class Request(Struct):
    """What a running task can know about its own call; `self.request` in a bound task, as in Celery."""

    message: Message
    queue: str
    hostname: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    embed: dict[str, Any] | None = None
    is_eager: bool = False
    called_directly: bool = False
    #: Its soft limit has just struck, and may have left anything half done.
    interrupted: bool = False
    #: What `retry(throw=False)` asked for, carried out when the function has returned; the Retry that ended the run.
    retrying: Retry | None = None
    #: Handles of the tasks that this one has sent, the first ones at least; None where they are not kept track of.
    children: list[Any] | None = None
    #: Whether something is to follow the task: `callbacks` or `errbacks`.
    followed: bool = False
    #: When the run began, unix time.
    started: float = 0.0
    #: Has a record of the running task stored in its turn; None where there is no worker to do it.
    note: Callable[[Record], None] | None = None

    @property
    def id(self) -> str:
        """The task id."""
        return self.message.headers.id

    @property
    def task(self) -> str:
        """The task's name."""
        return self.message.headers.task

    @property
    def retries(self) -> int:
        """How often it was retried, 0 in the first run."""
        return self.message.headers.retries or 0

    @property
    def root_id(self) -> str | None:
        """Id of the first task of the workflow; its own id if it stands alone."""
        return self.message.headers.root_id

    @property
    def parent_id(self) -> str | None:
        """Id of the task that sent this one."""
        return self.message.headers.parent_id

    @property
    def group(self) -> str | None:
        """Id of the group that it belongs to."""
        return self.message.headers.group

    @property
    def group_index(self) -> int | None:
        """Place in the group."""
        return self.message.headers.group_index

    @property
    def eta(self) -> str | None:
        """When it was to run, ISO 8601, if it was scheduled."""
        return self.message.headers.eta

    @property
    def expires(self) -> str | None:
        """When it expires, ISO 8601."""
        return self.message.headers.expires

    @property
    def callbacks(self) -> list[dict[str, Any]] | None:
        """Signatures to be sent when the task has succeeded."""
        return (self.embed or {}).get("callbacks")

    @property
    def errbacks(self) -> list[dict[str, Any]] | None:
        """Signatures to be sent, or called, when the task has failed."""
        return (self.embed or {}).get("errbacks")

    @property
    def chain(self) -> list[dict[str, Any]] | None:
        """Celery's workflows: what follows in its chain, the next one last. No such message is run here yet."""
        return (self.embed or {}).get("chain")

    @property
    def chord(self) -> dict[str, Any] | None:
        """Celery's workflows: what follows its group. No such message is run here yet."""
        return (self.embed or {}).get("chord")

    def add_child(self, result: Any) -> None:
        """Note the handle of a task that this one has sent."""
        if self.children is not None and len(self.children) < _MOST_CHILDREN:
            self.children.append(result)

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """Hard and soft limit of this call, in seconds; those that only the settings say are not there."""
        return self.message.headers.timelimit or (None, None)

    @property
    def time_limit(self) -> float | None:
        """Hard limit of this call."""
        return self.timelimit[0]

    @property
    def soft_time_limit(self) -> float | None:
        """Soft limit of this call."""
        return self.timelimit[1]

    @property
    def origin(self) -> str | None:
        """Name of the process that sent it."""
        return self.message.headers.origin

    @property
    def shadow(self) -> str | None:
        """The name to show instead of the task's."""
        return self.message.headers.shadow

    @property
    def ignore_result(self) -> bool | None:
        """Whether the call asked for no result."""
        return self.message.headers.ignore_result

    @property
    def correlation_id(self) -> str | None:
        """The AMQP property; the task id."""
        return self.message.properties.correlation_id

    @property
    def reply_to(self) -> str | None:
        """The AMQP property."""
        return self.message.properties.reply_to

    @property
    def headers(self) -> dict[str, Any] | None:
        """The sender's own headers, None if there are none."""
        return protocol.custom_headers(self.message) or None

    @property
    def delivery_info(self) -> dict[str, Any]:
        """Exchange, routing key, priority and whether it was delivered before."""
        info = self.message.properties.delivery_info or {}
        return {
            "exchange": info.get("exchange", ""),
            "routing_key": info.get("routing_key", self.queue),
            "priority": self.message.properties.priority,
            "redelivered": self.losses > 0 or bool(info.get("redelivered")),
        }

    @property
    def losses(self) -> int:
        """How many processes died while they ran this task. Celery has no such attribute."""
        return self.message.properties.celeriac_losses

    @property
    def enqueued_at(self) -> datetime | None:
        """When it was sent, if the sender said so. Celery has no such attribute."""
        stamp = self.message.properties.timestamp
        return None if stamp is None else datetime.fromtimestamp(stamp).astimezone()

    def __getattr__(self, name: str) -> Any:
        """Return one of the sender's own headers.

        Celery's request has them as attributes, and what traces tasks or carries a context along looks for them there.
        """
        own = protocol.custom_headers(self.message) or {}
        if name in own:
            return own[name]
        raise AttributeError(
            f"A request has no attribute {name!r}, and the task's message no header of that name."
        )

    def __repr__(self) -> str:
        # Without the arguments, some of which may not be shown.
        return f"<Request: {self.task}[{self.id}]>"

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute by name, or a default."""
        return getattr(self, name, default)


current: ContextVar[Request | None] = ContextVar("celeriac_current_task", default=None)
