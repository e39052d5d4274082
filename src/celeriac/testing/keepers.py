"""The memory broker and store that a test uses in place of the project's, and the memory broker that takes notes.

Used by `celeriac.testing.queue` and `celeriac.testing.worker`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from celeriac.app import Celeriac
from celeriac.broker import Publication, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.store import ResultStore
from celeriac.stores.memory import MemoryStore

#: Numbers of the memory keepers in use. A number that is free again is used again: a run may have 10,000 tests.
_taken: set[int] = set()


class NotingBroker(MemoryBroker):
    """The memory broker, which also keeps what was sent to it and when."""

    def __init__(self, url: str, settings: object, *, clock: Callable[[], float]) -> None:
        super().__init__(url, settings, clock=clock)
        self._now = clock
        self.sent: list[tuple[Publication, float]] = []

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        super().publish(publications, timeout)
        self.sent += [(publication, self._now()) for publication in publications]

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        refused = super().settle(consumer, settlements, store)
        published = [
            each for settlement in settlements if settlement.tag not in refused for each in settlement.publish
        ]
        if published:
            # A retry was noted when it was first sent.
            known = {publication.id for publication, _ in self.sent}
            self.sent += [(each, self._now()) for each in published if each.id not in known]
        return refused

    def next_due(self) -> float | None:
        """Return when the next scheduled message is due, as a unix time; None without one."""
        with self._shelf.lock:
            return self._shelf.scheduled[0][0] if self._shelf.scheduled else None


@contextmanager
def memory_keepers(app: Celeriac, clock: Callable[[], float]) -> Iterator[tuple[NotingBroker, MemoryStore]]:
    """Have `app` use a memory broker and store of the test's own; there is no store where the project has none."""
    number = next(number for number in range(len(_taken) + 1) if number not in _taken)
    _taken.add(number)
    url = f"memory://celeriac-testing-{number}"
    broker, store = NotingBroker(url, app.conf, clock=clock), MemoryStore(url, app.conf, clock=clock)
    has_results = app.conf.result_backend not in (None, "disabled", "disabled://")
    try:
        with app.lent(broker, store if has_results else None, clock):
            yield broker, store
    finally:
        broker.clear()
        store.clear()
        _taken.discard(number)
