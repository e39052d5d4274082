"""A worker treats its tasks as Django treats requests: language and time zone do not leak from one to the next."""

import threading
from pathlib import Path

from django.utils import timezone, translation

from celeriac import Celeriac
from celeriac.brokers.memory import MemoryBroker
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker


def test_what_a_task_activates_ends_with_it(tmp_path: Path) -> None:
    app = Celeriac(
        "around", broker="memory://around", backend="memory://around", worker_state_dir=str(tmp_path)
    )

    @app.task(name="around.speak")
    def speak(language: str | None, zone: str | None) -> list[str]:
        found = [translation.get_language() or "", timezone.get_current_timezone_name()]
        if language is not None and zone is not None:
            translation.activate(language)
            timezone.activate(zone)
        return found

    worker = SoloWorker(app, WorkerOptions().resolve(app.conf))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        before = speak.delay("fr", "Asia/Tokyo").get(timeout=60)
        assert speak.delay(None, None).get(timeout=60) == before
        assert before[0] != "fr"
    finally:
        worker.stop()
        thread.join(60)
    assert not thread.is_alive()
    assert len(app.hooks.before_task) == 1
    broker = app.broker
    assert isinstance(broker, MemoryBroker)
    broker.clear()
    app.close()
