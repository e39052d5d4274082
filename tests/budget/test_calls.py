"""Budgets on counts, not on times: Python calls on the hot paths, and what an import brings in."""

import gc
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from celeriac import Celeriac
from celeriac.brokers.memory import MemoryBroker
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker
from tests.unit.running import PATIENCE, until

DELAY = 25
WHOLE_TRIP = 70
RUNS = 500


@pytest.fixture
def app() -> Iterator[Celeriac]:
    made = Celeriac("budget", broker="memory://budget", backend="memory://budget")
    yield made
    assert isinstance(made.broker, MemoryBroker)
    made.broker.clear()
    made.close()


class Calls:
    """Counts Python calls, by function."""

    def __init__(self) -> None:
        self.by_name: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            self.by_name[f"{frame.f_code.co_filename}:{frame.f_code.co_name}"] += 1

    @property
    def per_run(self) -> float:
        return sum(self.by_name.values()) / RUNS

    def files(self) -> set[str]:
        return {name.rpartition(":")[0] for name, count in self.by_name.items() if count >= RUNS}


def test_calls_per_delay_and_per_whole_trip(app: Celeriac) -> None:
    @app.task(ignore_result=True)
    def noop(x: int) -> None: ...

    noop.delay(0)
    calls = Calls()
    gc.disable()  # finalizers of what other tests have left are not this one's calls
    sys.setprofile(calls)
    for number in range(RUNS):
        noop.delay(number)
    sys.setprofile(None)
    gc.enable()
    delay = calls.per_run
    assert len(calls.files()) <= 14, calls.files()
    assert delay <= DELAY, calls.by_name.most_common(30)

    logger = logging.getLogger("celeriac")
    level = logger.level
    logger.setLevel(logging.WARNING)
    trip = Calls()
    worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
    threading.setprofile(trip)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: not any(depth.ready + depth.in_flight for depth in app.broker.depths().values()))
    threading.setprofile(None)
    worker.stop()
    thread.join(PATIENCE)
    logger.setLevel(level)
    assert not thread.is_alive()
    assert trip.per_run > 5  # the worker was really watched
    assert delay + trip.per_run <= WHOLE_TRIP, trip.by_name.most_common(40)


def test_import_brings_in_no_driver_and_few_modules() -> None:
    script = (
        "import sys; before = set(sys.modules); import celeriac;"
        "new = set(sys.modules) - before; own = [m for m in new if m.split('.')[0] == 'celeriac'];"
        "bad = {'django', 'redis', 'hiredis', 'click', 'rich', 'asyncio', 'psycopg'} & {m.split('.')[0] for m in new};"
        "print(len(own), len(new), sorted(bad))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100
    ).stdout.split(None, 2)
    own, new, bad = int(output[0]), int(output[1]), output[2].strip()
    assert bad == "[]"
    assert own <= 55
    assert new <= 260
