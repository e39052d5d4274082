"""`manage.py demo`: a thousand orders, all their background work, and an account of it. `make demo` runs it.

It gets the shop ready, starts a worker, lets the made-up customers sign up, order and upload through the shop's own
services, waits until every task has ended and checks that nothing is missing. The exit status is 0 only then.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.urls import reverse
from django.utils import timezone

from celeriac.errors import BrokerDown
from celeriac.schemes import mask
from celeriac.unread import IN_DEV
from store.demo import account, ground
from store.demo.crowd import Crowd
from store.demo.interrupts import Interrupts
from store.demo.screen import Bar, Screen, near
from store.demo.worker import REPORT_EVERY, Worker
from store.models import DayReport

LOOK_EVERY = 0.2  # seconds between two looks at the results
SITE = "http://127.0.0.1:8000"


class Stuck(Exception):
    """The work does not go on. The text says why."""


class Command(BaseCommand):
    help = "Place orders, let a worker do what follows from them, and account for every task."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--orders", type=int, default=1000, help="how many orders to place (default 1000)"
        )
        parser.add_argument(
            "--patience",
            type=float,
            default=60,
            help="seconds without a finished task after which to give up",
        )

    def handle(self, *args: Any, orders: int, patience: float, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _interrupt)
        os.environ[IN_DEV] = "1"  # that no worker is there yet need not be told: it is being started
        screen = Screen()
        worker = Worker(settings.BASE_DIR / "manage.py", settings.VAR / "worker.log")
        self._began = timezone.now()
        try:
            crowd = self._work(screen, worker, max(1, orders), patience)
        except KeyboardInterrupt:
            screen.trouble("Stopped. The worker has ended; what it had not begun waits for the next one.")
            sys.exit(130)
        except BrokerDown as down:
            screen.trouble(str(down))
            sys.exit(1)
        except Stuck as stuck:
            screen.trouble(f"{stuck} The end of {near(worker.log)}:", worker.last_lines())
            sys.exit(1)
        sys.exit(0 if self._report(screen, crowd) else 1)

    def _work(self, screen: Screen, worker: Worker, orders: int, patience: float) -> Crowd:
        """Do it all; returns when every task has ended and the worker with them."""
        ground.prepare()
        crowd, watch = Crowd(orders), account.Watch()
        with Interrupts() as interrupts, worker:

            def see_to() -> None:
                interrupts.check()
                if worker.exit_status is not None:
                    raise Stuck(f"The worker ended with status {worker.exit_status}.")

            screen.heading(f"The Celeriac Shop: {orders:,} orders", self._setting(worker))
            with screen.bar(crowd.steps) as bar:
                _place(crowd, watch, bar, see_to)
                _wait(crowd, watch, bar, see_to, patience)
            _wait_for_schedule(self._began, see_to, patience)
        return crowd

    def _setting(self, worker: Worker) -> dict[str, str]:
        url = mask(getattr(settings, "CELERY_BROKER_URL", ""))
        database = Path(settings.DATABASES["default"]["NAME"])
        return {
            "queue": url or f"{near(database)} [soft](SQLite; no server needed)[/]",
            "results": near(database),
            "worker": f"process {worker.pid}, log in {near(worker.log)}",
            "schedule": f"a report of the day's orders, every {REPORT_EVERY} s",
        }

    def _report(self, screen: Screen, crowd: Crowd) -> bool:
        results = account.results_of(crowd)
        tally, checks = account.tally(results), account.checks(crowd, results, self._began)
        screen.tally(tally)
        screen.title("Failed for good")
        screen.failures(tally)
        screen.title("Accounted for")
        screen.checks(checks)
        screen.title("What came of it")
        media = Path(settings.MEDIA_ROOT)
        screen.facts(
            {
                "mails": near(settings.MAILS),
                "labels": near(media / "labels"),
                "images": ", ".join(near(media / folder) for folder in ("portraits", "thumbnails", "sizes")),
                "report": _report_in_words(),
            }
        )
        screen.title("What next")
        tasks = reverse("admin:celeriac_taskresult_changelist")
        screen.facts(
            {
                "make dev": f"the shop at {SITE}/ with a worker, in one terminal; "
                "or here: python manage.py celeriac dev",
                "admin": f"{SITE}{tasks}  user {ground.ADMIN}, password {ground.PASSWORD}",
                "failed": f"{SITE}{tasks}?state=FAILURE",
            }
        )
        screen.line("")
        return all(check.ok for check in checks)


def _place(crowd: Crowd, watch: account.Watch, bar: Bar, see_to: Callable[[], None]) -> None:
    """Everybody does what they came for, while the worker is at it already."""
    looked = 0.0
    for step, task_ids in enumerate(crowd.act(), start=1):
        watch.add(task_ids)
        see_to()
        if time.monotonic() - looked > LOOK_EVERY or step == crowd.steps:
            watch.look()
            looked = time.monotonic()
            bar.show(step, watch.ended, watch.asked)


def _wait(crowd: Crowd, watch: account.Watch, bar: Bar, see_to: Callable[[], None], patience: float) -> None:
    """Until the last task has ended; raises Stuck when none does for too long."""
    best, since = -1, time.monotonic()
    while left := watch.look():
        bar.show(crowd.steps, watch.ended, watch.asked)
        if watch.ended > best:
            best, since = watch.ended, time.monotonic()
        if time.monotonic() - since > patience:
            raise Stuck(f"No task has ended for {patience:.0f} s, and {left:,} are open.")
        see_to()
        time.sleep(LOOK_EVERY)
    bar.show(crowd.steps, watch.ended, watch.asked)


def _wait_for_schedule(began: datetime, see_to: Callable[[], None], patience: float) -> None:
    """Until the schedule has fired once more after the last order; its account says what became of it."""
    until = time.monotonic() + patience
    while not account.schedule(began).ok and time.monotonic() < until:
        see_to()
        time.sleep(LOOK_EVERY)


def _report_in_words() -> str:
    report = DayReport.objects.first()
    return f"{report.day}: {report.orders:,} orders, {report.turnover:,.2f} EUR" if report else "none"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
