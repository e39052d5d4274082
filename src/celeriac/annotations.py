"""What `task_annotations` says of a task, in all of Celery's forms.

Asked by `celeriac.app` when a task is first sent or run. Sets nothing itself: `celeriac.decorator.annotate` does.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from celeriac.errors import ImproperlyConfigured
from celeriac.schemes import imported
from celeriac.task import Task


def annotations_of(task: Task, setting: Any) -> Iterator[Mapping[str, Any]]:
    """Return the options for a task, those that count more last: by its name, then those for all tasks.

    Of several dicts or objects, the first that has something counts, of each of the two kinds.
    """
    sources = [_source(each) for each in (setting if isinstance(setting, list | tuple) else [setting])]
    by_name = (_options(source, "annotate", task.name, task) for source in sources)
    for_all = (_options(source, "annotate_any", "*") for source in sources)
    for found in (by_name, for_all):
        options = next((each for each in found if each), None)
        if options:
            yield options


def _source(given: Any) -> Any:
    """Return a dict or an object with `annotate` or `annotate_any`; a dotted name may stand for a class of such."""
    if isinstance(given, str):
        given = imported(given, "task_annotations")
        given = given() if isinstance(given, type) else given
    if isinstance(given, Mapping) or hasattr(given, "annotate") or hasattr(given, "annotate_any"):
        return given
    raise ImproperlyConfigured(
        f"task_annotations: {given!r} is neither a dict of names and options nor an object with annotate()."
    )


def _options(source: Any, method: str, name: str, *arguments: Any) -> Mapping[str, Any] | None:
    if isinstance(source, Mapping):
        return source.get(name)
    ask = getattr(source, method, None)
    found: Mapping[str, Any] | None = ask(*arguments) if ask is not None else None
    return found
