"""The values of a run: `Run`, a delivery on its way through a worker, and `Outcome`, what came of it.

Made and read by `celeriac.execute` and by those who call it. They hold no behaviour.
"""

from msgspec import Struct

from celeriac.broker import Publication
from celeriac.context import Request
from celeriac.message.message import Message
from celeriac.task import Task


class Run(Struct):
    """One delivery on its way through a worker. `void` is set when it must not start any more."""

    tag: int
    queue: str
    message: Message
    task: Task | None
    request: Request | None = None
    started: float = 0.0
    void: bool = False
    #: Whether it was revoked, and is not to be run.
    revoked: bool = False
    #: Whether a coroutine function is being run, and may be cancelled.
    calling: bool = False
    #: The signal's number where somebody wants it to end.
    terminated: int | None = None
    #: Time limits in seconds, where a worker is to enforce some.
    hard: float | None = None
    soft: float | None = None


class Outcome(Struct):
    """What came of a run.

    `state` is one of `celeriac.states` (IGNORED: nothing is stored). `result` is encoded as in `Record`. `retry` is
    the message to publish for the next run, `publish` what follows the task. `dead` is the reason to set the message
    aside, `requeue` asks for it to go back, `counted` that this counts as a loss. `error` is the exception itself, for
    this process only.
    """

    state: str
    result: bytes = b"null"
    traceback: str | None = None
    error: BaseException | None = None
    retry: Publication | None = None
    publish: tuple[Publication, ...] = ()
    dead: str | None = None
    requeue: bool = False
    counted: bool = False
    finished: float = 0.0
