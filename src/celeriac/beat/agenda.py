"""When each entry is due next, the soonest first. Called by the engine; knows neither schedules nor clocks."""

import heapq

#: When, a unix time, and which entry.
Item = tuple[float, str]


class Agenda:
    """One due time for each entry that has one."""

    def __init__(self) -> None:
        self._slots: dict[str, float] = {}
        # Heaps, which also hold what no longer is so: what `come_near` has not told of yet, and what it has.
        self._far: list[Item] = []
        self._near: list[Item] = []

    def put(self, slot: float, name: str) -> None:
        """Note when an entry is due next."""
        self._slots[name] = slot
        heapq.heappush(self._far, (slot, name))

    def drop(self, name: str) -> None:
        """Forget when an entry is due next, if it is noted."""
        self._slots.pop(name, None)

    def clear(self) -> None:
        """Forget all."""
        self._slots, self._far, self._near = {}, [], []

    @property
    def first(self) -> float | None:
        """When to call `take` next; mostly something is due then."""
        return min((heap[0][0] for heap in (self._near, self._far) if heap), default=None)

    @property
    def first_far(self) -> float | None:
        """Up to when `come_near` will have been asked when it has something to tell of."""
        return self._far[0][0] if self._far else None

    def take(self, until: float, most: int) -> list[Item]:
        """Return what is due, of very much the first, and forget it."""
        taken: list[Item] = []
        for heap in (self._near, self._far):
            while heap and heap[0][0] <= until and len(taken) < most:
                slot, name = heapq.heappop(heap)
                if self._slots.get(name) == slot:
                    del self._slots[name]  # it may be there twice
                    taken.append((slot, name))
        return taken

    def come_near(self, until: float, most: int) -> list[Item]:
        """Return what is due by then and was not returned before, of very much the first."""
        found: list[Item] = []
        while self._far and self._far[0][0] <= until and len(found) < most:
            item = heapq.heappop(self._far)
            if self._slots.get(item[1]) == item[0]:
                heapq.heappush(self._near, item)
                found.append(item)
        return found
