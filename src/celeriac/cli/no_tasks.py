"""E113: where tasks were looked for, and where there are functions that look like some.

Called when a worker finds no task. Reads the project's source, imports nothing of it.
"""

from pathlib import Path

from celeriac import registry
from celeriac.discovery import count_task_functions

_FILES = 400  # at most so many are read


def explain(modules: list[str]) -> str:
    """Return the text of the error. `modules` are those that were imported for their tasks."""
    if registry.framework() is not None:
        return " ".join(["No tasks found.", *_in_django(modules)])
    looked = f"Looked in: {', '.join(modules)}." if modules else "The app names no modules with tasks."
    found = [(_shown(path), count) for path, count in _files_with_tasks(Path.cwd())]
    if not found:
        return f"No tasks found. {looked} Write one: @app.task above a function, in a module that `imports` names."
    path, count = found[0]
    name = path.removesuffix(".py").replace("/", ".")
    advice = f'name it:  celeriac worker -I {name}, or Celeriac(imports=["{name}"])'
    return f"No tasks found. {looked} Found {path} with {_functions(count)}: {advice}."


def _in_django(modules: list[str]) -> list[str]:
    from celeriac.django.management import project

    directories = project.app_directories()
    looked = (
        f"Looked for tasks.py in: {', '.join(directories)}."
        if directories
        else "None of the project's apps is installed."
    )
    told = [looked]
    for name, directory in directories.items():
        for path, count in _files_with_tasks(directory):
            module = f"{name}.{path.relative_to(directory).with_suffix('').as_posix().replace('/', '.')}"
            if module in modules:
                continue
            advice = f'set CELERY_IMPORTS = ["{module}"]'
            if path.name == "tasks.py" and path.parent == directory:
                advice = "let the app find it: app.autodiscover_tasks()"
            elif path.parent == directory:
                advice = f"rename it to tasks.py or {advice}"
            told.append(f"Found {_shown(path)} with {_functions(count)}: {advice}.")
    told += [
        f'"{name}" has tasks.py but is not in INSTALLED_APPS.'
        for name in _neighbours(directories)
        if not project.installed(name)
    ]
    if len(told) == 1:
        told.append("Write one: @shared_task above a function in an app's tasks.py.")
    return told[:5]


def _neighbours(directories: dict[str, Path]) -> list[str]:
    """Return packages beside the project's apps, or here, that have a tasks.py with tasks."""
    parents = {Path.cwd(), *(path.parent for name, path in directories.items() if "." not in name)}
    known = set(directories.values())
    return sorted(
        path.parent.name
        for parent in parents
        for path in parent.glob("*/tasks.py")
        if path.parent not in known and count_task_functions(path)
    )


def _files_with_tasks(directory: Path) -> list[tuple[Path, int]]:
    """Return the Python files of a directory, and of those in it, that have task functions."""
    paths = [*sorted(directory.glob("*.py")), *sorted(directory.glob("*/*.py"))][:_FILES]
    counted = ((path, count_task_functions(path)) for path in paths)
    return [(path, count) for path, count in counted if count]


def _functions(count: int) -> str:
    return f"{count} @task function{'' if count == 1 else 's'}"


def _shown(path: Path) -> str:
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
