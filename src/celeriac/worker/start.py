"""Start a worker: what the command line calls, and what the first signals about it are told of."""

from msgspec import structs

from celeriac import signals
from celeriac.app import Celeriac
from celeriac.errors import ImproperlyConfigured
from celeriac.worker.companions import Work, beside
from celeriac.worker.options import WorkerOptions
from celeriac.worker.solo import SoloWorker
from celeriac.worker.supervisor import Supervisor


class Worker:
    """A worker that is about to start: `app`, `hostname`, and the `options` that it will have.

    The app's tasks must have been loaded: their modules connect the receivers. Those of `celeryd_init` may still
    change settings, those of `celeryd_after_setup` the options.
    """

    def __init__(self, app: Celeriac, options: WorkerOptions) -> None:
        self.app = app
        #: Its name, by which receivers tell workers apart.
        self.hostname = options.resolve(app.conf).hostname
        signals.celeryd_init.send(
            self.hostname, instance=self, conf=app.conf, options=structs.asdict(options)
        )
        self.options = options.resolve(app.conf)
        #: What is to run beside the tasks, by name.
        self.companions: dict[str, Work] = {}
        signals.worker_init.send(self)

    def run(self) -> int:
        """Run until told to stop; return the exit status.

        Raises ImproperlyConfigured for a pool that cannot work with this broker.
        """
        app = self.app
        signals.celeryd_after_setup.send(self.hostname, instance=self, conf=app.conf)
        options = self.options
        concurrency = options.concurrency or 1
        if options.pool == "solo":
            worker = SoloWorker(app, options)
            worker.stop_on_signals()
            with beside(self.companions):
                return worker.run()
        if not app.broker.shared:
            raise ImproperlyConfigured(
                f"The broker {app.broker.safe_url} is in this process's memory, where no other process can reach it: "
                "use --pool solo, or another broker_url."
            )
        if options.autoscale:
            concurrency = options.autoscale[1]
        processes, threads = (1, concurrency) if options.pool == "threads" else (concurrency, 1)
        return Supervisor(app, options, processes, threads, self.companions).run()
