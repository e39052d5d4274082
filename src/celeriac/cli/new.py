"""`celeriac new` and `celeriac demo`: a Django project that has tasks and a schedule, ready to run.

Django's own commands make the project, its tables and a user for the admin, in processes of their own. Nothing that is
there is written over.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from celeriac.cli import finding, starting
from celeriac.cli.program import Command, Session
from celeriac.errors import NotInstalled

NEW_EXAMPLES = """\b
Examples:
  celeriac new shop && cd shop && python manage.py celeriac dev
"""
DEMO_EXAMPLES = """\b
Examples:
  celeriac demo
  celeriac demo --port 8001 --open
"""
USER = "admin"
_PATIENCE = 120.0  # seconds that one of Django's commands may take


class Failed(click.ClickException):
    """One of Django's commands did not do it. The text is its own."""


@click.command("new", cls=Command, epilog=NEW_EXAMPLES)
@click.argument("name")
@click.pass_obj
def new(session: Session, name: str) -> int:
    """Make a Django project with tasks and a schedule."""
    folder = Path.cwd() / name
    if folder.exists():
        raise Failed(f"{name} is there already. Name another, or take it away.")
    password = make_project(folder, name, starting.NEW_TASKS, starting.NEW_SCHEDULE)
    click.echo(
        f"{name} is made: tasks in {name}/{name}/tasks.py, tables in {name}/db.sqlite3, and for the admin the user "
        f"{USER} with the password {password}\n\n  cd {name}\n  python manage.py celeriac dev"
    )
    return 0


@click.command("demo", cls=Command, epilog=DEMO_EXAMPLES)
@click.option("--port", default=8000, show_default=True, metavar="N", help="Port of the web server.")
@click.option("--open", "opens", is_flag=True, help="Open the site in the browser.")
@click.pass_obj
def demo(session: Session, port: int, opens: bool) -> int:
    """Run tasks and a schedule in a project that is gone again afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="celeriac-demo-"))
    try:
        project = folder / "demo"
        password = make_project(project, "demo", starting.DEMO_TASKS, starting.DEMO_SCHEDULE)
        click.echo(
            f"\n  A project with six tasks, in {project} until this ends.\n"
            f"  Log in to its admin as {USER} with the password {password}"
        )
        words = ["dev", "--port", str(port), *(["--open"] if opens else [])]
        colour = ["-C"] if session.no_color else []
        return _wait([sys.executable, "manage.py", "celeriac", *colour, *words], project)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_project(folder: Path, name: str, tasks: str, schedule: tuple[tuple[str, str, int], ...]) -> str:
    """Make a project with its tables and an admin user, whose password is returned; nothing is left if it fails."""
    if importlib.util.find_spec("django") is None:
        raise NotInstalled("There is no Django here. Install it:  pip install 'celeriac[django]'")
    folder.mkdir(parents=True)
    try:
        _run([sys.executable, "-m", "django", "startproject", name, "."], folder)
        with (folder / name / "settings.py").open("a") as file:
            file.write(starting.settings(name, schedule))
        (folder / name / "tasks.py").write_text(tasks.format(name=name))
        _run([sys.executable, "manage.py", "migrate", "-v0"], folder)
        password = secrets.token_urlsafe(6)
        words = ["createsuperuser", "--noinput", "--username", USER, "--email", "admin@example.com"]
        _run([sys.executable, "manage.py", *words], folder, DJANGO_SUPERUSER_PASSWORD=password)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return password


def _environment(**more: str) -> dict[str, str]:
    """This process's environment, without the project that it may name."""
    return {name: value for name, value in os.environ.items() if name != finding.SETTINGS} | more


def _run(command: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if done.returncode:
        raise Failed(done.stdout.strip())


def _wait(command: list[str], folder: Path) -> int:
    """Run a command until it ends, whatever this process is told; return its exit status."""
    process = subprocess.Popen(command, cwd=folder, env=_environment())
    # Ctrl-C and the terminal's end reach it as they reach this process.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    return process.wait()
