"""A small Django project in a folder, and the command line run in it as a process of its own."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MANAGE = """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
SETTINGS = """\
SECRET_KEY = "not-a-secret"
INSTALLED_APPS = ["django.contrib.contenttypes", "celeriac.django", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": {"timeout": 60}}}
CELERY_TASK_PUBLISH_TIMEOUT = CELERY_BROKER_CONNECTION_TIMEOUT = 60  # whoever is slow is there
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "proj.urls"
DEBUG = True
USE_TZ = True
TIME_ZONE = "UTC"
"""
MODELS = """\
from django.db import models


class Order(models.Model):
    pass
"""
TASKS = """\
from celeriac import shared_task


@shared_task
def send_receipt(order): ...


@shared_task
def add(x, y):
    return x + y
"""
#: Seconds that a command or a worker's end may take on a busy machine.
PATIENCE = 200.0
#: What must not reach the processes from the outside.
_STRANGE = ("DJANGO_SETTINGS_MODULE", "CELERY_", "CELERIAC_", "APP", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


class Project:
    """A Django project with one app, `shop`, that has two tasks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("manage.py", MANAGE)
        self.write("proj/__init__.py", "")
        self.write("proj/settings.py", SETTINGS)
        self.write("proj/urls.py", "urlpatterns = []\n")
        self.write("shop/__init__.py", "")
        self.write("shop/models.py", MODELS)
        self.write("shop/tasks.py", TASKS)

    def write(self, path: str, text: str) -> Path:
        """Write a file of the project."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, as editors do: somebody may be watching.
        hidden = file.with_name(f".{file.name}.new")
        hidden.write_text(text)
        hidden.replace(file)
        return file

    def set(self, line: str) -> None:
        """Add a line to the settings."""
        self.write("proj/settings.py", SETTINGS + line + "\n")

    def migrate(self) -> None:
        """Make the tables."""
        found = self.run(sys.executable, "manage.py", "migrate", "--run-syncdb", "-v0")
        assert found.returncode == 0, found.stderr

    def celeriac(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the console script."""
        return self.run(sys.executable, "-m", "celeriac", *words, **environment)

    def manage(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run manage.py."""
        return self.run(sys.executable, "manage.py", *words, **environment)

    def python(
        self, code: str, *words: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script with Django set up."""
        script = self.write("script.py", "import django\n\ndjango.setup()\n\n" + code)
        settings = {"DJANGO_SETTINGS_MODULE": "proj.settings"}
        return self.run(sys.executable, script.name, *words, stdin=stdin, **{**settings, **environment})

    @contextlib.contextmanager
    def worker(self, *words: str) -> Iterator[None]:
        """Have a worker within a block, of one process unless `words` say more; it must stop with status 0."""
        command = [sys.executable, "manage.py", "celeriac", "worker", *(words or ("-c", "1"))]
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=clean_environment({}), stdin=subprocess.DEVNULL, stderr=log
            )
            try:
                yield
                process.terminate()
                assert process.wait(PATIENCE) == 0, (self.folder / "worker.log").read_text()
            finally:
                process.kill()
                process.wait(PATIENCE)

    def run(self, *command: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=clean_environment(environment),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def clean_environment(more: dict[str, str]) -> dict[str, str]:
    """Return this process's environment without what would tell the command line something."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_STRANGE)}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"} | more
