"""The Django project as the command line sees it: setting it up, and where its apps lie.

Called by `celeriac.cli` once it knows that there is a project. Never reads the database.
"""

import sysconfig
from pathlib import Path

import django
from django.apps import apps
from django.conf import settings


def set_up() -> None:
    """Set Django up, unless it is; raises whatever the project's modules raise."""
    if not apps.ready:
        django.setup()


def app_directories() -> dict[str, Path]:
    """Return the project's own apps, without installed packages: dotted name to directory."""
    libraries = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    found = {config.name: Path(config.path) for config in apps.get_app_configs()}
    ours = Path(__file__).parents[1]
    return {
        name: path
        for name, path in found.items()
        if path != ours and not any(library in path.parents for library in libraries)
    }


def installed(name: str) -> bool:
    """Whether an app of this dotted name is in INSTALLED_APPS."""
    return apps.is_installed(name)


def settings_name() -> str:
    """Return the name of the settings module."""
    return str(settings.SETTINGS_MODULE)


def version() -> str:
    """Return Django's version."""
    return django.get_version()
