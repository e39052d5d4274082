"""The line that each finished run leaves in the log, and what it is made of.

Called by the pool for every run that is told. The record carries its parts in `record.celeriac`, from which the
command line's formatter makes its line; the message itself is readable without it.
"""

import logging
import time
import traceback
from typing import Any

from celeriac import states
from celeriac.errors import NotRegistered
from celeriac.failure import safe_text
from celeriac.run import Outcome, Run

task_logger = logging.getLogger("celeriac.worker.task")

#: Parts of the paths of code that is not the project's own.
_LIBRARIES = ("/celeriac/", "/site-packages/", "/dist-packages/", "/lib/python")

_KINDS = {
    states.SUCCESS: ("succeeded", logging.INFO),
    states.FAILURE: ("failed", logging.ERROR),
    states.RETRY: ("retried", logging.WARNING),
    states.REVOKED: ("revoked", logging.WARNING),
    states.IGNORED: ("ignored", logging.INFO),
}


def report(run: Run, outcome: Outcome) -> None:
    """Log one line about a run: what, how it ended, how long it waited and ran."""
    headers = run.message.headers
    kind, level = _KINDS.get(outcome.state, ("ended", logging.INFO))
    error = outcome.error
    if outcome.dead is not None:
        kind = "dead"
    elif outcome.requeue:
        kind = "rejected"
    if error is not None and run.task is not None and run.task.throws and isinstance(error, run.task.throws):
        level = logging.INFO
    if not task_logger.isEnabledFor(level):
        return
    sent = run.message.properties.timestamp
    ran = outcome.finished - run.started
    due = outcome.retry.due if outcome.retry is not None else None
    facts: dict[str, Any] = {
        "kind": kind,
        "name": headers.shadow or headers.task,
        "args": _call_repr(headers.argsrepr, headers.kwargsrepr),
        "id": headers.id,
        "queue": run.queue,
        "ran": ran,
        "waited": max(0.0, run.started - sent) if sent is not None else None,
        "error": _told(outcome),
        "place": _place(error),
        "attempt": (headers.retries or 0) + 1,
        "of": run.task.max_retries + 1 if run.task is not None and run.task.max_retries is not None else None,
        "next_in": max(0.0, due - time.time()) if due is not None else None,
        "traceback": outcome.traceback if level >= logging.ERROR else None,
    }
    text = f"{facts['name']}[{headers.id}] {kind} in {ran:.3f} s"
    if facts["error"]:
        text += f": {facts['error']}"
    task_logger.log(
        level, "%s", text, extra={"celeriac": facts, "task_id": headers.id, "task_name": headers.task}
    )


def _told(outcome: Outcome) -> str:
    """Return why a run ended as it did."""
    error = outcome.error
    if isinstance(error, NotRegistered):
        return safe_text(error)  # which says more than the dead letter's reason
    return outcome.dead or (f"{type(error).__name__}: {safe_text(error)}" if error is not None else "")


def _call_repr(args: str | None, kwargs: str | None) -> str:
    inner = (args or "")[1:-1].rstrip(",")
    named = (kwargs or "{}")[1:-1]
    return ", ".join(part for part in (inner, named) if part)


def _place(error: BaseException | None) -> str:
    """File and line of the innermost frame of the project's own code."""
    if error is None or error.__traceback__ is None:
        return ""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(part in frame.filename for part in _LIBRARIES)
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
