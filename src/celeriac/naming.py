"""Names of tasks: what a function's task is called, two of one name, and names that no task has.

Used by `celeriac.app`, when tasks are made and when one is sent by its name alone. Knows no app and no broker.
"""

import difflib
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from celeriac import registry
from celeriac.arguments import caller_place
from celeriac.errors import NotRegistered
from celeriac.task import Task


class DuplicateTaskNameWarning(UserWarning):
    """Two functions with one task name: the first is kept."""


def task_name(function: Callable[..., Any], main: str | None) -> str:
    """Return the default name of a task: module and function; `main` stands for `__main__`."""
    module = function.__module__
    if module == "__main__" and main:
        module = main
    return f"{module}.{function.__name__}"


def same_function(one: Task, other: Task) -> bool:
    """Return whether two tasks are made of one function, imported twice perhaps."""
    mine, others = (getattr(task, "__wrapped__", task) for task in (one, other))
    return (mine.__module__, getattr(mine, "__qualname__", "")) == (
        others.__module__,
        getattr(others, "__qualname__", ""),
    )


def origin_of(task: Task) -> str:
    """Return what a task was made of: module and function, or class."""
    made_of: Any = getattr(task, "__wrapped__", type(task))
    return f"{made_of.__module__}.{getattr(made_of, '__qualname__', made_of)}"


def warn_duplicate(name: str, kept: Task, other: Task) -> None:
    """Note it, and warn, where the second one is decorated, that the first is kept."""
    registry.duplicates[name] = (origin_of(kept), origin_of(other))
    warnings.warn(
        f"There are two tasks named {name!r}; the first is kept. Give one another name: @task(name=...).",
        DuplicateTaskNameWarning,
        stacklevel=4,
    )


def likely_misspelt(name: str, known: Iterable[str]) -> str | None:
    """Return what to tell about a name that is not among `known` but close to one of them, else None.

    A name that is like none is taken for a task of another project: that is what sending by name is for.
    """
    near = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.8)
    if not near:
        return None
    return (
        f'{NotRegistered.code}: there is no task "{name}" in this process. Did you mean "{near[0]}"? '
        f"It is sent all the same, to be run by a worker that knows it.{caller_place()}"
    )
