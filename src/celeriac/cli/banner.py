"""The lines that a worker shows when it starts, and the facts they are made of.

`facts_of` is asked by the worker command; `dev` gets the same facts from its worker as JSON. Passwords in URLs are
hidden.
"""

import os
import textwrap
from typing import Any

from celeriac import __version__
from celeriac.app import Celeriac
from celeriac.cli.paint import Paint, terminal_width
from celeriac.schemes import mask
from celeriac.worker.options import WorkerOptions

Facts = dict[str, Any]
_TASK_LINES = 2


def facts_of(app: Celeriac, options: WorkerOptions) -> Facts:
    """Return what there is to tell about a worker that is about to start; `options` are resolved."""
    backend = app.conf.result_backend
    return {
        "hostname": options.hostname,
        "app": app.main or type(app).__name__,
        "broker": app.broker.safe_url or mask(app.conf.broker_url or ""),
        "results": mask(backend) if backend and app.store is not None else "",
        "pool": options.pool,
        "concurrency": options.concurrency,
        "autoscale": options.autoscale,
        "queues": list(options.queues),
        "tasks": task_names(app),
        "zone": os.environ.get("TZ", ""),
    }


def task_names(app: Celeriac) -> list[str]:
    """Return the names of the project's tasks, without Celery's built-in ones."""
    return sorted(name for name in app.tasks if not name.startswith(("celery.", "celeriac.")))


def lines(facts: Facts, paint: Paint, *, reload: str = "") -> list[str]:
    """Return the banner, twelve lines at most."""
    rows = [
        ("app", facts["app"]),
        ("broker", facts["broker"]),
        ("results", facts["results"] or paint("none: result_backend is not set", "dim")),
        ("pool", f"{facts['pool']}, {slots(facts)}"),
        ("queues", ", ".join(facts["queues"])),
        ("tasks", tasks_text(facts["tasks"])),
    ]
    if reload:
        rows.append(("reload", reload))
    head = (
        f"{paint('celeriac', 'green', 'bold')} {__version__}   {paint('worker ' + facts['hostname'], 'dim')}"
    )
    foot = paint("Ctrl-C stops when running tasks are done; twice stops at once", "dim")
    return [head, *(line for row in rows for line in table_row(*row, paint)), foot]


def table_row(name: str, value: str, paint: Paint) -> list[str]:
    """Return a name and its value, whose further lines are indented below the first."""
    first, *more = value.split("\n")
    return [f"  {paint(f'{name:<9}', 'dim')} {first}", *(f"  {'':<9} {line}" for line in more)]


def slots(facts: Facts) -> str:
    """Return how much runs at a time, in words."""
    count = facts["concurrency"]
    if facts.get("autoscale"):
        most, least = facts["autoscale"]
        return f"{least} to {most} processes"
    if facts["pool"] == "solo":
        return "one task at a time"
    unit = "thread" if facts["pool"] == "threads" else "process"
    plural = "" if count == 1 else "es" if unit == "process" else "s"
    return f"{count} {unit}{plural}"


def tasks_text(names: list[str]) -> str:
    """Return how many tasks there are, and as many of their names as fit on two lines."""
    width = max(40, min(terminal_width(), 120) - 14)
    wrapped = textwrap.wrap(", ".join(names), width, break_long_words=False, break_on_hyphens=False)
    text = wrapped[:_TASK_LINES]
    if len(wrapped) > _TASK_LINES:
        shown = ", ".join(" ".join(text).rstrip(",").split(", ")[:-1])
        rest = len(names) - len(shown.split(", "))
        text = textwrap.wrap(
            f"{shown} and {rest} more", width, break_long_words=False, break_on_hyphens=False
        )
    return f"{len(names)}: " + "\n".join(text)
