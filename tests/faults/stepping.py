"""Plays parts of a worker's life, and dies at the n-th step that it takes at the broker. `test_steps` drives it.

A step is a write on its way to the broker or back: before it is sent, when it is sent and nobody has read the answer,
and when it is answered. On Redis that is a write of one or more commands, on a database a statement, within a
transaction too; what only reads changes nothing, and is no step. Nothing in Celeriac knows of this: the driver is
wrapped here, in a process forked for each part. Takes orders on standard input, a JSON object a line, and ends with it.
"""

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django
from django.conf import settings

DIED = 66


class Steps:
    """Counts, and ends the process at step `at`, with a line in `note`. Off until somebody turns it on."""

    def __init__(self) -> None:
        self.on = False
        self.at = self.count = self.forks = 0
        self.note = ""

    def __call__(self, what: str) -> None:
        if not self.on:
            return
        self.count += 1
        if self.count == self.at:
            self.on = False
            Path(self.note).write_text(f"{time.monotonic()} {os.getpid()} {what}")
            if self.at % 2:
                os._exit(DIED)
            os.kill(os.getpid(), signal.SIGKILL)


step = Steps()


def writes(statement: Any) -> bool:
    """Whether a statement changes anything."""
    text = statement if isinstance(statement, str) else bytes(statement).decode()
    return not text.lstrip().upper().startswith(("SELECT", "PRAGMA", "SET", "LISTEN", "UNLISTEN"))


class SteppingConnection(sqlite3.Connection):
    """A connection to SQLite, in whose process the server is: what is sent is answered."""

    def execute(self, statement: str, *args: Any) -> Any:
        if not writes(statement):
            return super().execute(statement, *args)
        step(f"before {statement[:60]}")
        found = super().execute(statement, *args)
        step(f"after {statement[:60]}")
        return found

    def executemany(self, statement: str, *args: Any) -> Any:
        step(f"before {statement[:60]}")
        found = super().executemany(statement, *args)
        step(f"after {statement[:60]}")
        return found


def wrap_sqlite() -> None:
    """Have Django open such connections."""
    settings.DATABASES["default"]["OPTIONS"]["factory"] = SteppingConnection


def wrap_postgres() -> None:
    """Step where psycopg sends a statement and where it has the answer."""
    import psycopg

    def sending(name: str) -> None:
        send = getattr(psycopg.Cursor, name)

        def stepping(self: Any, *args: Any, **kwargs: Any) -> None:
            send(self, *args, **kwargs)
            if statement := getattr(under_way, "statement", ""):
                self._pgconn.flush()
                step(f"sent {statement}")

        setattr(psycopg.Cursor, name, stepping)

    execute = psycopg.Cursor.execute
    under_way = threading.local()

    def stepping_execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(query, str | bytes) or not writes(query):
            return execute(self, query, *args, **kwargs)
        under_way.statement = query[:60]
        try:
            step(f"before {under_way.statement}")
            found = execute(self, query, *args, **kwargs)
            step(f"answered {under_way.statement}")
        finally:
            under_way.statement = ""
        return found

    for name in ("_execute_send", "_send_query_prepared"):
        sending(name)
    psycopg.Cursor.execute = stepping_execute  # type: ignore[method-assign]


def wrap_redis() -> None:
    """Step around what goes over the wire."""
    from celeriac.redis_client.connection import Connection

    send, receive = Connection._send, Connection._receive

    def stepping_send(self: Any, sock: Any, data: bytes) -> None:
        step(f"before {data[:100]!r}")
        send(self, sock, data)
        step(f"sent {data[:100]!r}")

    def stepping_receive(self: Any, *args: Any) -> Any:
        answers = receive(self, *args)
        step("answered")
        return answers

    Connection._send, Connection._receive = stepping_send, stepping_receive  # type: ignore[method-assign]


# -- the parts


def work() -> int:
    """Be a worker with one child, until told to stop."""
    from celeriac.worker.caretaker import Caretaker
    from celeriac.worker.options import WorkerOptions
    from celeriac.worker.start import Worker

    began = Caretaker.__init__

    def hasty(self: Any, *args: Any, **kwargs: Any) -> None:
        began(self, *args, **kwargs)
        self._reap_from = 0.0  # it need not wait half a lease until it takes over from others

    Caretaker.__init__ = hasty  # type: ignore[method-assign]
    return Worker(app, WorkerOptions(concurrency=1)).run()


def supervise() -> int:
    """The same, and it is the supervisor that dies."""
    os.register_at_fork(after_in_child=lambda: setattr(step, "on", False))
    step.on = True
    return work()


def serve() -> int:
    """The same, and it is the first child that dies."""

    def count() -> None:
        step.forks += 1

    os.register_at_fork(before=count, after_in_child=lambda: setattr(step, "on", step.forks == 1))
    return work()


def abandon() -> int:
    """Leave what a machine that is gone leaves: two messages held under a lease that has run out, and a dead letter."""
    from celeriac.broker import Action, Settlement
    from celeriac.execute import unknown_task

    broker = app.broker
    broker.register("gone/1", 30.0, ["celery"])
    deliveries = broker.claim("gone/1", ["celery"], 3, 1)
    assert len(deliveries) == 3, deliveries
    reason = unknown_task("jobs.tasks.work")
    dead = next(each for each in deliveries if b"unknown" in each.payload)
    assert not broker.settle("gone/1", [Settlement(dead.tag, Action.DEAD, reason=reason)])
    assert not broker.renew(["gone/1"], 0.001)
    broker.close()
    return 0


def send() -> int:
    """Send in all ways, dying somewhere; each line that `sent` has names what was accepted, after it was."""
    from django.db import transaction

    prefix = f"s{step.at}"
    task, sent = (
        app.tasks["jobs.tasks.work"],
        os.open(step.note + ".sent", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    )

    def say(event: str, *names: str) -> None:
        os.write(sent, "".join(f"{event} {prefix}-{name}\n" for name in names).encode())

    def keep(name: str) -> None:
        task.apply_async((f"{prefix}-{name}",), countdown=0.5 if name.endswith("later") else None)

    step.on = True
    for block, names in (
        (None, ["alone"]),
        (app.batch, ["batch-0", "batch-1", "batch-later"]),
        (transaction.atomic, ["atomic-0", "atomic-later"]),
    ):
        say("begun", *names)
        if block is None:
            keep(names[0])
        else:
            with block():
                for name in names:
                    keep(name)
        say("accepted", *names)
    return 0


PARTS: dict[str, Callable[[], int]] = {f.__name__: f for f in (work, supervise, serve, abandon, send)}


def play(part: str, at: int, note: str, log: str) -> int:
    """Fork, and play it there; return the process, which is the first of a group of its own."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(file, number)
        step.at, step.note = at, note
        status = PARTS[part]()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Do as told."""
    statuses: dict[int, int] = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "play":
            answer: Any = play(asked["part"], asked["at"], asked["note"], asked["log"])
        else:
            pid = asked["pid"]
            if pid not in statuses and (found := os.waitpid(pid, os.WNOHANG))[0]:
                statuses[pid] = os.waitstatus_to_exitcode(found[1])
            answer = statuses.get(pid)
        print(json.dumps({"answer": answer}), flush=True)


if __name__ == "__main__":
    vendor = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    if getattr(settings, "CELERY_BROKER_URL", ""):
        wrap_redis()
    elif vendor == "sqlite3":
        wrap_sqlite()
    django.setup()
    if vendor == "postgresql":
        wrap_postgres()
    import logging

    from celeriac import registry

    logging.basicConfig(level="INFO")
    app = registry.current_app()
    app.load_tasks()
    main()
