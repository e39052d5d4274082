"""A project as it is after some days, to look at: tasks that ran, failed and wait, schedules, queues, dead letters.

Called with Django set up, by those who serve it or ask for its pages.
"""

import random
import time
import uuid
from datetime import UTC, datetime

from django.contrib.auth.models import User
from django.core.management import call_command

from celeriac import registry, states
from celeriac.broker import Action, Settlement
from celeriac.django.models import Schedule
from celeriac.django.schedule import Unit
from celeriac.store import Record

_ERROR = (
    b'{"exc_type": "ConnectionError", "exc_message": ["mail.example.com does not answer"], '
    b'"exc_module": "builtins"}'
)
_TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/store/tasks.py", line 41, in send_receipt
    mails.receipt(Order.objects.get(pk=order_id))
  File "/usr/lib/python3.13/smtplib.py", line 341, in connect
    self.sock = self._get_socket(host, port, self.timeout)
ConnectionError: mail.example.com does not answer
"""
_RUNS = 20


def set_up(*, fill_it: bool) -> None:
    """Make the tables and a superuser "boss", password "celeriac", and fill them if that is wanted."""
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("boss", "boss@example.com", "celeriac")
    if fill_it:
        fill()


def fill() -> None:
    """Fill the tables; the same each time but for the times."""
    app = registry.current_app()
    app.load_tasks()
    dice, now = random.Random(5), time.time()
    _schedules(dice, now)
    app.store.store(_results(dice, now))
    _messages()


def _record(
    dice: random.Random, task_id: str, name: str, sent: float, failed: bool, **more: object
) -> Record:
    took = dice.lognormvariate(-1, 1)
    fields = {
        "queue": "mails" if "receipt" in name else "celery", "worker": f"celery@web-{dice.randint(1, 2)}",
        "enqueued": sent, "started": sent + 0.02, "finished": sent + 0.02 + took,
        "result": _ERROR if failed else b"null", "traceback": _TRACEBACK if failed else None, **more,
    }  # fmt: skip
    return Record(task_id, states.FAILURE if failed else states.SUCCESS, name=name, **fields)


def _results(dice: random.Random, now: float) -> list[Record]:
    records = []
    for number in range(40):
        name = dice.choice(["shop.tasks.send_receipt", "shop.tasks.send_receipt", "shop.tasks.resize_image"])
        args = f"({4700 + number},)"
        more = (
            {"args": args, "kwargs": "{'fmt': 'pdf'}"}
            if "receipt" in name
            else {"args": f"('{args[1:5]}.jpg',)"}
        )
        failed = number in (21, 33, 38) and "receipt" in name
        records.append(
            _record(
                dice,
                str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
                name,
                now - 60 * (41 - number),
                failed,
                **more,
            )
        )
    running = Record("0" * 8, states.STARTED, name="shop.tasks.report", queue="slow", worker="celery@web-2")
    running.enqueued, running.started, running.args = now - 12, now - 11, "(datetime.date(2026, 11, 21),)"
    return [*records, running]


def _schedules(dice: random.Random, now: float) -> None:
    store = registry.current_app().store
    often = {"kind": "interval", "every": 5, "unit": Unit.MINUTES}
    rows = [
        Schedule(name="Report of the day", task="shop.tasks.report", kind="crontab", minute="30", hour="2",
                 timezone="Europe/Paris", kwargs={"day": "2026-11-21", "kind": "short"}),
        Schedule(name="Poll the warehouse", task="shop.tasks.poll", **often),
        Schedule(name="Tidy up", task="shop.tasks.tidy_up", kind="crontab", minute="0", hour="4", day_of_week="mon"),
        Schedule(name="Lights on", task="shop.tasks.lights", kind="solar", event="sunset", latitude=49,
                 longitude=2.4),
        Schedule(name="Black Friday", task="shop.tasks.discount", kind="clocked", enabled=False,
                 clocked_time="2027-11-26T00:00:00+00:00"),
    ]  # fmt: skip
    steps = {"Report of the day": 86400.0, "Poll the warehouse": 300.0, "Lights on": 86400.0}
    for row in rows:
        row.save()
        step = steps.get(row.name)
        if step is None:
            continue
        ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{row.name} {number}")) for number in range(_RUNS)]
        bad = {"Poll the warehouse": {5, 6, 14}, "Lights on": {18, 19}}.get(row.name, set())
        store.store([
            _record(dice, task_id, row.task, now - 60 - step * (_RUNS - 1 - number), number in bad)
            for number, task_id in enumerate(ids)
            if row.name != "Report of the day" or number > 7  # whose results were deleted by now
        ])  # fmt: skip
        last = datetime.fromtimestamp(now - 60, UTC)
        recent = "".join(f"{task_id}\n" for task_id in reversed(ids))
        Schedule.objects.filter(pk=row.pk).update(
            recent_runs=recent, last_run_at=last, last_slot=last, total_run_count=1234
        )


def _messages() -> None:
    app = registry.current_app()
    app.broker.register("lost@web-3/0", 3600, ["mails"])
    reasons = (
        "it was lost with its process 3 times",
        "no task of the name shop.tasks.send_reciept",
        "expired",
    )
    for number, reason in enumerate(reasons):
        app.send_task("blog.tasks.send", [4711 + number], queue="mails")
        (delivery,) = app.broker.claim("lost@web-3/0", ["mails"], 1, number + 1)
        app.broker.settle("lost@web-3/0", [Settlement(delivery.tag, Action.DEAD, reason=reason)])
    app.broker.unregister("lost@web-3/0")
    for queue, count in (("celery", 3), ("mails", 12), ("slow", 2)):
        for number in range(count):
            app.send_task("blog.tasks.send", [number], queue=queue, countdown=3600 if number == 0 else None)
    for name, queues in (
        ("web-1/0", ["celery", "mails"]),
        ("web-1/1", ["celery", "mails"]),
        ("web-2/0", ["celery"]),
    ):
        app.broker.register(f"celery@{name}", 86400, queues)
