"""What both huey contenders share: tasks and producing, given an instance. Not a contender by itself."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from bench import tally


class HueyContender:
    """The functions of the contract over one huey; its modules publish them by name."""

    def __init__(self, huey: Any) -> None:
        self.huey = huey
        self.noop = huey.task(name="noop")(_noop)
        self.noted = huey.task(name="noted")(_noted)

    def prepare(self) -> None:
        pass

    def one_by_one(self, numbers: Iterable[int]) -> None:
        send: Callable[[int], object] = self.noop
        for number in numbers:
            send(number)

    fill = one_by_one

    def note(self, moment: int) -> None:
        self.noted(moment)

    def schedule(self, moments: Sequence[int]) -> None:
        for moment in moments:
            self.noted.schedule(args=(moment,), eta=datetime.fromtimestamp(moment / 1e9))

    def waiting(self) -> int:
        return int(self.huey.pending_count())

    def stored(self) -> int:
        return int(self.huey.result_count())


def _noop(number: int) -> int:
    tally.tick(number)
    return number


def _noted(moment: int) -> None:
    tally.note(moment)
