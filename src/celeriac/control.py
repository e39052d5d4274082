"""`app.control`: revoke tasks, and tell running workers what to do.

What is revoked is noted at the broker, so that it holds for workers that are not there yet. Everything else is a
command (`Order`) that lies at the broker until every worker has had the time to read it.
"""

import signal as signals
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct, structs

from celeriac import states
from celeriac.broker import COMMAND_SECONDS, Broker
from celeriac.config import Settings
from celeriac.errors import BadSignature, TaskRevokedError, WrongOption
from celeriac.failure import failure_json
from celeriac.store import Record, ResultStore

if TYPE_CHECKING:  # who signs nothing does without
    from celeriac.message.signing import Signer

#: States in which nothing runs: such a task is shown as revoked at once.
_WAITING = frozenset({states.PENDING, states.RECEIVED, states.RETRY, states.REJECTED})
_BATCH = 1000
_encode = msgspec.json.Encoder(order="sorted").encode


class Order(Struct, omit_defaults=True):
    """What workers are told; all of them, or those named in `destination`.

    `sent` (unix seconds by the broker's clock) and `signature` are there where `task_signing` is on.
    """

    method: str
    arguments: Mapping[str, Any]
    destination: list[str] | None = None
    sent: float | None = None
    signature: str | None = None

    def sign(self, signer: "Signer", now: float) -> None:
        """Sign it, as of `now`."""
        self.sent, self.signature = now, None
        self.signature = signer.sign_command(_encode(self))

    def check(self, signer: "Signer", now: float) -> None:
        """Raise BadSignature unless it was signed with a key that is known, and not longer ago than it is kept."""
        signer.check_command(self.signature, _encode(structs.replace(self, signature=None)))
        if self.sent is None or self.sent < now - COMMAND_SECONDS:
            raise BadSignature("it was signed too long ago: somebody has sent a copy")


class Steered(Protocol):
    """What is needed of an app."""

    @property
    def conf(self) -> Settings:
        """The settings."""

    @property
    def broker(self) -> Broker:
        """The broker."""

    @property
    def store(self) -> ResultStore | None:
        """The result store, None where results are disabled."""

    @property
    def signer(self) -> "Signer | None":
        """What signs commands, None where nothing is signed."""


class Control:
    """Steers the workers of an app. Its methods return when the broker has taken it; nobody waits for workers.

    `destination` names the workers that it is for (host names as in their banners); None: all. They raise BrokerDown
    where the broker cannot be reached.
    """

    def __init__(self, app: Steered) -> None:
        self.app = app

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: Iterable[str] | None = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
    ) -> None:
        """Have tasks not started any more, now or later, here or anywhere, for `task_revoke_expires` seconds.

        `task_id` is one id or several. With `terminate` those that run are ended within about a second: a function with
        its process, which another replaces, a coroutine by being cancelled. `signal` (a name or number) is what
        `task_revoked` is told; whatever it is, the process is killed. Raises WrongOption for what is no signal.
        """
        ids = [task_id] if isinstance(task_id, str) else [str(each) for each in task_id]
        number = _checked(signal)
        if not ids:
            return
        self.app.broker.revoke(ids, self.app.conf.task_revoke_expires)
        if terminate:
            self._tell("revoke", destination, task_id=ids, terminate=True, signal=number)
        self._show_revoked(ids)

    def terminate(
        self,
        task_id: str | Iterable[str],
        destination: Iterable[str] | None = None,
        signal: str | int = "SIGTERM",
    ) -> None:
        """`revoke` with `terminate=True`."""
        self.revoke(task_id, destination, terminate=True, signal=signal)

    def pool_grow(self, n: int = 1, destination: Iterable[str] | None = None) -> None:
        """Have workers start `n` more processes each."""
        self._tell("pool_grow", destination, n=_positive(n))

    def pool_shrink(self, n: int = 1, destination: Iterable[str] | None = None) -> None:
        """Have workers end `n` of their processes each when what they run is done; one always stays."""
        self._tell("pool_shrink", destination, n=_positive(n))

    def _tell(self, method: str, destination: Iterable[str] | None, **arguments: Any) -> None:
        names = None
        if destination is not None:
            names = [destination] if isinstance(destination, str) else list(destination)
        order, signer = Order(method, arguments, names), self.app.signer
        if signer is not None:
            order.sign(signer, self.app.broker.now())
        self.app.broker.command(_encode(order))

    def _show_revoked(self, ids: list[str]) -> None:
        """Store for those that do not run, as far as that is known, that they are revoked."""
        store = self.app.store
        if store is None:
            return
        result = failure_json(TaskRevokedError("revoked"))
        for first in range(0, len(ids), _BATCH):
            batch = list(dict.fromkeys(ids[first : first + _BATCH]))
            known = store.fetch(batch)
            records = []
            for task_id in batch:
                record = known.get(task_id) or Record(task_id, states.PENDING)
                if record.state in _WAITING:
                    changes = {"state": states.REVOKED, "result": result, "traceback": None}
                    records.append(structs.replace(record, **changes, finished=time.time()))
            if records:
                store.store(records)


def _checked(signal: str | int) -> int:
    """Return the number of a signal; raises WrongOption for what is none."""
    try:
        if isinstance(signal, str):
            name = signal.upper()
            return int(signals.Signals[name if name.startswith("SIG") else f"SIG{name}"])
        return int(signals.Signals(signal))
    except (KeyError, ValueError):
        raise WrongOption(f"revoke() knows no signal {signal!r}. Name one, as in signal='SIGKILL'.") from None


def _positive(n: int) -> int:
    if n < 1:
        raise WrongOption(f"A pool grows or shrinks by 1 or more processes, not by {n}.")
    return int(n)
