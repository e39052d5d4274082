"""What a Django task may ask of Celeriac: retries, time limits and the like, by the names that `@shared_task` has.

Given to `@task(...)`, which Django takes from 6.1 on, or for all tasks of a backend in its OPTIONS.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.utils.module_loading import import_string
from msgspec import UNSET

from celeriac.django.tasks_backend import api

_EXCEPTIONS = frozenset({"autoretry_for", "dont_autoretry_for", "throws"})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CeleriacTask(api.Task):
    """A Django task with options of ours, each as `@shared_task` has it; UNSET is what the backend's OPTIONS say."""

    autoretry_for: Any = UNSET
    dont_autoretry_for: Any = UNSET
    max_retries: Any = UNSET
    default_retry_delay: Any = UNSET
    retry_backoff: Any = UNSET
    retry_backoff_max: Any = UNSET
    retry_jitter: Any = UNSET
    throws: Any = UNSET
    time_limit: Any = UNSET
    soft_time_limit: Any = UNSET
    expires: Any = UNSET
    acks_late: Any = UNSET
    acks_on_failure: Any = UNSET
    acks_on_timeout: Any = UNSET
    reject_on_worker_lost: Any = UNSET
    retry_on_worker_lost: Any = UNSET
    track_started: Any = UNSET
    ignore_result: Any = UNSET
    sensitive: Any = UNSET


NAMES = frozenset(each.name for each in fields(CeleriacTask)) - {each.name for each in fields(api.Task)}


def check(alias: str, given: Any) -> None:
    """Raise InvalidTaskBackend for OPTIONS that hold what is no option, with the nearest match."""
    if not isinstance(given, Mapping):
        raise api.InvalidTaskBackend(f"TASKS[{alias!r}]['OPTIONS'] must be a dict, not {given!r}.")
    for name in given:
        if name not in NAMES:
            near = difflib.get_close_matches(str(name), NAMES, 1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(NAMES))}."
            raise api.InvalidTaskBackend(
                f"TASKS[{alias!r}]['OPTIONS'] has {name!r}, which is no option. {hint}"
            )


def of(task: Any, backend: Any) -> dict[str, Any]:
    """Return the options of a Django task: its own over those of its backend."""
    given = dict(backend.options)
    given |= {name: value for name in NAMES if (value := getattr(task, name, UNSET)) is not UNSET}
    return {name: _classes(name, value) if name in _EXCEPTIONS else value for name, value in given.items()}


def _classes(name: str, value: Any) -> tuple[Any, ...]:
    """Return exceptions, of which settings have the dotted names: "shop.errors.Busy", or "OSError" of Python's."""
    found = []
    for each in (value,) if isinstance(value, str | type) else value:
        try:
            cls = (
                import_string(each if "." in each else f"builtins.{each}") if isinstance(each, str) else each
            )
        except ImportError as error:
            raise api.InvalidTaskBackend(
                f"{name} has {each!r}, which cannot be imported: {error}."
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise api.InvalidTaskBackend(f"{name} has {each!r}, which is no exception.")
        found.append(cls)
    return tuple(found)
