"""Start a worker: the one function that the command line calls."""

from celeriac.app import Celeriac
from celeriac.errors import ImproperlyConfigured
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker
from celeriac.worker.supervisor import Supervisor


def run_worker(app: Celeriac, options: WorkerOptions) -> int:
    """Run a worker until it is told to stop; return the exit status.

    The app's tasks must have been loaded. Raises ImproperlyConfigured for a pool that there is not.
    """
    options = options.resolve(app.conf)
    concurrency = options.concurrency or 1
    if options.pool == "solo":
        worker = SoloWorker(app, options)
        worker.stop_on_signals()
        return worker.run()
    if not app.broker.shared:
        raise ImproperlyConfigured(
            f"The broker {app.broker.safe_url} is in this process's memory, where no other process can reach it: "
            "use --pool solo, or another broker_url."
        )
    processes, threads = (1, concurrency) if options.pool == "threads" else (concurrency, 1)
    return Supervisor(app, options, processes, threads).run()
