"""What our contenders share: producing, given the tasks and their app. Not a contender by itself."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from celeriac import Celeriac

SLICE = 10_000
"""Tasks in one batch when a queue is only filled or scheduled ahead."""


class CeleriacContender:
    """The functions of the contract over one app; its modules publish them by name."""

    def __init__(self, app: Celeriac, noop: Any, noted: Any) -> None:
        self.app = app
        self.noop = noop
        self.noted = noted

    def prepare(self) -> None:
        pass

    def one_by_one(self, numbers: Iterable[int]) -> None:
        delay = self.noop.delay
        for number in numbers:
            delay(number)

    def bulk(self, numbers: Iterable[int]) -> None:
        noop = self.noop
        self.app.send_many([(noop, (number,)) for number in numbers])

    def fill(self, numbers: Sequence[int]) -> None:
        for start in range(0, len(numbers), SLICE):
            self.bulk(numbers[start : start + SLICE])

    def note(self, moment: int) -> None:
        self.noted.delay(moment)

    def schedule(self, moments: Sequence[int]) -> None:
        for start in range(0, len(moments), SLICE):
            with self.app.batch():
                for moment in moments[start : start + SLICE]:
                    self.noted.apply_async((moment,), eta=datetime.fromtimestamp(moment / 1e9, UTC))

    def waiting(self) -> int:
        depths = self.app.broker.depths().values()
        return sum(depth.ready + depth.scheduled + depth.in_flight for depth in depths)
