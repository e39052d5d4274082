"""What a worker's children have run, counted in memory that they share with their supervisor.

Only where metrics are asked for. A child adds to a table of its own, one row for each task, queue and state; the
supervisor reads the tables of all, whenever it likes, and keeps what the dead have counted. Each number is written
in one piece by one process, so there is nothing to lock between them.
"""

import mmap
import threading
from bisect import bisect_left
from collections.abc import Iterable

from msgspec import Struct

from celeriac import states
from celeriac.broker import Publication
from celeriac.message.message import PERIODIC_NAME
from celeriac.queue_age import startable
from celeriac.run import Outcome, Run

#: Upper bounds, in seconds, of the buckets that times are counted in; what takes longer goes into one more.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
ROWS = 512

_WORD = 8
_ROW = 512
_KEY = 224  # bytes of a row that name it
_COUNT, _RAN, _WAITED = _KEY // _WORD, _KEY // _WORD + 1, _KEY // _WORD + 2
_RUNS = _WAITED + 1
_WAITS = _RUNS + len(BOUNDS) + 1
_WHEN = _WAITS + len(BOUNDS) + 1
_END = _WHEN + 1
#: One row more than there are, for what finds none of its own.
_LAST = ROWS * _ROW // _WORD
assert _END * _WORD <= _ROW

#: Task, queue, state.
Key = tuple[str, str, str]
OTHERS: Key = ("(others)", "", "")
UNKNOWN = "(unknown)"
#: What stands in place of a state in rows that are no runs: tasks that could not be sent, and entries of the schedule
#: (in place of the task) whose task has succeeded.
NOT_SENT, ENTRY = "(not sent)", "(entry)"


class Counts(Struct):
    """How often, how long in all, and how many of them took up to which of `BOUNDS`: runs, and waits before them.

    `when` is the time of the last one, where that is noted.
    """

    count: int
    ran: float
    waited: float
    runs: list[int]
    waits: list[int]
    when: float = 0.0

    def plus(self, other: "Counts") -> "Counts":
        """Return both together."""
        return Counts(
            self.count + other.count,
            self.ran + other.ran,
            self.waited + other.waited,
            [one + another for one, another in zip(self.runs, other.runs, strict=True)],
            [one + another for one, another in zip(self.waits, other.waits, strict=True)],
            max(self.when, other.when),
        )


class Tally:
    """The table of one child. Made before the fork; one thread of the child at a time adds to it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _WORD + (ROWS + 1) * _ROW)
        view = memoryview(self._memory)
        self._used = view[:_WORD].cast("q")
        self._bytes = view[_WORD:]
        self._words = self._bytes.cast("q")
        self._times = self._bytes.cast("d")
        self._rows: dict[Key, int] = {}

    def add(
        self, task: str, queue: str, state: str, ran: float | None = None, waited: float | None = None
    ) -> None:
        """Count one run, with the seconds that it took, and that it waited before, where these are known."""
        row = self._rows.get((task, queue, state))
        if row is None:
            row = self._new_row((task, queue, state))
        words, times = self._words, self._times
        if ran is not None:
            words[row + _RUNS + bisect_left(BOUNDS, ran)] += 1
            times[row + _RAN] += ran
        if waited is not None:
            words[row + _WAITS + bisect_left(BOUNDS, waited)] += 1
            times[row + _WAITED] += waited
        words[row + _COUNT] += 1

    def count(self, run: Run, outcome: Outcome) -> None:
        """Count a run that has come to its end. Tasks that nobody knows are one: anybody can make up names."""
        name = UNKNOWN if run.task is None else run.task.name
        if not run.started:
            self.add(name, run.queue, outcome.state)
            return
        since = startable(run.message)
        waited = None if since is None else max(0.0, run.started - since)
        self.add(name, run.queue, outcome.state, max(0.0, outcome.finished - run.started), waited)
        if run.message.custom is not None and outcome.state == states.SUCCESS:
            self._note_entry(run.message.custom.get(PERIODIC_NAME), outcome.finished)

    def not_sent(self, publications: Iterable[Publication]) -> None:
        """Count what the broker did not take."""
        for each in publications:
            self.add(each.task, each.queue, NOT_SENT)

    def _note_entry(self, entry: object, when: float) -> None:
        """Note that what was sent for an entry has succeeded."""
        if isinstance(entry, str) and entry:
            key = (entry.replace("\n", " "), "", ENTRY)
            row = self._rows.get(key)
            if row is None:
                row = self._new_row(key)
            if row != _LAST:
                self._times[row + _WHEN] = when
                self._words[row + _COUNT] += 1

    def _new_row(self, key: Key) -> int:
        name = "\n".join(key).encode(errors="replace")
        used = self._used[0]
        if used == ROWS or len(name) > _KEY:
            return _LAST
        self._bytes[used * _ROW : used * _ROW + len(name)] = name
        self._used[0] = used + 1  # only now does the supervisor look at it
        row = self._rows[key] = used * _ROW // _WORD
        return row

    def read(self) -> dict[Key, Counts]:
        """Return what is counted so far; the child may be adding to it."""
        found: dict[Key, Counts] = {}
        for number in range(self._used[0]):
            name = bytes(self._bytes[number * _ROW : number * _ROW + _KEY]).rstrip(b"\0")
            task, queue, state = name.decode(errors="replace").split("\n")
            found[task, queue, state] = self._counts(number * _ROW // _WORD)
        others = self._counts(_LAST)
        if others.count:
            found[OTHERS] = others
        return found

    def _counts(self, row: int) -> Counts:
        words, times = self._words, self._times
        runs, waits = words[row + _RUNS : row + _WAITS], words[row + _WAITS : row + _WHEN]
        return Counts(
            words[row + _COUNT],
            times[row + _RAN],
            times[row + _WAITED],
            list(runs),
            list(waits),
            times[row + _WHEN],
        )

    def close(self) -> None:
        """Give the memory back."""
        for view in (self._used, self._words, self._times, self._bytes):
            view.release()
        self._memory.close()


class Tallies:
    """The tables of a worker's children, and the sum of those of the dead. Read by another thread than the worker's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Tally] = []
        self._gone: dict[Key, Counts] = {}

    def open(self) -> Tally:
        """Return the table of a new child."""
        tally = Tally()
        with self._lock:
            self._open.append(tally)
        return tally

    def retire(self, tally: Tally) -> None:
        """Keep what a dead child has counted, and give its table back."""
        with self._lock:
            self._open.remove(tally)
            _add(self._gone, tally.read())
        tally.close()

    def read(self) -> dict[Key, Counts]:
        """Return the sum of all."""
        with self._lock:
            total = dict(self._gone)
            for tally in self._open:
                _add(total, tally.read())
        return total


def _add(total: dict[Key, Counts], more: dict[Key, Counts]) -> None:
    for key, counts in more.items():
        total[key] = total[key].plus(counts) if key in total else counts
