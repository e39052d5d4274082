"""The contract of result stores, and `Record`, what they keep.

Keepers are in `celeriac.stores` and `celeriac.django.store`; `celeriac.testing.store_exam` proves one.
A worker stores records in batches, a client fetches and waits. Stores know nothing of tasks or apps.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from celeriac.states import READY_STATES, SUCCESS


class Record(Struct, gc=False):
    """What is stored of a task: its state, and what people ask about a run.

    `result` is the JSON text of the return value, of `{"exc_type", "exc_message", "exc_module"}` in FAILURE,
    RETRY and REVOKED, or of the meta of a custom state. Times are unix seconds; `finished` of a task that waits
    (PENDING) is when it is to begin, since old records are deleted by it. `args` and `kwargs` are bounded
    reprs, never the values. `losses` counts processes that died while they ran it. `children` are the tasks that it has
    sent, each as Celery has it, `[[id, parent], members of a group or None]`. `details` is what the
    sender wants to find again with the task: the message's header `celeriac_details`, JSON values, kept as they are.
    """

    id: str
    state: str
    result: bytes = b"null"
    traceback: str | None = None
    name: str = ""
    args: str = ""
    kwargs: str = ""
    queue: str = ""
    worker: str = ""
    retries: int = 0
    losses: int = 0
    enqueued: float | None = None
    started: float | None = None
    finished: float | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    children: list[Any] | None = None
    details: Any = None

    @property
    def ready(self) -> bool:
        """Whether the state is final: SUCCESS, FAILURE or REVOKED."""
        return self.state in READY_STATES


def beside_successes(
    records: Sequence[Record], fetch: Callable[[Sequence[str]], Mapping[str, Record]]
) -> list[Record]:
    """Return what of `records` is to be kept beside what is stored already: the last of each id, but the successes.

    For stores that cannot compare while they write.
    """
    wanted: dict[str, Record] = {}
    for record in records:
        earlier = wanted.get(record.id)
        if earlier is None or earlier.state != SUCCESS or record.state == SUCCESS:
            wanted[record.id] = record
    others = [task_id for task_id, record in wanted.items() if record.state != SUCCESS]
    for task_id, stored in fetch(others).items() if others else ():
        if stored.state == SUCCESS:
            del wanted[task_id]
    return list(wanted.values())


#: Seconds between two looks at a store that tells nobody of new records.
_SHORTEST, _LONGEST = 0.002, 0.05


class ResultStore(ABC):
    """Keeps the last record of each task for `expires` seconds (None: for ever).

    Rules that the exam checks: a stored SUCCESS is never overwritten by another state; of two records of one
    id in a batch the later one wins; `fetch` of an unknown id returns nothing for it; `wait` and `wait_any` return
    as soon as a final record is there, also when it was stored by another process. May be used from several
    threads; after a fork every process makes its own connections.
    """

    #: Schemes of `result_backend` that this keeper answers to.
    schemes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def store(self, records: Sequence[Record]) -> None:
        """Keep `records`, in one round trip; raises StoreError if that is not certain."""

    @abstractmethod
    def fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return the records of `ids` that there are; raises StoreError."""

    @abstractmethod
    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        """Return the final record of a task, waiting up to `timeout` seconds (None: for ever), else None."""

    def wait_any(self, ids: Collection[str], timeout: float | None) -> dict[str, Record]:
        """Return the final records of `ids` as soon as there are any, {} if there are none within `timeout` seconds.

        Here all are looked for at once, again and again; a store that hears of new records does better to listen.
        """
        wanted = list(ids)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _SHORTEST
        while True:
            found = {task_id: record for task_id, record in self.fetch(wanted).items() if record.ready}
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            if found or not wanted or left <= 0:
                return found
            time.sleep(left)
            pause = min(pause * 1.3, _LONGEST)

    @abstractmethod
    def forget(self, ids: Collection[str]) -> None:
        """Delete the records of `ids`."""

    def expire(self, limit: int) -> int:
        """Delete at most `limit` records past their time and return how many; 0 where the server does it."""
        return 0

    def count(self) -> int | None:
        """Return about how many records are kept, within milliseconds; None where that takes longer to tell."""
        return None

    def close(self) -> None:
        """Close this process's connections. May be called twice."""
