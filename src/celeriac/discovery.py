"""Finding and importing the modules that hold tasks, and saying what is wrong with one that does not import.

Called by `celeriac.app`. Errors name the project's file and line, not the libraries' frames.
"""

import ast
import importlib
import importlib.util
import linecache
import os
import sys
import traceback
from pathlib import Path

from celeriac.errors import TasksModuleError


def modules_of(packages: list[str], related_name: str | None) -> list[str]:
    """Return `<package>.<related_name>` for each of `packages` that has such a module.

    Raises TasksModuleError for a package that is not there or does not import. A dotted name that leads into one, such
    as that of an AppConfig, stands for it.
    """
    if related_name is None:
        return list(packages)
    found = []
    for named in packages:
        package = _import_package(named)
        name = f"{package}.{related_name}"
        if hasattr(sys.modules[package], "__path__") and importlib.util.find_spec(name) is not None:
            found.append(name)
    return found


def _import_package(name: str) -> str:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        outer = name.rpartition(".")[0]
        if outer and error.name is not None and name.startswith(error.name):
            return _import_package(outer)
        raise TasksModuleError(explain_import_error(name, error)) from error
    except Exception as error:
        raise TasksModuleError(explain_import_error(name, error)) from error
    return name


def import_tasks(name: str) -> None:
    """Import a module for its tasks; raises TasksModuleError that tells where and why it failed."""
    try:
        importlib.import_module(name)
    except Exception as error:
        raise TasksModuleError(explain_import_error(name, error)) from error


def explain_import_error(name: str, error: Exception) -> str:
    """Return one line: the place in the project, the code there, the error, and what is lost."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
        and frame.filename != __file__
        and "importlib" not in frame.filename
    ]
    path, line = name, 0
    if isinstance(error, SyntaxError) and error.filename:
        path, line = error.filename, error.lineno or 0
    elif frames:
        own = [frame for frame in frames if not is_library(frame.filename)]
        path, line = (own or frames)[-1].filename, (own or frames)[-1].lineno or 0
    code = linecache.getline(path, line).strip() if line else ""
    count = _count_tasks(name)
    tasks = f" Its {count} task{'s are' if count != 1 else ' is'} unavailable." if count else ""
    return f"{_shown(path)}, line {line}: {code} → {type(error).__name__}: {error}.{tasks}"


def is_library(path: str) -> bool:
    """Return whether a source file is Celeriac's, Python's or an installed package's, not the project's."""
    own_and_pythons = tuple(f"{Path(module).parent}/" for module in (__file__, os.__file__))
    installed = "/site-packages/" in path or "/dist-packages/" in path
    return installed or path.startswith(("<", *own_and_pythons))


def _shown(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def _count_tasks(name: str) -> int:
    """Count the decorated tasks in the source of a module that could not be imported."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return 0
        return count_task_functions(Path(spec.origin))
    except (ImportError, OSError, ValueError, AttributeError):
        return 0


def count_task_functions(path: Path) -> int:
    """Return how many functions of a Python file are decorated with a `task`; 0 if it cannot be read."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, OSError, ValueError):
        return 0
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return sum(any(_is_task_decorator(d) for d in function.decorator_list) for function in functions)


def _is_task_decorator(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        node = node.func
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in ("task", "shared_task")
