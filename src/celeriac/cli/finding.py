"""Finding the project and its app: by -A as Celery does, or by Django's settings and manage.py.

Called by the commands that need an app. Django is set up before anything of the project is imported, wherever its
settings can be found. Raises AppNotFound, NotInstalled or ImproperlyConfigured; never prints.
"""

import difflib
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from celeriac import registry
from celeriac.app import Celeriac
from celeriac.cli.program import Session
from celeriac.discovery import explain_import_error
from celeriac.errors import AppNotFound, ImproperlyConfigured, NotInstalled, TasksModuleError

SETTINGS = "DJANGO_SETTINGS_MODULE"
_IN_MANAGE = re.compile(rf"""{SETTINGS}["'][\s,\]=]+["']([\w.]+)["']""")
_MAKES_APP = re.compile(r"^\w+\s*(?::[^=]+)?=\s*(?:\w+\.)?(?:Celeriac|Celery)\(", re.MULTILINE)
_ATTRIBUTES = ("app", "celery")


def find_app(session: Session) -> Celeriac:
    """Return the app that -A names, or the project's own, with Django set up first where there is one."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    manage = find_manage()
    if session.app is None:
        return _project_app(manage)
    if SETTINGS in os.environ or (manage is not None and _lies_beside(session.app, manage)):
        set_up_django(manage)
    found = _named_app(session)
    if SETTINGS in os.environ:  # set by the module of the app, as Celery's guide has it
        set_up_django(None)
    return _checked(found, session)


def find_manage() -> Path | None:
    """Return the manage.py in this directory or the nearest one above it."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        path = directory / "manage.py"
        if path.is_file() and settings_of(path):
            return path
    return None


def settings_of(manage: Path) -> str | None:
    """Return the settings module that a manage.py falls back to."""
    try:
        found = _IN_MANAGE.search(manage.read_text(errors="replace"))
    except OSError:
        return None
    return found.group(1) if found else None


def set_up_django(manage: Path | None) -> None:
    """Set Django up, unless it is; with `manage` as running it would."""
    if manage is not None:
        if str(manage.parent) not in sys.path:
            sys.path.insert(0, str(manage.parent))
        os.environ.setdefault(SETTINGS, settings_of(manage) or "")
    settings = os.environ[SETTINGS]
    try:
        from celeriac.django.management import project
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "django":
            raise
        raise NotInstalled(
            f"{SETTINGS} is {settings}, but Django is not installed: pip install 'celeriac[django]'"
        ) from None
    try:
        project.set_up()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and _is_or_holds(error.name, settings):
            raise AppNotFound(
                f"{SETTINGS} is {settings!r}, and there is no such module here ({Path.cwd()})."
            ) from None
        raise ImproperlyConfigured(
            f"Django cannot be set up: {explain_import_error(settings, error)}"
        ) from error


# -- without -A


def _project_app(manage: Path | None) -> Celeriac:
    if SETTINGS not in os.environ and manage is None:
        raise AppNotFound(
            f"There is no app: {SETTINGS} is not set, and there is no manage.py here or above ({Path.cwd()}). "
            f"Name it:  celeriac -A module:attribute.{_found_here('')}"
        )
    set_up_django(manage)
    if registry.framework() is None:
        raise NotInstalled('celeriac is not in INSTALLED_APPS; add "celeriac.django".')
    if not registry.has_app():
        _import_if_there(os.environ[SETTINGS].partition(".")[0] + ".celery")
    app: Celeriac = registry.current_app()
    return app


def _import_if_there(name: str) -> None:
    """Import the celery.py of a project whose `__init__` does not."""
    try:
        if importlib.util.find_spec(name) is None:
            return
    except ModuleNotFoundError:
        return
    _import(name)


# -- with -A


def _named_app(session: Session) -> Any:
    """Return what -A names: an attribute, or the app in a module, looked for as Celery does."""
    name, colon, attribute = (session.app or "").partition(":")
    if colon:
        return _attribute(_import_named(name, session), attribute)
    parent, _, last = name.rpartition(".")
    if parent and not _exists(name):
        return _attribute(_import_named(parent, session), last)
    module = _import_named(name, session)
    for attribute in _ATTRIBUTES:
        found = getattr(module, attribute, None)
        if found is not None and not isinstance(found, ModuleType):
            return found
    for submodule in ("celery", "celeriac"):
        if hasattr(module, "__path__") and _exists(f"{name}.{submodule}"):
            return _in_module(_import(f"{name}.{submodule}"))
    return _in_module(module)


def _in_module(module: ModuleType) -> Any:
    for attribute in _ATTRIBUTES:
        found = getattr(module, attribute, None)
        if found is not None and not isinstance(found, ModuleType):
            return found
    apps = [value for value in vars(module).values() if isinstance(value, Celeriac)]
    if apps:
        return apps[0]
    if registry.framework() is not None:
        return registry.current_app()
    raise AppNotFound(
        f"There is no app in {module.__name__}: write `app = Celeriac(...)` there, or -A module:attribute."
    )


def _checked(found: Any, session: Session) -> Celeriac:
    if isinstance(found, Celeriac):
        return found
    cls = type(found)
    if cls.__module__.partition(".")[0] == "celery":
        raise AppNotFound(
            f"{session.app} is an app of Celery's. Change its import: from celeriac import Celeriac as Celery. "
            "Or have all of them changed:  celeriac migrate-from-celery --write"
        )
    raise AppNotFound(f"{session.app} is not a Celeriac app but of type {cls.__name__}.")


def _attribute(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), 1)
            hint = (
                f" Did you mean {near[0]!r}?"
                if near
                else f" To have the app looked for:  -A {module.__name__}"
            )
            raise AppNotFound(f"There is no {part!r} in {getattr(found, '__name__', found)}.{hint}")
        found = getattr(found, part)
    return found


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _import_named(name: str, session: Session) -> ModuleType:
    """Import a module that the user has named; raises AppNotFound if it is that name that is wrong."""
    try:
        return _import(name)
    except ModuleNotFoundError as error:
        if not _is_or_holds(error.name, name):
            raise
        source = (
            "" if session.app_source == "-A" else f" (from the environment variable {session.app_source})"
        )
        raise AppNotFound(f"There is no module {name!r}{source}.{_found_here(name)}") from None


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if _is_or_holds(error.name, name):
            raise
        raise TasksModuleError(explain_import_error(name, error)) from error
    except Exception as error:
        raise TasksModuleError(explain_import_error(name, error)) from error


def _is_or_holds(missing: str | None, name: str) -> bool:
    """Whether `missing` is `name` or a package that it would lie in."""
    return missing is not None and (name + ".").startswith(missing + ".")


def _lies_beside(name: str, manage: Path) -> bool:
    top = name.partition(":")[0].partition(".")[0]
    return (manage.parent / top).is_dir() or (manage.parent / f"{top}.py").is_file()


# -- what there is, for the texts of errors


def _found_here(wanted: str) -> str:
    """Return a sentence about the apps in this directory."""
    names = candidates(Path.cwd())
    near = difflib.get_close_matches(wanted, names, 1, cutoff=0.5)
    names = [*near, *(name for name in names if name not in near)][:3]
    without = "leave -A out" if wanted and (SETTINGS in os.environ or find_manage() is not None) else ""
    if not names:
        return f" Or {without}." if without else f" None was found in {Path.cwd()}."
    shown = ", ".join(f"{name} → `-A {name}`" for name in names)
    return f" Found here: {shown}{', or ' + without if without else ''}."


def candidates(directory: Path) -> list[str]:
    """Return names for -A that would be found in `directory`: packages and modules that make an app."""
    found = []
    for path in sorted(directory.iterdir()):
        if path.suffix == ".py" and path.is_file() and _makes_app(path):
            found.append(path.stem)
        elif path.is_dir() and any(
            _makes_app(path / f"{name}.py") for name in ("celery", "celeriac", "__init__")
        ):
            found.append(path.name)
    manage = directory / "manage.py"
    package = (settings_of(manage) or "").partition(".")[0] if manage.is_file() else ""
    if package and package not in found:
        found.append(package)
    return found


def _makes_app(path: Path) -> bool:
    try:
        return _MAKES_APP.search(path.read_text(errors="replace")) is not None
    except OSError:
        return False
