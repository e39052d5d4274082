"""The tutorial, from an empty folder on: its commands in a new virtual environment, its files, what its pages show."""

import http.client
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, TOP, Block, blocks
from tests.docs.terminal import Command, Terminal, commands, has_line
from tests.servers import free_port

TUTORIAL = DOCS / "tutorial.md"
PORT_IN_TEXT = "127.0.0.1:8000"
#: Packages in the environment after the installation, pip and setuptools not counted.
MOST_PACKAGES = 10
SOON = 200.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]


class Reader:
    """Does what the page says, block by block."""

    def __init__(self, folder: Path, state: Path, environment: dict[str, str], port: int) -> None:
        self.terminal = Terminal(folder, state, environment)
        self.address = f"127.0.0.1:{port}"
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self._pause = threading.Event()
        self.names: dict[str, object] = {"fetch": self.fetch, "log_in": self.log_in}

    def here(self, text: str) -> str:
        return text.replace(PORT_IN_TEXT, self.address)

    def follow(self, block: Block) -> None:
        kind = block.language
        if block.hidden:
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(block.page), "exec"), self.names)
        elif kind == "python":
            self.write(block)
        elif kind == "pycon":
            self.type_into_shell(block)
        elif kind == "text" and block.words[:1] == ("output",):
            self.see(block)
        elif kind == "console" and "run" in block.words:
            for command in commands(self.here(block.text)):
                if "background" in block.words:
                    self.terminal.start(command)
                else:
                    self.terminal.run(command)
        else:
            raise AssertionError(f"{block.name}: what is to be done with this?")

    def write(self, block: Block) -> None:
        path = self.terminal.folder / block.attributes["title"]
        assert path.parent.is_dir(), f"{block.name}: no folder {path.parent}"
        with path.open("a" if "append" in block.words else "w") as file:
            file.write(block.text)

    def see(self, block: Block) -> None:
        """Wait until what runs in the background has said all lines, in whatever order."""
        running = self.terminal.running[-1]
        deadline = time.monotonic() + SOON
        for line in block.text.splitlines():
            running.await_that(lambda output, line=line: has_line(output, line), line, deadline)

    def type_into_shell(self, block: Block) -> None:
        script = self.terminal.folder.parent / "session.py"
        script.write_text(
            "import doctest, os, sys, django\n"
            "sys.path.insert(0, os.getcwd())\n"
            "os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\n"
            "django.setup()\n"
            f"test = doctest.DocTestParser().get_doctest({block.text!r}, {{}}, 'tutorial', None, {block.line})\n"
            "flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE\n"
            "runner = doctest.DocTestRunner(optionflags=flags)\n"
            "runner.run(test)\n"
            "sys.exit(runner.failures > 0)\n"
        )
        (command,) = commands(f"$ python {script}\n")
        self.terminal.run(command)

    # -- for the hidden blocks

    def fetch(self, path: str, data: dict[str, str] | None = None) -> str:
        """Return a page's text."""
        body = None if data is None else urllib.parse.urlencode(data).encode()
        deadline = time.monotonic() + SOON
        while True:
            try:
                with self._browser.open(f"http://{self.address}{path}", body, timeout=60) as reply:
                    text: str = reply.read().decode()
                return text
            except urllib.error.HTTPError as error:
                raise AssertionError(f"{path}: {error.code}\n{error.read().decode()[:2000]}") from error
            except (urllib.error.URLError, http.client.HTTPException, OSError):
                # It is said to be there a moment before it listens, and starts anew when a file has changed.
                assert time.monotonic() < deadline, path
                self._pause.wait(0.1)

    def log_in(self, user: str, password: str) -> None:
        """Log in to the admin."""
        form = self.fetch("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert token is not None
        fields = {"csrfmiddlewaretoken": token[1], "username": user, "password": password, "next": "/admin/"}
        assert "Site administration" in self.fetch("/admin/login/", fields)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as a wheel, in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(TOP),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SOON, check=False)
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(done.stderr)
        pytest.skip("the package cannot be built here, for want of a package index perhaps")
    (made,) = folder.glob("celeriac-*.whl")
    return made


def find_links(wheel: Path) -> str:
    """Return where pip is to look besides its index: where it looks anyway, and the wheel's folder."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    configured = subprocess.run(
        asked, capture_output=True, text=True, timeout=SOON, check=False
    ).stdout.split()
    return " ".join(
        dict.fromkeys([*os.environ.get("PIP_FIND_LINKS", "").split(), *configured, str(wheel.parent)])
    )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Reader]:
    tmp_path = tmp_path_factory.mktemp("tutorial")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    port = free_port()
    (tmp_path / "constraints.txt").write_text(f"celeriac=={wheel.name.split('-')[1]}\n")
    dropped = ("CELER", "DJANGO", "VIRTUAL_ENV", "PYTHON", "COV", "FORCE_COLOR", "PYTEST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PIP_FIND_LINKS": find_links(wheel),
        "PIP_CONSTRAINT": str(tmp_path / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "CELERIAC_DEV_PORT": str(port),
        "PYTHONIOENCODING": "utf-8",
        "NO_COLOR": "1",
        "TERM": "xterm",
    }
    folder = tmp_path / "empty"
    folder.mkdir()
    reader = Reader(folder, tmp_path, environment, port)
    with reader.terminal:
        yield reader


def test_the_tutorial_works_as_it_is_written(reader: Reader) -> None:
    for block in blocks(TUTORIAL):
        reader.follow(block)
    (dev,) = reader.terminal.running
    assert dev.interrupt() == 0, dev.output
    folder = reader.terminal.folder
    (installed,) = (folder / ".venv" / "lib").glob("python3*/site-packages/celeriac/app.py")
    assert installed.read_bytes() == (TOP / "src" / "celeriac" / "app.py").read_bytes(), (
        "another celeriac was installed"
    )
    packages = [path.name.partition("-")[0] for path in installed.parents[1].glob("*.dist-info")]
    assert len(set(packages) - {"pip", "setuptools"}) <= MOST_PACKAGES, packages


class Stopwatch:
    """How long each step took, in seconds."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps[step] = round(time.monotonic() - began, 2)


def test_the_first_run_in_a_project_that_is_there(reader: Reader) -> None:
    """Three commands and one line, of which the first, the installation, is the tutorial's: then a task is seen."""
    virtual = reader.terminal.folder / ".venv"
    if not (virtual / "bin" / "celeriac").exists():
        pytest.skip("the tutorial did not get as far as the installation")
    terminal = reader.terminal
    terminal.run(Command("cd .. && mkdir there && cd there && django-admin startproject site_there .", ()))
    terminal.run(Command("python manage.py migrate -v0", ()))
    user = "DJANGO_SUPERUSER_PASSWORD=pw python manage.py createsuperuser --noinput"
    terminal.run(Command(f"{user} --username admin --email a@example.com", ("...",)))
    there, watch = terminal.folder, Stopwatch()
    with (there / "site_there" / "settings.py").open("a") as file:
        file.write('INSTALLED_APPS += ["celeriac.django"]\n')
    with watch("migrate"):
        terminal.run(
            Command("python manage.py migrate", ("...", "  Applying celeriac.0001_initial... OK", "..."))
        )
    with watch("dev"):
        dev = terminal.start(Command("python manage.py celeriac dev", ("...", "  admin     ...", "...")))
    # Their first task, written while all runs.
    (there / "sums").mkdir()
    (there / "sums" / "__init__.py").touch()
    (there / "sums" / "tasks.py").write_text(
        "from celeriac import shared_task\n\n\n@shared_task\ndef add(x, y):\n    return x + y\n"
    )
    with watch("reload"), (there / "site_there" / "settings.py").open("a") as file:
        file.write('INSTALLED_APPS += ["sums"]\n')
        file.flush()
        dev.await_that(
            lambda output: "restarted in" in output, "it is on the new code", time.monotonic() + SOON
        )
    reader.log_in("admin", "pw")
    sent = terminal.run(
        Command("python manage.py shell -c 'from sums.tasks import add; print(add.delay(2, 3).id)'", ("...",))
    )
    task_id = sent.split()[-1]
    with watch("seen"):
        dev.await_that(lambda output: "✓ add(2, 3)" in output, "the task is done", time.monotonic() + SOON)
        listing = reader.fetch(f"/admin/celeriac/taskresult/?q={task_id}")
    assert "add" in listing and "SUCCESS" in listing.upper()
    assert dev.interrupt() == 0, dev.output
    print(f"First run, in seconds: {watch.steps}")


def test_everything_on_the_page_is_run() -> None:
    for block in blocks(TUTORIAL):
        assert block.language != "console" or "run" in block.words, block.name
        assert block.language != "python" or block.hidden or block.attributes.get("title"), block.name
