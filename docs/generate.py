"""Writes the generated parts of the reference pages: `python docs/generate.py`. With --check it only looks.

A part lies between `<!-- generated: NAME -->` and `<!-- end -->`; what stands around it is written by hand. All of it
comes from the code: the settings, the options, the errors and their chapters, the command line, the docstrings.
`tests/docs/test_reference.py` fails where a page is not up to date.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import faces
import msgspec
from pieces import code, default_of, plain_type, range_of, table

from celeriac import brokers, config, errors, options, stores
from celeriac.cli.codes import CODES
from celeriac.cli.from_celery import imports, told
from celeriac.cli.from_celery import names as celerys
from celeriac.django.checks.declared import FINDINGS

DOCS = Path(__file__).resolve().parent
_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

#: What there is to say about each option of a task.
TASK_HELP = {
    "name": "The name on the wire. Unset: module and function, `shop.tasks.add`.",
    "bind": "Pass the task itself as first argument, `self`.",
    "base": "A subclass of `celeriac.Task` whose instance the task is.",
    "typing": "Check arguments against the function when the task is sent.",
    "max_retries": "How often it may be retried; `None`: without limit.",
    "default_retry_delay": "Seconds before a retry that names no time.",
    "autoretry_for": "Exceptions after which it is retried by itself.",
    "dont_autoretry_for": "Exceptions that are left out of `autoretry_for`.",
    "retry_kwargs": "Arguments of `retry()` for automatic retries: `max_retries`, `countdown`, `eta`.",
    "retry_backoff": "Wait twice as long before each automatic retry: 1 s first, or as many as it says.",
    "retry_backoff_max": "The longest wait of a backoff, in seconds.",
    "retry_jitter": "Wait a random time up to what the backoff says.",
    "throws": "Exceptions that are expected: logged at INFO, without a traceback.",
    "ignore_result": "Store no result.",
    "store_errors_even_if_ignored": "Store failures all the same.",
    "track_started": "Store the state STARTED when it begins.",
    "acks_late": "`False`: at most once. See [Guarantees](../guarantees.md#at-most-once).",
    "reject_on_worker_lost": "`False`: a task whose process died has failed. Else it runs again, `task_max_deliveries` "
    "times at most.",
    "retry_on_worker_lost": "Retry it when its process has died: after `default_retry_delay`, `max_retries` times.",
    "acks_on_failure": "`False`: when it fails, its message becomes a dead letter.",
    "acks_on_timeout": "`False`: over its hard time limit it goes back to its queue, `task_max_deliveries` "
    "times at most.",
    "acks_on_failure_or_timeout": "What holds for these two where they are unset.",
    "time_limit": "Seconds until its process is ended. See [Limit how long a task may run](../how-to/time-limits.md).",
    "soft_time_limit": "Seconds until `SoftTimeLimitExceeded` is raised in it.",
    "expires": "Do not start it later than so many seconds after it was sent, or than a time.",
    "priority": "0 to 9, higher runs first.",
    "queue": "The queue that it is sent to: its name, or an object with a `name`, such as `kombu.Queue`.",
    "exchange": "With `routing_key`: the queue of `task_queues` that they lead to. Looked at where no queue is named.",
    "routing_key": "See `exchange`.",
    "serializer": "How its arguments are written: `json`, or another that `accept_content` names.",
    "compression": 'How its arguments are compressed: `gzip`, `bzip2`, `lzma`, `zstd`, `brotli`; `""`: not at all.',
    "store_eager_result": "Store the result of an eager run too.",
    "pydantic": "Validate arguments that are annotated as pydantic's models before the function, and dump models that "
    "are passed or returned.",
    "pydantic_strict": "Validate in pydantic's strict mode.",
    "pydantic_context": "What validators get as `info.context`, besides `celery_app` and `celery_task_name`.",
    "pydantic_dump_kwargs": 'Options of `model_dump`, besides `mode="json"`.',
    "sensitive": "Arguments that are not shown in results, logs and the admin: names, True for all, [] for none. "
    "By default those whose names say that they are secrets.",
    "trail": "Whether the tasks that a run sends are kept as `children` of its result, up to 1,000.",
}

#: What there is to say about each option of a call.
CALL_HELP = {
    "countdown": "Run it so many seconds from now.",
    "eta": "Run it at this time: a datetime, or ISO 8601 text. Without a zone: in `timezone`.",
    "expires": "Do not start it later than so many seconds from now, or than a time.",
    "queue": "The queue, whatever the task or a route says: its name, or an object with a `name`.",
    "exchange": "With `routing_key`: the queue of `task_queues` that they lead to. Looked at where no queue is named.",
    "routing_key": "See `exchange`.",
    "priority": "0 to 9, higher runs first.",
    "task_id": "Its id. Unset: a new UUID of version 7.",
    "headers": "Headers of your own, a dict: `self.request.headers` in the task.",
    "ignore_result": "Store no result of this call.",
    "serializer": "How the arguments are written.",
    "compression": 'How the arguments are compressed; `""`: not at all.',
    "shadow": "A name to show in logs instead of the task's.",
    "time_limit": "Seconds until the process that runs it is ended.",
    "soft_time_limit": "Seconds until `SoftTimeLimitExceeded` is raised in it.",
    "retry": "Accepted, without effect: how long sending is tried is said by `task_publish_timeout`.",
    "retry_policy": "Accepted, without effect, as `retry`.",
    "exchange_type": "Accepted, without effect: queues are declared in `task_queues`.",
    "delivery_mode": "Accepted, without effect: messages are always kept.",
    "add_to_parent": "False: not one of the `children` of the task that sends it.",
    "root_id": "Id of the first task of the workflow, for who looks at results; its own, or that of the running task.",
    "parent_id": "Id of the task that it belongs to; that of the running task.",
    "link": "What is sent when the task has succeeded, with its value first: a signature, or several.",
    "link_error": "What is sent when the task has failed for good, with its id; see the how-to.",
}


def main() -> int:
    """Write or check all pages; return the exit status."""
    check = "--check" in sys.argv[1:]
    stale = [page for page in sorted(DOCS.rglob("*.md")) if fresh(page) != page.read_text()]
    for page in stale:
        sys.stdout.write(f"{page.relative_to(DOCS.parent)} {'is not up to date' if check else 'written'}\n")
        if not check:
            page.write_text(fresh(page))
    return 1 if check and stale else 0


def fresh(page: Path) -> str:
    """Return a page's text with its generated parts made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]().strip()}\n\n{part[3]}", page.read_text())


# -- the parts


def settings() -> str:
    """All settings, in groups by the first word of their names."""
    fields = {field.name: field for field in msgspec.structs.fields(config.Settings)}
    groups: dict[str, list[str]] = {"broker": [], "task": [], "result": [], "worker": [], "other": []}
    for name in config.ROWS:
        word = name.partition("_")[0]
        groups[word if word in groups else "other"].append(name)
    parts = []
    for title, names in groups.items():
        rows = []
        for name in names:
            row, field = config.ROWS[name], fields[name]
            old = ", ".join(code(written) for written in row.old if written != f"CELERY_{name.upper()}")
            rows.append(
                (
                    code(f"CELERY_{name.upper()}"),
                    row.kind or plain_type(config._HINTS[name]) + range_of(config._HINTS[name]),
                    default_of(field),
                    row.help,
                    old,
                )
            )
        parts += [f"## {title.capitalize()}", table(("setting", "type", "default", "", "older names"), rows)]
    return "\n\n".join(parts)


def task_options() -> str:
    """Options of tasks."""
    rows = [(code(name), _task_default(default), TASK_HELP[name]) for name, default in options.TASK.items()]
    return table(("option", "default", ""), rows)


def _task_default(default: object) -> str:
    return "" if default is None else code(f"{default:g}" if isinstance(default, float) else default)


def call_options() -> str:
    """Options of calls."""
    return table(("option", ""), [(code(name), text) for name, text in CALL_HELP.items()])


def error_tree() -> str:
    """The tree in the docstring of `celeriac.errors`."""
    drawing = re.search(r"\n\n(    CeleriacError\n.*?)\n\nA keeper", str(errors.__doc__), re.DOTALL)
    assert drawing is not None
    lines = drawing[1].split("\n")
    return "```text tree\n" + "\n".join(line.removeprefix("    ").rstrip() for line in lines) + "\n```"


def error_codes() -> str:
    """The chapters of `celeriac help`."""
    classes = {
        cls.code: cls
        for cls in vars(errors).values()
        if isinstance(cls, type)
        and issubclass(cls, errors.CeleriacError)
        and "code" in vars(cls)
        and cls.code
    }
    parts = []
    for number, chapter in CODES.items():
        named = f"Raised as `celeriac.errors.{classes[number].__name__}`." if number in classes else ""
        parts.append(f"## {number}\n\n**{chapter.title}.** {chapter.what} {named}")
        parts.append(f"*Why:* {chapter.why}\n\n*What to do:* {chapter.do}")
        if chapter.example:
            parts.append(f"```text example\n{chapter.example.strip()}\n```")
    return "\n\n".join(parts)


def system_checks() -> str:
    """What the system checks can find."""
    rows = [
        (f"`celeriac.{number}`", finding.what, finding.do, finding.when)
        for number, finding in FINDINGS.items()
    ]
    return table(("number", "", "what to do", "only with"), rows)


def celerys_imports() -> str:
    """Where what is imported from Celery is imported from here."""
    rows = [(code(theirs), code(ours)) for theirs, ours in imports.IMPORTS.items()]
    others = {**imports.IMPORTS_KEPT, **imports.IMPORTS_ABSENT}
    reasons = [(", ".join(map(code, listed.split())), why) for listed, why in others.items()]
    loggers = [(code(theirs), code(ours)) for theirs, ours in imports.LOGGERS.items()]
    tables = (("Celery", "here"), rows), (("module or name", ""), reasons), (("logger", "here"), loggers)
    return "\n\n".join(table(*each) for each in tables)


def all_celerys_names() -> str:
    """What has become of each of Celery's names."""
    parts = []
    for section in told.sections():
        parts.append(f"## {section.title}\n\n{section.about}".rstrip())
        if section.same:
            parts.append(f"The same: {', '.join(map(code, section.same.split()))}.")
        rows = [
            (", ".join(map(code, listed)), state, reason)
            for listed, state, reason in section.lines()
            if state != celerys.SAME
        ]
        if rows:
            parts.append(table(("name", "here", ""), rows))
    return "\n\n".join(parts)


def schemes() -> str:
    """What URLs may begin with."""
    rows = []
    for setting, keepers in (("broker_url", brokers.KEEPERS), ("result_backend", stores.KEEPERS)):
        for scheme, (target, extra) in keepers._built_in.items():
            module, _, cls = target.partition(":")
            rows.append(
                (
                    code(setting),
                    code(scheme),
                    code(f"{module}.{cls}"),
                    code(f"celeriac[{extra}]") if extra else "",
                )
            )
    return table(("setting", "scheme", "class", "to install"), rows)


#: The floors of the house, top first, and the rooms on each; a room that is not here is an error.
FLOORS = {
    "Faces: what people and frameworks touch": ("__main__", "apps", "cli", "testing", "django"),
    "Services: what runs for long": ("worker", "beat"),
    "The user's: what task code holds": (
        "app registered connected configured sending routing annotations eager deferred discovery sources shared "
        "naming dead_letters execute next_try settling acks limits overtime callbacks run hints unpacking reporting "
        "publishing decorator task periodic canvas result result_set pydantic_models result_tree stored_result waiting "
        "signals log control failure revocations queue_age pulse unread overlap".split()
    ),
    "Keepers: one for each broker and store": ("brokers", "stores", "redis_client"),
    "Contracts: what a keeper promises, and what floors agree on": (
        "broker store schedule hooks context queues retry registry arguments sensitive waker serialization".split()
    ),
    "Values: plain data, its encoding, settings": (
        "message",
        "config",
        "celery_settings",
        "schemes",
        "options",
        "states",
        "schedules",
        "generics",
        "libc",
        "errors",
    ),
}


def code_map() -> str:
    """Each file with the first line of its docstring, or of its first comment."""
    package = Path(str(inspect.getfile(errors))).parent
    parts = []
    named = set()
    for title, rooms in FLOORS.items():
        rows = []
        for room in rooms:
            files = sorted(source_files(package / room)) or [package / f"{room}.py"]
            named.update(files)
            rows += [(code(file.relative_to(package).as_posix()), _first_line(file)) for file in files]
        parts.append(f"**{title}**\n\n" + table(("file", ""), rows))
    left = sorted(set(source_files(package)) - named - {package / "__init__.py"})
    if left:
        raise SystemExit(f"docs/generate.py: FLOORS names no floor for {', '.join(map(str, left))}")
    return "\n\n".join(parts)


def source_files(folder: Path) -> list[Path]:
    """Return the files below a folder that hold code of ours; none that are empty."""
    found = (
        path for ending in ("py", "lua", "sql", "html", "js", "css") for path in folder.rglob(f"*.{ending}")
    )
    return [path for path in found if path.stat().st_size and "__pycache__" not in path.parts]


def _first_line(path: Path) -> str:
    """Return what a file says of itself in its first sentence or line."""
    text = path.read_text()
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    extended = re.match(r'{% extends "([^"]+)" %}', text)
    if extended is not None:
        return f"A page of the admin, on top of `{extended[1]}`."
    line = text.lstrip().split("\n")[0]
    for mark in ("--", "/*", "*/"):
        line = line.replace(mark, "")
    return line.strip()


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "task-options": task_options,
    "call-options": call_options,
    "error-tree": error_tree,
    "error-codes": error_codes,
    "system-checks": system_checks,
    "command-line": faces.command_line,
    "celerys-imports": celerys_imports,
    "celerys-names": all_celerys_names,
    "schemes": schemes,
    "api": faces.api,
    "code-map": code_map,
}


if __name__ == "__main__":
    sys.exit(main())
