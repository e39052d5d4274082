"""Eager mode, asked of Celery and of us: both agree, but for DIFFERENCES, which docs/how-to/from-celery.md tells."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("celery")

PROGRAM = """
import datetime, importlib, json, sys

library = __import__(sys.argv[1])
errors = importlib.import_module(sys.argv[2])
app = library.Celery("x", broker="memory://", backend="cache+memory://")
app.conf.task_always_eager = True
log, told = [], {}


class Mine(Exception):
    pass


@app.task(name="echo", bind=True)
def echo(self, *args):
    request = self.request
    log.append([request.is_eager, request.called_directly, request.retries, list(args)])
    return list(args)


@app.task(name="retries", bind=True, max_retries=2, default_retry_delay=99)
def retries(self):
    log.append(self.request.retries)
    raise self.retry(exc=Mine("m"))


@app.task(name="exhausted", bind=True, max_retries=1)
def exhausted(self):
    raise self.retry()


@app.task(name="automatic", bind=True, autoretry_for=(Mine,), max_retries=2)
def automatic(self):
    log.append(self.request.retries)
    raise Mine("c")


@app.task(name="third", bind=True, max_retries=3)
def third(self):
    if self.request.retries < 2:
        raise self.retry(countdown=50)
    return self.request.retries


@app.task(name="ignored")
def ignored():
    raise errors.Ignore()


@app.task(name="rejected")
def rejected():
    raise errors.Reject("no")


@app.task(name="waits")
def waits():
    return echo.delay(1).get()


@app.task(name="pair")
def pair():
    return (1, 2)


def kind(error):
    return "RuntimeError" if isinstance(error, RuntimeError) else type(error).__name__


def note(name, call):
    log.clear()
    try:
        result = call()
    except Exception as error:
        told[name] = ["raised", kind(error), list(log)]
        return
    try:
        value = repr(result.get())
    except Exception as error:
        value = "raises " + kind(error)
    told[name] = [type(result).__name__, result.state, value, result.ready(), result.successful(), result.failed(),
                  list(log)]


past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
note("value", lambda: echo.delay(1, (2, 3)))
note("options", lambda: echo.apply_async((1,), expires=past, countdown=100, queue="other", task_id="77"))
note("retried before", lambda: retries.apply(retries=2))
note("unencodable", lambda: echo.delay(object()))
note("no throw", lambda: exhausted.apply(throw=False))
for propagates in (False, True):
    app.conf.task_eager_propagates = propagates
    for task in (retries, exhausted, automatic, third, ignored, rejected, waits, pair):
        note(task.name + (" propagated" if propagates else ""), task.delay)
result = echo.delay(1)
result.forget()
told["forgotten"] = [result.state, str(result) == result.id == result.task_id, result.status]
print(json.dumps(told))
"""

#: What differs, and why: with Celery's eager mode a retry reaches the caller, and no serializer sees the value.
DIFFERENCES = {
    "pair": ("(1, 2)", "[1, 2]"),
    "pair propagated": ("(1, 2)", "[1, 2]"),
    "retries propagated": ("Retry", "Mine"),
    "exhausted propagated": ("Retry", "MaxRetriesExceededError"),
    "automatic propagated": ("Retry", "Mine"),
    "third propagated": ("Retry", "SUCCESS"),
}


def ask(library: str, errors: str) -> dict[str, Any]:
    words = [sys.executable, "-c", PROGRAM, library, errors]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_eager_mode_is_celerys() -> None:
    theirs, ours = ask("celery", "celery.exceptions"), ask("celeriac", "celeriac.errors")
    for name, (their_word, our_word) in DIFFERENCES.items():
        assert their_word in theirs.pop(name) and our_word in ours.pop(name), name
    assert ours == theirs
