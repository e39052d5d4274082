"""The settings, one row each: name, type, default, help, and what Celery called it before.

`Settings` is the whole table: from it come validation, the reference page and `celeriac report`. `resolve` turns
what a project wrote (lower-case names, or `CELERY_*` under a namespace) into one; unknown names are compared
with the known ones. A setting of Celery's that does nothing here is told with the reason, which stands in
`celeriac.celery_settings`.
"""

import difflib
import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, field

from celeriac.celery_settings import IN_URL, MOOT, NOT_YET, OLD_BEGINNINGS, OLD_ODD, reason
from celeriac.errors import ImproperlyConfigured, UnknownSetting


class Row:
    """What the table says about a setting besides its type and default."""

    __slots__ = ("help", "kind", "old")

    def __init__(self, help: str, *old: str, kind: str = "") -> None:
        self.help = help
        self.old = old
        #: The type in words, where Python's own says little.
        self.kind = kind


_Count = Annotated[int, Meta(ge=1)]
_CountOr0 = Annotated[int, Meta(ge=0)]
_Priority = Annotated[int, Meta(ge=0, le=9)]
_Time = Annotated[float, Meta(gt=0, le=1e9)]  # not for ever: arithmetic is done with it
_Moment = Annotated[datetime, Meta(tz=True)]
_TimeOr0 = Annotated[float, Meta(ge=0, le=1e9)]


class Settings(Struct, kw_only=True):
    """All settings that have an effect. Times are seconds unless said otherwise."""

    # -- broker
    broker_url: Annotated[
        str | None,
        Row(
            "Where messages wait: django://ALIAS, redis://..., memory://. Unset: Django's database.",
            "BROKER_URL",
        ),
    ] = None
    broker_transport_options: Annotated[
        dict[str, Any],
        Row(
            "Of the broker: global_keyprefix, priority_steps, sep; mixed_fleet=True orders priorities and sends "
            "scheduled tasks as Celery does.",
            "BROKER_TRANSPORT_OPTIONS",
        ),
    ] = field(default_factory=dict)
    broker_connection_timeout: Annotated[
        _Time, Row("How long a connection attempt may take.", "BROKER_CONNECTION_TIMEOUT")
    ] = 2.0
    task_publish_timeout: Annotated[_Time, Row("How long delay() may take before it raises BrokerDown.")] = (
        2.0
    )
    task_publish_on_commit: Annotated[
        bool,
        Row(
            "Publish calls made inside a transaction after its commit (the database broker takes part in it)."
        ),
    ] = True

    task_outbox: Annotated[
        bool,
        Row(
            "Make what is sent part of the open transaction on any broker: a row of Django's database, which goes "
            "to the broker after the commit."
        ),
    ] = False

    # -- messages
    task_serializer: Annotated[str, Row("Serializer of arguments.", "CELERY_TASK_SERIALIZER")] = "json"
    result_serializer: Annotated[
        str,
        Row(
            "Serializer of results: json, msgpack, yaml, pickle, or a registered one that result_accept_content names.",
            "CELERY_RESULT_SERIALIZER",
        ),
    ] = "json"
    accept_content: Annotated[
        list[str], Row("Serializers or content types that workers accept.", "CELERY_ACCEPT_CONTENT")
    ] = field(default_factory=lambda: ["json"])
    result_accept_content: Annotated[
        list[str] | None,
        Row(
            "Serializers or content types that results are read in. Unset: those of accept_content.",
            "CELERY_RESULT_ACCEPT_CONTENT",
        ),
    ] = None
    result_compression: Annotated[
        str | None,
        Row(
            "Compression of results on Redis and in a cache: gzip, bzip2, lzma, zstd or brotli. Unset: none.",
            "CELERY_RESULT_COMPRESSION",
        ),
    ] = None
    task_compression: Annotated[
        str | None,
        Row(
            "Compression of arguments: gzip, bzip2, lzma, zstd or brotli. Unset: none.",
            "CELERY_MESSAGE_COMPRESSION",
        ),
    ] = None
    task_protocol: Annotated[
        int,
        Meta(ge=1, le=2),
        Row("Celery's task protocol that is written: 2, or 1 for very old workers. Both are read."),
    ] = 2
    task_signing: Annotated[
        bool,
        Row(
            "Sign messages, and set aside those that are not signed: with Django's SECRET_KEY (and "
            "SECRET_KEY_FALLBACKS), or with task_signing_keys."
        ),
    ] = False
    task_signing_keys: Annotated[
        list[str],
        Row("Secrets to sign with instead of SECRET_KEY: the first one signs, all are accepted."),
    ] = field(default_factory=list)
    task_signing_optional_until: Annotated[
        _Moment | None,
        Row(
            "While task_signing is being turned on in a running fleet: messages that are not signed run until then, a "
            "time with its zone such as 2026-12-31T00:00:00Z. Those with a wrong signature never do."
        ),
    ] = None
    timezone: Annotated[str | None, Row("Time zone of naive etas.", "CELERY_TIMEZONE")] = None
    enable_utc: Annotated[
        bool,
        Row("Accepted for Celery's sake: times on the wire always carry their offset.", "CELERY_ENABLE_UTC"),
    ] = True

    # -- tasks
    task_default_queue: Annotated[str, Row("Queue of tasks that name none.", "CELERY_DEFAULT_QUEUE")] = (
        "celery"
    )
    task_default_priority: Annotated[
        _Priority | None,
        Row("Priority of tasks that name none, 0 to 9, higher first.", "CELERY_TASK_DEFAULT_PRIORITY"),
    ] = None
    task_routes: Annotated[
        Any,
        Row(
            "Task names, globs or compiled expressions to queues or options; or routers, which are asked in turn.",
            "CELERY_ROUTES",
            kind="dict, list, function or its dotted name",
        ),
    ] = None
    task_queues: Annotated[
        Any,
        Row(
            "The queues that there are, which workers read unless -Q says otherwise. Unset: the default queue.",
            "CELERY_QUEUES",
            kind="list of names, or of kombu.Queue; or a dict",
        ),
    ] = None
    task_create_missing_queues: Annotated[
        bool,
        Row(
            "Send to queues that task_queues does not name as well. Off: QueueNotFound is raised.",
            "CELERY_CREATE_MISSING_QUEUES",
        ),
    ] = True
    task_default_exchange: Annotated[
        str | None,
        Row(
            "The exchange of declared queues that name none. Unset: called as the default queue.",
            "CELERY_DEFAULT_EXCHANGE",
        ),
    ] = None
    task_default_exchange_type: Annotated[
        str,
        Row(
            "How routing keys match at the default exchange: direct, topic or fanout.",
            "CELERY_DEFAULT_EXCHANGE_TYPE",
        ),
    ] = "direct"
    task_default_routing_key: Annotated[
        str | None,
        Row(
            "The routing key of declared queues that name none. Unset: the default queue's name.",
            "CELERY_DEFAULT_ROUTING_KEY",
        ),
    ] = None
    task_annotations: Annotated[
        Any,
        Row(
            'Options that tasks get over their own: {"shop.tasks.mail": {"max_retries": 9}}, "*" for all.',
            "CELERY_ANNOTATIONS",
            kind="dict, list of dicts or objects",
        ),
    ] = None
    task_inherit_parent_priority: Annotated[
        bool,
        Row(
            "What a task sends has its priority, where neither call nor task nor route says another.",
            "CELERY_TASK_INHERIT_PARENT_PRIORITY",
        ),
    ] = False
    task_store_eager_result: Annotated[
        bool, Row("Store results of eager tasks too.", "CELERY_TASK_STORE_EAGER_RESULT")
    ] = False
    task_ignore_result: Annotated[bool, Row("Store no results.", "CELERY_IGNORE_RESULT")] = False
    task_store_errors_even_if_ignored: Annotated[
        bool, Row("Store failures of tasks that ignore results.", "CELERY_STORE_ERRORS_EVEN_IF_IGNORED")
    ] = False
    task_track_started: Annotated[bool, Row("Store STARTED when a task begins.", "CELERY_TRACK_STARTED")] = (
        False
    )
    task_acks_late: Annotated[
        bool | None,
        Row(
            "None or True: settle after the run. False: before it, so that a lost process loses the task.",
            "CELERY_ACKS_LATE",
        ),
    ] = None
    task_reject_on_worker_lost: Annotated[
        bool | None,
        Row(
            "None or True: a task whose process died runs again, task_max_deliveries times at most. False: it has "
            "failed.",
            "CELERY_TASK_REJECT_ON_WORKER_LOST",
        ),
    ] = None
    task_retry_on_worker_lost: Annotated[
        bool, Row("Retry a task whose process died: after default_retry_delay, max_retries times at most.")
    ] = False
    task_acks_on_failure: Annotated[
        bool | None, Row("False: the message of a task that failed becomes a dead letter.")
    ] = None
    task_acks_on_timeout: Annotated[
        bool | None,
        Row("False: a task over its hard time limit runs again, task_max_deliveries times at most."),
    ] = None
    task_acks_on_failure_or_timeout: Annotated[
        bool,
        Row(
            "What holds for both where they are None.",
            "CELERY_ACKS_ON_FAILURE_OR_TIMEOUT",
        ),
    ] = True
    task_time_limit: Annotated[
        _TimeOr0 | None,
        Row(
            "How long a task may run before its process is ended; None or 0: without limit.",
            "CELERYD_TASK_TIME_LIMIT",
        ),
    ] = None
    task_soft_time_limit: Annotated[
        _TimeOr0 | None,
        Row(
            "How long a task may run before SoftTimeLimitExceeded is raised in it; None or 0: without limit.",
            "CELERYD_TASK_SOFT_TIME_LIMIT",
        ),
    ] = None
    task_max_deliveries: Annotated[
        _Count, Row("How many processes may die while they run a task before it becomes a dead letter.")
    ] = 3
    task_dead_letter_expires: Annotated[
        _TimeOr0 | None, Row("How long dead letters are kept; None or 0: for ever.")
    ] = 30 * 86400.0
    task_revoke_expires: Annotated[
        _Time, Row("How long it is remembered that a task was revoked: one that comes later than that runs.")
    ] = 30 * 86400.0
    task_always_eager: Annotated[
        bool, Row("Run tasks in delay(), in this process, for tests.", "CELERY_ALWAYS_EAGER")
    ] = False
    task_eager_propagates: Annotated[
        bool,
        Row(
            "Raise what an eager task raises.",
            "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
            "CELERY_EAGER_PROPAGATES",
        ),
    ] = False
    imports: Annotated[list[str], Row("Modules with tasks, besides those found.", "CELERY_IMPORTS")] = field(
        default_factory=list
    )
    include: Annotated[list[str], Row("More modules with tasks.", "CELERY_INCLUDE")] = field(
        default_factory=list
    )

    # -- results
    result_backend: Annotated[
        str | None,
        Row(
            "Where results are kept: django-db, redis://..., cache, memory://. Under Django: django-db.",
            "CELERY_RESULT_BACKEND",
        ),
    ] = None
    result_expires: Annotated[
        _TimeOr0 | None, Row("How long results are kept; None or 0: for ever.", "CELERY_TASK_RESULT_EXPIRES")
    ] = 7 * 86400.0
    result_extended: Annotated[
        bool, Row("Accepted: name, arguments, queue and worker are always stored.", "CELERY_RESULT_EXTENDED")
    ] = True

    result_exceptions: Annotated[
        list[str],
        Row(
            "Exceptions that get() raises as themselves, by their dotted names (shop.errors.OutOfStock, shop.*); "
            "built-in ones always, others as a TaskError of that name."
        ),
    ] = field(default_factory=list)

    # -- worker
    worker_concurrency: Annotated[
        _CountOr0 | None,
        Row("Child processes or threads; None or 0: one for each CPU.", "CELERYD_CONCURRENCY"),
    ] = None
    worker_pool: Annotated[str, Row("prefork, threads or solo.", "CELERYD_POOL")] = "prefork"
    worker_max_tasks_per_child: Annotated[
        _Count | None,
        Row("After how many tasks a process is replaced (pool prefork).", "CELERYD_MAX_TASKS_PER_CHILD"),
    ] = None
    worker_max_memory_per_child: Annotated[
        _Count | None,
        Row(
            "Above how much memory, in KiB, a process is replaced after its task (pool prefork).",
            "CELERYD_MAX_MEMORY_PER_CHILD",
        ),
    ] = None
    worker_prefetch_multiplier: Annotated[
        _CountOr0 | None,
        Row(
            "Messages that a child holds at most for each slot; None: about 50 ms of work.",
            "CELERYD_PREFETCH_MULTIPLIER",
        ),
    ] = None
    worker_async_concurrency: Annotated[_Count, Row("Coroutine tasks that one child runs at a time.")] = 200
    worker_lease: Annotated[
        _Time,
        Row("A worker not heard of for this long is taken for dead, and its tasks are given to others."),
    ] = 15.0
    worker_soft_shutdown_timeout: Annotated[
        _TimeOr0,
        Row("How long a warm shutdown waits before running tasks are interrupted; 0: without limit."),
    ] = 0.0
    worker_max_message_bytes: Annotated[_Count, Row("Longer messages become dead letters unread.")] = (
        8 * 1024 * 1024
    )
    worker_state_dir: Annotated[
        str | None,
        Row(
            "Where flight records and heartbeats lie; None: what CELERIAC_STATE_DIR in the environment says, or a "
            "directory of this user's in memory."
        ),
    ] = None
    worker_health_port: Annotated[
        int, Meta(ge=0, le=65535), Row("Where a worker answers /live, /ready and /metrics; 0: nowhere.")
    ] = 0
    worker_health_host: Annotated[
        str, Row("The address of that port; 0.0.0.0 for all of the host's, which probes of a container need.")
    ] = "127.0.0.1"

    worker_flower_metrics: Annotated[
        bool, Row("Tell /metrics under Flower's names as well, for dashboards that were made for Flower.")
    ] = False

    # -- beat
    beat_schedule: Annotated[
        dict[str, Any],
        Row("What is sent when: entries by name, each a dict with task and schedule.", "CELERYBEAT_SCHEDULE"),
    ] = field(default_factory=dict)
    beat_cron_starting_deadline: Annotated[
        _Time | None,
        Row("How late a crontab entry may run that nobody was there for in time; None: however late."),
    ] = None

    # -- the worker's log
    worker_log_format: Annotated[
        str | None, Row("Format of the worker's log lines; unset: Celeriac's own.", "CELERYD_LOG_FORMAT")
    ] = None
    worker_log_datefmt: Annotated[
        str | None, Row("How times look in the worker's log lines, as in `time.strftime`.")
    ] = None
    worker_task_log_format: Annotated[
        str | None,
        Row(
            "Format of what `get_task_logger` logs; unset: Celery's where worker_log_format is set, else our own.",
            "CELERYD_TASK_LOG_FORMAT",
        ),
    ] = None
    worker_task_log_datefmt: Annotated[str | None, Row("How times look in tasks' log lines.")] = None
    worker_log_color: Annotated[
        bool | None,
        Row("False: no colours in the log. Else: on a terminal that has some.", "CELERYD_LOG_COLOR"),
    ] = None
    worker_redirect_stdouts: Annotated[
        bool,
        Row("Log what the worker's processes write to stdout and stderr.", "CELERY_REDIRECT_STDOUTS"),
    ] = False
    worker_redirect_stdouts_level: Annotated[
        str | int, Row("The level that it is logged at.", "CELERY_REDIRECT_STDOUTS_LEVEL")
    ] = "WARNING"
    worker_hijack_root_logger: Annotated[
        bool,
        Row(
            "Take the root logger over: all that is logged in a worker is written in its log, nowhere else.",
            "CELERYD_HIJACK_ROOT_LOGGER",
        ),
    ] = False

    def update(self, *given: Mapping[str, Any], **more: Any) -> None:
        """Set several settings by name, as Celery's `app.conf.update` does; raises UnknownSetting for others."""
        for name, value in {**(given[0] if given else {}), **more}.items():
            if name not in ROWS:
                raise UnknownSetting(_unknown(name, name, None)[0])
            setattr(self, name, _convert(name, _seconds(value), name))


_HINTS: dict[str, Any] = Settings.__annotations__
ROWS: dict[str, Row] = {
    name: next(extra for extra in get_args(hint) if isinstance(extra, Row))
    for name, hint in _HINTS.items()
    if get_origin(hint) is Annotated
}
_OLD = {old: name for name, row in ROWS.items() for old in row.old} | OLD_ODD
_KNOWN = ROWS.keys() | NOT_YET.keys() | MOOT.keys() | IN_URL.keys()
#: Settings whose values are not to be shown, not even wrong ones.
SECRET = frozenset({"task_signing_keys"})
#: Environment variables that win over the project's settings, as in Celery.
ENVIRONMENT = {"CELERY_BROKER_URL": "broker_url", "CELERY_RESULT_BACKEND": "result_backend"}


class Resolved(Struct):
    """`settings` in force, where each given one came from, and what there is to tell about names."""

    settings: Settings
    sources: dict[str, str]
    warnings: list[str]
    errors: list[str]


def resolve(
    given: Mapping[str, Any],
    *,
    namespace: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    before: Resolved | None = None,
) -> Resolved:
    """Return the settings that follow from what the project wrote.

    `given` are names and values; with `namespace` only names that begin with it count. `defaults` hold where
    nothing is given, and come from `origins`; `before` is what an earlier source gave, which this one overrides.
    A name close to a known one is an error, another unknown one a warning; which of both stops what is the caller's
    decision.
    Raises ImproperlyConfigured for a value of the wrong type or out of its range.
    """
    values: dict[str, Any] = dict(defaults or {})
    sources = {name: (origins or {}).get(name, "default of the framework") for name in values}
    warnings: list[str] = []
    errors: list[str] = []
    if before is not None:
        values |= {name: getattr(before.settings, name) for name in before.sources}
        sources |= before.sources
        warnings += before.warnings
        errors += before.errors
    for written, value in given.items():
        name = canonical(written, namespace)
        if name is None:
            continue
        if name in ROWS:
            values[name] = _seconds(value)
            sources[name] = written
        elif name in IN_URL:
            warnings.append(f"{written} is not read: it belongs into {_written(IN_URL[name], namespace)}.")
        elif why := reason(name):
            warnings.append(f"{written} {why}.")
        else:
            text, near = _unknown(written, name, namespace)
            (errors if near else warnings).append(text)
    for variable, name in ENVIRONMENT.items():
        if os.environ.get(variable):
            values[name] = os.environ[variable]
            sources[name] = f"environment variable {variable}"
    return Resolved(_made(values, sources), sources, warnings, errors)


def canonical(written: str, namespace: str | None) -> str | None:
    """The new name for `written`; None if it is no setting of ours to begin with."""
    if written in _OLD:
        return _OLD[written]
    if namespace is None:
        old = _by_old_beginning(written)
        return written.lower() if old is None and written.upper() != written else old
    prefix = namespace + "_"
    if not written.startswith(prefix):
        # Celery's CELERYD_ and CELERYBEAT_ say as clearly whose they are.
        return _by_old_beginning(written) if namespace == "CELERY" and written.startswith(namespace) else None
    name = written.removeprefix(prefix)
    return _OLD.get(name) or _by_old_beginning(name) or _by_old_beginning(f"CELERY_{name}") or name.lower()


def _by_old_beginning(written: str) -> str | None:
    for old, new in OLD_BEGINNINGS:
        if written.startswith(old):
            rest = written.removeprefix(old).lower()
            for beginning in new:
                if beginning + rest in _KNOWN:
                    return beginning + rest
    return None


def _written(name: str, namespace: str | None) -> str:
    return f"{namespace}_{name.upper()}" if namespace else name


def _seconds(value: Any) -> Any:
    return (
        value.total_seconds()
        if isinstance(value, timedelta)
        else list(value)
        if isinstance(value, tuple | set)
        else value
    )


def _unknown(written: str, name: str, namespace: str | None) -> tuple[str, bool]:
    near = difflib.get_close_matches(name, sorted(_KNOWN), 1, cutoff=0.8)
    if not near:
        return f"{written} is not a setting of Celeriac's or Celery's.", False
    return f"{written} is not a setting. Did you mean {_written(near[0], namespace)}?", True


def _made(values: dict[str, Any], sources: dict[str, str]) -> Settings:
    settings = Settings(**{name: _convert(name, value, sources[name]) for name, value in values.items()})
    settings.result_expires = settings.result_expires or None
    settings.task_dead_letter_expires = settings.task_dead_letter_expires or None
    return settings


def _convert(name: str, value: Any, source: str) -> Any:
    """Return a setting's value in its type; raises ImproperlyConfigured, also for one out of its range."""
    try:
        return msgspec.convert(value, _HINTS[name], strict=False)
    except msgspec.ValidationError as error:
        # Where several URLs stand instead of one, their passwords are not for logs.
        shown = "..." if name in SECRET else re.sub(r"(://[^:@/\s]*:)[^@\s]*@", r"\1***@", repr(value))
        raise ImproperlyConfigured(f"{source} = {shown}: {_worded(error)}.") from None


def _worded(error: Exception) -> str:
    """Return what is wrong with a value as Python names it: msgspec's words are JSON's."""
    text = str(error).replace("null", "None")
    return f"{text}; write it with its zone, as 2026-12-31T00:00:00Z" if "datetime" in text else text


def refuse(errors: list[str]) -> None:
    """Raise UnknownSetting if there are `errors`, all in one text."""
    if errors:
        raise UnknownSetting("\n".join(errors))
