"""The options of tasks and calls, one row each, and the error for one that does not exist.

`TASK` are the keywords of `@app.task` and `@shared_task`, `CALL` those of `apply_async`. A name that Celery knows and
this release does not honour is refused by name for a call (it would change what happens) and told once for a
task (code written for Celery keeps importing).
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypedDict

from celeriac.errors import UnknownOption

_Exceptions = type[BaseException] | Iterable[type[BaseException]]

#: Task options and their defaults; None stands for "as the settings say".
TASK: dict[str, Any] = {
    "name": None,
    "bind": False,
    "base": None,
    "typing": True,
    "max_retries": 3,
    "default_retry_delay": 180.0,
    "autoretry_for": (),
    "dont_autoretry_for": (),
    "retry_kwargs": {},
    "retry_backoff": False,
    "retry_backoff_max": 600.0,
    "retry_jitter": True,
    "throws": (),
    "ignore_result": None,
    "store_errors_even_if_ignored": None,
    "track_started": None,
    "acks_late": None,
    "reject_on_worker_lost": None,
    "retry_on_worker_lost": None,
    "acks_on_failure": None,
    "acks_on_timeout": None,
    "acks_on_failure_or_timeout": None,
    "time_limit": None,
    "soft_time_limit": None,
    "expires": None,
    "priority": None,
    "queue": None,
    "exchange": None,
    "routing_key": None,
    "serializer": None,
    "compression": None,
    "store_eager_result": None,
    "pydantic": False,
    "pydantic_strict": False,
    "pydantic_context": None,
    "pydantic_dump_kwargs": None,
    "sensitive": None,
    "trail": True,
}

#: Methods of a task that may be given as options as well: functions that take the task as `self`.
METHODS = frozenset("before_start on_success on_retry on_failure after_return shadow_name".split())

TASK_NOT_YET = frozenset(
    "rate_limit exchange_type delivery_mode send_events resultrepr_maxsize shared lazy".split()
)


class Named(Protocol):
    """Something that has a name, such as kombu's Queue and Exchange."""

    @property
    def name(self) -> str:
        """Its name."""


class TaskOptions(TypedDict, total=False):
    """The keywords of `@app.task` and `@shared_task` for type checkers; `bind` is theirs by name."""

    name: str | None
    base: Any
    typing: bool
    max_retries: int | None
    default_retry_delay: float
    autoretry_for: _Exceptions
    dont_autoretry_for: _Exceptions
    retry_kwargs: Mapping[str, Any]
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    throws: _Exceptions
    ignore_result: bool | None
    store_errors_even_if_ignored: bool | None
    track_started: bool | None
    acks_late: bool | None
    reject_on_worker_lost: bool | None
    retry_on_worker_lost: bool | None
    acks_on_failure: bool | None
    acks_on_timeout: bool | None
    acks_on_failure_or_timeout: bool | None
    time_limit: float | None
    soft_time_limit: float | None
    expires: float | datetime | str | None
    priority: int | None
    queue: str | Named | None
    exchange: str | Named | None
    routing_key: str | None
    serializer: str | None
    compression: str | None
    store_eager_result: bool | None
    before_start: Callable[..., Any]
    on_success: Callable[..., Any]
    on_retry: Callable[..., Any]
    on_failure: Callable[..., Any]
    after_return: Callable[..., Any]
    shadow_name: Callable[..., str | None]
    sensitive: bool | Collection[str] | None
    trail: bool
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: Mapping[str, Any] | None
    pydantic_dump_kwargs: Mapping[str, Any] | None
    # Known, and told where they have no effect yet.
    rate_limit: Any
    exchange_type: Any
    delivery_mode: Any
    send_events: bool
    resultrepr_maxsize: int
    shared: bool
    lazy: bool


class KeywordOptions(TypedDict, total=False):
    """What `apply_async(args, kwargs, task_id, **options)` takes by name only."""

    countdown: float | None
    eta: datetime | str | None
    expires: float | datetime | str | None
    queue: str | Named | None
    exchange: str | Named | None
    routing_key: str | None
    priority: int | None
    headers: Mapping[str, Any] | None
    ignore_result: bool | None
    serializer: str | None
    compression: str | None
    shadow: str | None
    retry: bool | None
    retry_policy: Mapping[str, Any] | None
    time_limit: float | None
    soft_time_limit: float | None
    exchange_type: str | None
    delivery_mode: int | str | None
    add_to_parent: bool | None
    root_id: str | None
    parent_id: str | None
    link: Any
    link_error: Any


class CallOptions(KeywordOptions, total=False):
    """The options of a call."""

    task_id: str | None


#: Options of a call.
CALL = frozenset(CallOptions.__annotations__)

CALL_NOT_YET = frozenset(
    "connection producer confirm_timeout timeout "
    "chord chain group_id group_index reply_to stamped_headers".split()
)

#: Options that a route may have.
ROUTE = frozenset(
    "queue exchange routing_key priority serializer compression headers exchange_type delivery_mode retry "
    "retry_policy".split()
)

#: Options of `apply()`, besides those of a call.
APPLY = frozenset({"throw", "retries"})

#: Options of `retry()`, besides its own parameters. What is sent again keeps the first call's other options.
RETRY = frozenset("queue priority retry retry_policy delivery_mode add_to_parent".split())


def refuse_unknown(
    given: Iterable[str],
    known: Iterable[str],
    not_yet: Iterable[str],
    what: str,
    place: Callable[[], str] = str,
) -> None:
    """Raise UnknownOption for the first of `given` that is not `known`, with the nearest match; `place` tells where."""
    known = set(known)
    for name in given:
        if name in known:
            continue
        if name in not_yet:
            raise UnknownOption(
                f"{what} does not support the option {name!r} in this release of Celeriac.{place()}"
            )
        near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else f" It has: {', '.join(sorted(known))}."
        raise UnknownOption(f"{what} has no option {name!r}.{hint}{place()}")
