"""The process that enqueues for one measurement: imports one contender, obeys commands from the bench.

One JSON line in, one out: ``{"do": "fill", "count": 1000}`` is answered by ``{"ok": ...}`` or ``{"error": ...}``.
Started by ``bench.stage`` as ``python -m bench.producer MODULE``. It times what producers do; what workers do is
timed from the tally.
"""

import importlib
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import tally

WARM = 200
"""Tasks sent before the clock starts: connections, prepared statements, caches."""


class Producer:
    """The commands; every public method is one."""

    def __init__(self, contender: Any) -> None:
        self.contender = contender
        self.folder = Path(os.environ["BENCH_TALLY"])

    def prepare(self) -> None:
        self.contender.prepare()

    def fill(self, count: int) -> None:
        self.contender.fill(range(count))

    def waiting(self) -> int:
        return int(self.contender.waiting())

    def stored(self) -> int:
        return int(self.contender.stored())

    def one_by_one(self, count: int) -> float:
        """Tasks per second, each confirmed before the next."""
        self.contender.one_by_one(range(WARM))
        return self._rate(self.contender.one_by_one, count)

    def bulk(self, count: int) -> float:
        """Tasks per second, sent as one batch."""
        self.contender.bulk(range(WARM))
        return self._rate(self.contender.bulk, count)

    def _rate(self, send: Callable[[range], None], count: int) -> float:
        before = self.contender.waiting()
        started = time.perf_counter()
        send(range(count))
        seconds = time.perf_counter() - started
        arrived = self.contender.waiting() - before
        if arrived != count:
            raise RuntimeError(f"{count} tasks were sent, {arrived} arrived")
        return count / seconds

    def idle_latency(self, samples: int, low: float, high: float, budget: float) -> None:
        """Send single tasks to an idle worker, each some time after the one before has been executed."""
        draw = random.Random(samples)
        deadline = time.monotonic() + budget
        for sample in range(samples):
            time.sleep(draw.uniform(low, high))
            self.contender.note(time.time_ns())
            while tally.noted(self.folder) <= sample:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"sample {sample} of {samples} was not executed within {budget:g} s")
                time.sleep(min(low / 2, 0.02))

    def schedule(self, near: int, far: int, per_second: float) -> float:
        """Schedule ``near`` tasks due at a steady rate from soon on and ``far`` ones an hour ahead.

        Returns the moment (``time.time()``) at which the first is due. How long sending takes is found by
        sending a few far ones first, so that nothing is due before all is sent.
        """
        hour = time.time_ns() + 3600 * 10**9
        trial = min(far, max(100, far // 100))
        started = time.perf_counter()
        self.contender.schedule([hour] * trial)
        pace = (time.perf_counter() - started) / trial
        begin = time.time_ns() + int((pace * (near + far) * 1.5 + 6) * 1e9)
        self.contender.schedule([begin + int(n / per_second * 1e9) for n in range(near)])
        self.contender.schedule([hour] * (far - trial))
        if time.time_ns() > begin:
            raise RuntimeError("scheduling took longer than foreseen, the first tasks were due meanwhile")
        return begin / 1e9


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    producer = Producer(importlib.import_module(sys.argv[1]))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": getattr(producer, command.pop("do"))(**command)}
        except Exception:
            answer = {"error": traceback.format_exc(limit=-3)}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
