"""The contract of brokers, and the values they move.

Keepers are in `celeriac.brokers` and `celeriac.django.broker`; `celeriac.testing.broker_exam` proves one.
Values with `gc=False` can be part of no reference cycle, and there are thousands of them at a time: the garbage
collector need not look at them.

A broker moves bytes (`payload`, see `celeriac.message.protocol`) and never reads them. Producers call `publish`;
worker children `register`, `claim`, `settle`, `held` and `wait`; supervisors `renew`, `expired`, `adopt` and
`revive`; the admin and the command line look. Anybody may `revoke` a task, or `command` the workers; who sees to
schedules has entries `fire`.

A message is in exactly one place at any time: ready, scheduled, in flight at a consumer, or dead letter.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import ClassVar

from msgspec import Struct

from celeriac.store import Record, ResultStore


class Publication(Struct, gc=False):
    """A message on its way to a broker. `due` is a unix time in seconds; None or a time past means now."""

    id: str
    task: str
    queue: str
    payload: bytes
    priority: int = 0
    due: float | None = None


class Delivery(Struct, gc=False):
    """A message that a consumer holds.

    `tag` is the broker's number for it, valid until settled. `size` is the length of the whole message; where
    that is above the broker's `max_message_bytes`, `payload` is only its beginning. Unless `sure` is set, some tasks
    are revoked: `Broker.revoked` is to be asked about this one before it starts.
    """

    tag: int
    queue: str
    payload: bytes
    size: int
    sure: bool = False


class Action(IntEnum):
    """What a broker is to do with a delivery."""

    DONE = 0  #: forget it
    PUT_BACK = 1  #: ready again, to be claimed before what waits in its queue
    SCHEDULE = 2  #: ready again at `due`
    DEAD = 3  #: to the dead letters, with `reason`


class Settlement(Struct, gc=False):
    """How a delivery ends. `payload` replaces the message where it goes back (None: as it was).

    `publish` (a retry, say) and `record` take effect only if the settlement is accepted; so does `frees`, an office and
    who holds it, which is resigned then.
    """

    tag: int
    action: Action = Action.DONE
    payload: bytes | None = None
    due: float | None = None
    reason: str = ""
    publish: tuple[Publication, ...] = ()
    record: Record | None = None
    frees: tuple[str, str] | None = None


class DeadLetter(Struct):
    """A message set aside. `died` is a unix time; `payload` the whole message as it came."""

    key: str
    queue: str
    reason: str
    died: float
    payload: bytes


class QueueDepth(Struct):
    """How many messages of a queue are where."""

    ready: int = 0
    scheduled: int = 0
    in_flight: int = 0


class Firing(Struct, gc=False):
    """An entry of a schedule is due: what is to be published for its due time `slot`, a unix time.

    `expected` is the slot up to which the entry has fired so far, None if it is new; then mostly nothing is published.
    With `hold` there is one publication at most, and it is published only if nobody holds the office `run_office` of
    the entry, which its id then holds for so many seconds.
    """

    entry: str
    slot: float
    expected: float | None
    publications: tuple[Publication, ...] = ()
    hold: float = 0.0


class Fired(Struct, gc=False):
    """How far an entry has fired: its last slot, how much was published, when last by the broker's clock (0: never)."""

    slot: float
    count: int
    at: float


#: How long, in seconds, a command to workers can be read.
COMMAND_SECONDS = 300.0
#: How long, in seconds, it is remembered at least under which key something was published once.
ONCE_SECONDS = 86400.0


#: What the names of entries begin with that stand for such keys, where a keeper has no place of their own for them.
_ONCE = "once:"


def run_office(entry: str) -> str:
    """Return the office that the run of an entry holds, where there is to be one at a time."""
    return f"run:{entry}"


class Broker(ABC):
    """Keeps messages until they are settled. See the module's text for who calls what.

    A consumer is a string, unique to one incarnation of one process. It holds a lease, in seconds of the
    broker's own clock; who renews it is not the broker's business. Every step is conditioned on (tag,
    consumer): one whose lease was taken over is refused.

    `seq` numbers a consumer's claims upwards. A call with a number not above the last one seen changes nothing
    and returns nothing, so that a request that was thought lost and arrives late cannot hand out messages
    that nobody waits for; `held` takes a number too and thereby closes the door behind all earlier claims.

    Any method raises BrokerDown if the server cannot be reached in time, BrokerError for anything else. Producers'
    methods may be called from several threads; those with a `consumer` from one thread at a time for each
    consumer, except that its supervisor may look (`held` with the number -1) and put back in its name meanwhile:
    whichever settlement of a tag comes second is refused. After a fork every process makes its own connections.
    """

    #: Schemes of `broker_url` that this keeper answers to.
    schemes: ClassVar[tuple[str, ...]] = ()
    #: Whether processes other than this one can reach the messages.
    shared: ClassVar[bool] = True

    #: The URL without its password, for banners and errors.
    safe_url: str = ""
    #: Longer messages are handed out cut, to be set aside.
    max_message_bytes: int = 8 * 1024 * 1024

    # -- producers

    @abstractmethod
    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        """Enqueue all of `publications`, in order, within `timeout` seconds.

        Raises BrokerDown, with `maybe_queued` set where the connection broke too late to tell.
        """

    def publish_once(
        self, publications: Mapping[str, Publication], timeout: float, done: Collection[str] = ()
    ) -> None:
        """Enqueue those of `publications`, in order, that were not enqueued before under the key they stand under.

        Keys are remembered for ONCE_SECONDS, but for those in `done`, which are not used any more. One key and its
        message in one step; raises as `publish` does, to be called again with the same keys.
        """
        self.fire(
            [Firing(_ONCE + key, 0.0, None, (publication,)) for key, publication in publications.items()]
        )
        self.unschedule([_ONCE + key for key in done])

    # -- consumers

    @abstractmethod
    def register(self, consumer: str, lease: float, queues: Sequence[str] = ()) -> None:
        """Give `consumer` a lease of `lease` seconds; it is going to claim from `queues`."""

    @abstractmethod
    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        """Hand out up to `limit` ready messages of `queues`: higher priority first, then oldest first.

        Queues are served in turns, so that a full one does not starve the others. Scheduled messages that are
        due become ready first. Raises LeaseLost if `consumer` has no lease any more.
        """

    @abstractmethod
    def held(self, consumer: str, seq: int) -> list[Delivery]:
        """Return all that `consumer` holds, after a reconnect; claims numbered up to `seq` are void from now on.

        Raises LeaseLost if `consumer` has no lease any more.
        """

    @abstractmethod
    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        """End deliveries, in one transaction, and return the tags that were refused.

        With `store`, one that `shares` has said yes to, the records are stored in the same transaction; without it
        they are ignored.
        """

    def shares(self, store: ResultStore) -> bool:
        """Return whether `settle` can write to `store` in its own transaction."""
        return False

    @abstractmethod
    def unregister(self, consumer: str) -> None:
        """End the lease; what `consumer` still holds becomes ready again as it was."""

    @abstractmethod
    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        """Return when `queues` may have something to claim, `interrupt` is readable, or `timeout` seconds are over.

        `interrupt` is a file descriptor; it is left unread. May return early for no reason.
        """

    # -- supervisors

    @abstractmethod
    def renew(self, consumers: Sequence[str], lease: float) -> set[str]:
        """Extend leases to `lease` seconds from now; return the consumers that have none any more."""

    @abstractmethod
    def expired(self) -> list[str]:
        """Return the consumers whose lease has run out."""

    @abstractmethod
    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        """Move all that `dead` holds to the consumer `by`, end the lease of `dead`, return what was moved.

        With `expired_only` nothing happens unless the lease of `dead` has run out; without it the caller
        knows that the process is gone. Raises LeaseLost if `by` has no lease.
        """

    def maintain(self) -> None:
        """Do what has to be done now and then, called every few seconds by each supervisor."""

    # -- steering

    @abstractmethod
    def revoke(self, ids: Collection[str], seconds: float) -> None:
        """Note, for so long, that the tasks with these ids are not to be started."""

    @abstractmethod
    def revoked(self, ids: Collection[str]) -> set[str]:
        """Return which of `ids` are revoked."""

    @abstractmethod
    def command(self, payload: bytes) -> None:
        """Tell all workers something. It is kept for COMMAND_SECONDS, for each of them to read."""

    @abstractmethod
    def commands(self) -> dict[str, bytes]:
        """Return what is kept of commands, in order, under keys that are not used again."""

    # -- schedules

    @abstractmethod
    def now(self) -> float:
        """Return the time by the broker's clock, in unix seconds."""

    @abstractmethod
    def fire(self, firings: Sequence[Firing]) -> set[str]:
        """Publish what entries are due for, and note their slots, in one step; return the entries that were accepted.

        One is accepted if it has fired up to `expected` and no further: so each slot of an entry fires once, however
        many processes try. Of those that are not, nothing is published. An entry is named once at most. Where it asks
        for its office and that is held, it is accepted, and its slot noted, but nothing is published or counted.
        """

    @abstractmethod
    def fired(self, entries: Collection[str]) -> dict[str, Fired]:
        """Return how far those of `entries` that are known have fired."""

    @abstractmethod
    def unschedule(self, entries: Collection[str]) -> None:
        """Forget `entries`: they are new again."""

    @abstractmethod
    def elect(self, office: str, candidate: str, seconds: float) -> str:
        """Give `office` to `candidate` for so long, unless another holds it; return who holds it."""

    @abstractmethod
    def resign(self, office: str, candidate: str) -> None:
        """Leave an office, if `candidate` holds it."""

    # -- looking

    @abstractmethod
    def depths(self) -> dict[str, QueueDepth]:
        """Return the counts of every queue that has any message."""

    @abstractmethod
    def heads(self) -> list[tuple[str, bytes]]:
        """Return, with its queue, the message of each queue and priority that is ready and next to be handed out."""

    def readers(self) -> dict[str, tuple[str, ...]] | None:
        """Return the consumers whose lease has not run out and the queues that each registered for, if any.

        None where the broker cannot tell, as others may read the same queues without a lease.
        """
        return None

    @abstractmethod
    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        """Return dead letters, the newest first."""

    @abstractmethod
    def count_dead_letters(self) -> int:
        """Return how many dead letters there are."""

    @abstractmethod
    def revive(self, publications: Mapping[str, Publication]) -> int:
        """Publish, in order, each of `publications` in place of the dead letter whose key it stands under.

        What is no dead letter any more is passed over, its publication with it; both change places at once. Returns
        how many there were.
        """

    @abstractmethod
    def discard(self, keys: Collection[str]) -> int:
        """Drop the dead letters that stand under `keys`; return how many of them there were."""

    @abstractmethod
    def purge(self, queues: Iterable[str]) -> int:
        """Drop the ready and scheduled messages of `queues`; return how many."""

    def check(self) -> list[str]:
        """Return warnings about the server's set-up (persistence, eviction), one sentence each."""
        return []

    def close(self) -> None:
        """Close this process's connections. May be called twice."""
