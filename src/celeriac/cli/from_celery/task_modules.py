"""Tasks that stand elsewhere than in `tasks.py`: a worker finds them only if something imports them.

Celery's worker runs Django's system checks first, which load the URLs, the views and what these import; ours does not.
Called by `looking` for each file.
"""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from msgspec import Struct

from celeriac.cli.from_celery import verdicts
from celeriac.cli.from_celery.bindings import Bindings, Nodes, assigned
from celeriac.cli.from_celery.uses import Found, task_functions


class Loading(Struct):
    """What workers import: the modules of apps that are called so, and modules by their whole names."""

    related: set[str]
    named: set[str]


def how(nodes: Nodes, loading: Loading) -> None:
    """Note what a file's calls of `autodiscover_tasks` and its settings say."""
    for node in nodes:
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "related_name":
                    loading.related |= _texts(keyword.value)
                elif keyword.arg in ("include", "imports"):
                    loading.named |= _texts(keyword.value)
        for target, value in assigned(node):
            name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
            if name.lower().endswith(("imports", "include")):
                loading.named |= _texts(value)


def _texts(node: ast.expr) -> set[str]:
    return {
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def outside(nodes: Nodes, name: str, bindings: Bindings, loading: Loading) -> Iterator[Found]:
    """Return what is said of the first task of a file that no worker looks into by itself."""
    path = PurePosixPath(name)
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    last = module.rpartition(".")[2]
    tests = (
        last.startswith("test") or last == "conftest" or any(part.startswith("test") for part in path.parts)
    )
    if bindings.apps_made or tests or last in loading.related:
        return
    if any(f".{module}".endswith(f".{each}") for each in loading.named):
        return
    first = next(iter(task_functions(nodes, bindings)), None)
    if first is not None:
        yield verdicts.of_task_module(), first.lineno
