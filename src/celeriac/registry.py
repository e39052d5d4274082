"""All the global state there is besides the current task: the current app, and what `shared_task` has seen.

Written when tasks modules and apps are imported; read whenever an app is finalized.
"""

from collections.abc import Callable
from typing import Any

from celeriac.errors import ImproperlyConfigured
from celeriac.hooks import Framework

shared_tasks: dict[str, Any] = {}
#: Entries of the schedule that decorators have made, by name.
periodic: dict[str, Any] = {}
#: Names that two functions were to have as tasks: what the one that is kept was made of, and the other.
duplicates: dict[str, tuple[str, str]] = {}
_apps: list[Any] = []
_framework: list[Framework] = []
_default: list[Callable[[], Any]] = []


def set_current(app: Any) -> None:
    """Make `app` the one that shared tasks are sent through."""
    _apps.append(app)


def current_app() -> Any:
    """Return the app made last, or the framework's; raises ImproperlyConfigured if there is none."""
    if not _apps and _default:
        _default[-1]()
    if not _apps:
        raise ImproperlyConfigured(
            "There is no Celeriac app. Add \"celeriac.django\" to INSTALLED_APPS, or make one: app = Celeriac('name')."
        )
    return _apps[-1]


def set_default_factory(make: Callable[[], Any]) -> None:
    """Name the function that makes the app of a project that makes none itself."""
    _default[:] = [make]


def has_app() -> bool:
    """Return whether an app was made."""
    return bool(_apps)


def apps() -> list[Any]:
    """Return the apps that are there, the current one last."""
    return list(_apps)


def forget_app(app: Any) -> None:
    """Undo `set_current`, for tests and short scripts."""
    if app in _apps:
        _apps.remove(app)


def set_framework(framework: Framework) -> None:
    """Tell the apps of this process what framework they live in."""
    _framework[:] = [framework]


def framework() -> Framework | None:
    """Return the framework, or None."""
    return _framework[0] if _framework else None
