"""What receivers of a worker's signals can do to it before it starts, and what they cannot."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celeriac, signals
from celeriac.brokers.memory import MemoryBroker
from celeriac.worker.options import WorkerOptions
from celeriac.worker.start import Worker
from celeriac.worker.telling import tell


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celeriac]:
    made = Celeriac("signals", broker="memory://worker-signals", worker_state_dir=str(tmp_path))
    yield made
    MemoryBroker("memory://worker-signals").clear()
    made.close()


@pytest.fixture
def connect() -> Iterator[Any]:
    """Connect receivers until the test's end."""
    connected: list[tuple[signals.Signal, Any]] = []

    def connect(signal: signals.Signal, receiver: Any, **how: Any) -> None:
        signal.connect(receiver, weak=False, **how)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        for sender in (None, "one@here"):
            signal.disconnect(receiver, sender=sender)


def test_settings_of_one_worker(app: Celeriac, connect: Any) -> None:
    seen: list[dict[str, Any]] = []

    def configure(conf: Any, options: dict[str, Any], **_more: Any) -> None:
        seen.append(options)
        conf.worker_concurrency = 7
        conf.task_default_queue = "own"

    connect(signals.celeryd_init, configure, sender="one@here")
    one = Worker(app, WorkerOptions(hostname="one@here", pool="solo"))
    assert (one.options.concurrency, one.options.queues) == (7, ("own",))
    assert seen[0]["hostname"] == "one@here"
    assert seen[0]["pool"] == "solo"
    Worker(app, WorkerOptions(hostname="two@here"))
    assert len(seen) == 1


def test_a_queue_more_after_the_set_up(app: Celeriac, connect: Any) -> None:
    done: list[str] = []

    @app.task(queue="extra")
    def note() -> None:
        done.append("extra")
        worker.stop()

    def add_queue(sender: str, instance: Worker, **_more: Any) -> None:
        assert sender == instance.hostname
        instance.options.queues += ("extra",)

    def keep(sender: Any, **_more: Any) -> None:
        nonlocal worker
        worker = sender

    worker: Any = None
    connect(signals.celeryd_after_setup, add_queue)
    connect(signals.worker_ready, keep)
    note.delay()
    assert Worker(app, WorkerOptions(pool="solo")).run() == 0
    assert done == ["extra"]
    assert worker.app is app


def test_what_a_receiver_of_import_modules_raises_stops_the_start(app: Celeriac, connect: Any) -> None:
    def fails(**_more: Any) -> None:
        raise LookupError("no such module")

    connect(signals.import_modules, fails)
    with pytest.raises(LookupError, match="no such module"):
        app.load_tasks()


def test_a_receiver_of_import_modules_may_name_modules_and_import_them(app: Celeriac, connect: Any) -> None:
    def more(sender: Celeriac, **_more: Any) -> None:
        sender.autodiscover_tasks(["celeriac.states"], related_name=None, force=True)

    connect(signals.import_modules, more)
    assert app.load_tasks() == ["celeriac.states"]


def test_slow_receivers_are_told(
    connect: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.worker.telling._PATIENCE", -1.0)
    with caplog.at_level(logging.WARNING):
        tell(signals.worker_ready, None)
        assert not caplog.records
        connect(signals.worker_ready, lambda **_more: None)
        tell(signals.worker_ready, None)
    assert re.search(r"The receivers of worker_ready took \d+\.\d s", caplog.text)
