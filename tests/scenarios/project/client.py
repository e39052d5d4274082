"""The project's web process, played by a script: does what the test asks for, a JSON object a line each way.

Ends when its standard input does.
"""

import json
import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

from django.db import connections
from django.utils import timezone

from celeriac import registry
from celeriac.broker import Publication
from celeriac.django.models import Schedule
from celeriac.errors import CeleriacError

app = registry.current_app()
app.load_tasks()


def told(error: CeleriacError) -> dict[str, Any]:
    """What an error says, for the test."""
    return {
        "type": type(error).__name__,
        "code": error.code,
        "text": str(error),
        "maybe": getattr(error, "maybe_queued", False),
    }


class Stream(threading.Thread):
    """Sends `task(key, *args)` for one key after another, with pauses, and notes what `delay` said of each."""

    def __init__(self, task: str, keys: list[Any], args: list[Any], pause: float) -> None:
        super().__init__(daemon=True)
        self.task, self.keys, self.args, self.pause = app.tasks[task], keys, args, pause
        self.accepted: list[Any] = []
        self.maybe: list[Any] = []
        self.refused: list[Any] = []
        self.longest = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        for key in self.keys:
            start = time.monotonic()
            try:
                self.task.delay(key, *self.args)
                self.accepted.append(key)
            except CeleriacError as error:
                (self.maybe if getattr(error, "maybe_queued", False) else self.refused).append(key)
            self.longest = max(self.longest, time.monotonic() - start)
            if self.stopped.wait(self.pause):
                break
        connections.close_all()


stream: Stream | None = None


def send(task: str, calls: list[list[Any]], options: dict[str, Any]) -> list[str]:
    """Send one task many times in one batch; return the ids."""
    with app.batch():
        return [app.tasks[task].apply_async(args, **options).id for args in calls]


def send_mixed(calls: list[list[Any]]) -> list[str]:
    """Send calls of several tasks in one batch; return the ids."""
    with app.batch():
        return [app.tasks[task].apply_async(args).id for task, args in calls]


def delay(task: str, args: list[Any]) -> dict[str, Any]:
    """Call `delay`; return the id or the error, and how long it took."""
    start = time.monotonic()
    try:
        answer: dict[str, Any] = {"id": app.tasks[task].delay(*args).id}
    except CeleriacError as error:
        answer = {"error": told(error)}
    return answer | {"seconds": time.monotonic() - start}


def put(payloads: list[str]) -> None:
    """Publish raw messages, given as hexadecimal digits."""
    app.broker.publish([Publication("x", "t", "celery", bytes.fromhex(payload)) for payload in payloads], 60)


def put_large(size: int) -> None:
    """Publish a raw message of so many bytes."""
    app.broker.publish([Publication("x", "t", "celery", b"{" * size)], 60)


def begin(task: str, keys: list[Any], args: list[Any], pause: float) -> None:
    """Begin to send in the background."""
    global stream
    stream = Stream(task, keys, args, pause)
    stream.start()


def finish(stop: bool) -> dict[str, Any]:
    """Wait until all is sent (or stop) and return what was accepted, refused and neither."""
    assert stream is not None
    if stop:
        stream.stopped.set()
    stream.join()
    return {
        "accepted": stream.accepted,
        "maybe": stream.maybe,
        "refused": stream.refused,
        "longest": stream.longest,
    }


def so_far() -> dict[str, int]:
    """Return how many calls of the background's have been accepted, refused and neither."""
    assert stream is not None
    return {name: len(getattr(stream, name)) for name in ("accepted", "maybe", "refused")}


def depths() -> dict[str, int]:
    """Return how many messages are ready, scheduled and in flight, in all queues."""
    total = {"ready": 0, "scheduled": 0, "in_flight": 0}
    for depth in app.broker.depths().values():
        for name in total:
            total[name] += getattr(depth, name)
    return total


def dead_letters() -> list[dict[str, Any]]:
    """Return all dead letters."""
    return [
        {"reason": letter.reason, "payload": letter.payload.hex()} for letter in app.broker.dead_letters(1000)
    ]


def dead_letter_sizes() -> list[dict[str, Any]]:
    """Return all dead letters, and of their messages the sizes."""
    return [
        {"reason": letter.reason, "size": len(letter.payload)} for letter in app.broker.dead_letters(1000)
    ]


def records(ids: list[str]) -> list[dict[str, Any] | None]:
    """Return what the result store knows of each."""
    found = app.store.fetch(ids)
    return [
        None
        if task_id not in found
        else {
            "state": found[task_id].state,
            "result": found[task_id].result.decode(),
            "traceback": found[task_id].traceback,
            "losses": found[task_id].losses,
            "retries": found[task_id].retries,
        }
        for task_id in ids
    ]


def enqueue(task: str, args: list[Any], using: dict[str, Any]) -> str:
    """Enqueue one of Django's own tasks, due in `seconds` if `using` says so; return its id."""
    from jobs import letters

    if "seconds" in using:
        using["run_after"] = timezone.now() + timedelta(seconds=using.pop("seconds"))
    return str(getattr(letters, task).using(**using).enqueue(*args).id)


def task_result(task_id: str) -> dict[str, Any]:
    """Return what Django's own tasks know of a call."""
    from celeriac.django.tasks_backend.api import task_backends

    found = task_backends["default"].get_result(task_id)
    times = {name: getattr(found, name) for name in ("started_at", "finished_at")}
    times["run_after"] = found.task.run_after
    return {
        "status": found.status,
        "value": found.return_value if found.status == "SUCCESSFUL" else None,
        "errors": [error.exception_class_path for error in found.errors],
        "workers": found.worker_ids,
        **{name: each and each.isoformat() for name, each in times.items()},
    }


def control(method: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Call a method of `app.control`."""
    getattr(app.control, method)(*args, **kwargs)


def fired(entries: list[str]) -> dict[str, list[float]]:
    """Return slot and count of entries of the schedule."""
    return {name: [each.slot, each.count] for name, each in app.broker.fired(entries).items()}


def schedule(name: str, fields: dict[str, Any]) -> None:
    """Have an entry in the database's schedule, with these fields; without any, none."""
    rows = Schedule.objects.filter(name=name)
    if not fields:
        rows.delete()
    elif not rows.update(**fields):
        Schedule.objects.create(name=name, **fields)


def kept(name: str) -> dict[str, Any]:
    """Return what is written down about the runs of an entry."""
    row = Schedule.objects.get(name=name)
    last = row.last_run_at and row.last_run_at.timestamp()
    return {"runs": row.total_run_count, "last": last, "enabled": row.enabled}


def command(payload: str) -> None:
    """Tell the workers something that may be anything."""
    app.broker.command(bytes.fromhex(payload))


OPERATIONS = {
    f.__name__: f
    for f in (
        send,
        send_mixed,
        delay,
        put,
        put_large,
        begin,
        finish,
        so_far,
        depths,
        dead_letters,
        dead_letter_sizes,
        records,
        enqueue,
        task_result,
        control,
        command,
        fired,
        schedule,
        kept,
    )
}

print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = {"answer": OPERATIONS[asked["do"]](**asked["with"])}
    except CeleriacError as error:
        answer = {"error": told(error)}
    print(json.dumps(answer), flush=True)
