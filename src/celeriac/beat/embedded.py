"""Beat as a process of a worker: `worker --beat`."""

import threading
from collections.abc import Callable

from celeriac import signals
from celeriac.app import Celeriac
from celeriac.beat.engine import Beat
from celeriac.beat.entries import read
from celeriac.beat.timetable import source_of
from celeriac.waker import Waker


def embedded(app: Celeriac, hostname: str) -> Callable[[Waker], None] | None:
    """Return what a worker's process has to do to be a beat, until its waker is poked; None where nothing is scheduled.

    Where people edit the schedule there may be something at any time.

    Raises ImproperlyConfigured at once for a schedule that cannot be read.
    """
    if not read(app) and source_of(app) is None:
        return None

    def work(stop: Waker) -> None:
        beat = Beat(app, hostname)
        signals.beat_embedded_init.send(beat)

        def wait() -> None:
            stop.wait(None)
            beat.stop()

        threading.Thread(target=wait, name="celeriac-beat-stop", daemon=True).start()
        beat.run()

    return work
