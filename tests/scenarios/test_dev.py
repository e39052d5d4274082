"""`celeriac dev` and `worker --reload` as somebody at a terminal has them: start, edit, break, mend, stop.

The program runs on a terminal of its own (a pty) in a project of its own; what it started is found again by its
session's processes, so that none is left behind.
"""

import codecs
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.small_project import MANAGE, PATIENCE, Project, clean_environment
from tests.servers import free_port

#: Running tasks have ten minutes to end: nothing ends here because that time is over.
PATIENT = MANAGE.replace(
    "    execute_from", "    from celeriac.cli import reload\n\n    reload.GRACE = 600.0\n    execute_from"
)
TASKS = """\
import time
from pathlib import Path

from celeriac import shared_task


@shared_task
def greet(name):
    Path("said").write_text("{0} " + name)


@shared_task
def nap():
    Path("begun").touch()
    while not Path("enough").exists():
        time.sleep(0.02)
    Path("rested").touch()
"""


class Session:
    """A command on a terminal."""

    def __init__(self, project: Project, *command: str, **environment: str) -> None:
        self.project = project
        ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=project.folder,
            env=clean_environment(
                {"TERM": "xterm", "PYTHONWARNINGS": "error", "COLUMNS": "200"} | environment
            ),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._terminal = ours
        self._text = ""
        self._seen = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # A character of several bytes may come in two pieces.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while True:
            try:
                data = os.read(self._terminal, 1 << 16)
            except OSError:  # the last process has closed it
                return
            if not data:
                return
            self._text += decoder.decode(data)

    @property
    def text(self) -> str:
        """All that was written, without colours."""
        return re.sub("\x1b\\[[0-9;]*m", "", self._text).replace("\r\n", "\n")

    def sees(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait for new text that matches, after what was seen before."""
        found: list[re.Match[str]] = []

        def matches() -> bool:
            match = re.compile(pattern).search(self.text, self._seen)
            if match is not None:
                found.append(match)
            return match is not None

        until(matches, lambda: f"{pattern!r} is written:\n{self.text[self._seen :]}", seconds)
        self._seen = found[0].end()
        return found[0]

    def descendants(self) -> set[int]:
        """Return the processes below the command's, its own included."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                state, parent = stat.rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
        found = {self.process.pid}
        while True:
            more = {pid for pid, parent in parents.items() if parent in found} | found
            if more == found:
                return found
            found = more

    def press_ctrl_c(self) -> None:
        """What the terminal does at Ctrl-C: SIGINT to the group in front."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for the command's end, and for its last words; return its exit status."""
        status = self.process.wait(seconds)
        self._reader.join(seconds)
        assert not self._reader.is_alive(), f"nobody holds the terminal any more:\n{self.text}"
        return status

    def close(self) -> None:
        for pid in self.descendants():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._terminal)


def until(condition, what, seconds: float = PATIENCE) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Within {seconds:g} s not: {what()}"
        select.select([], [], [], 0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_gone(pids: set[int]) -> None:
    until(lambda: not any(map(alive, pids)), lambda: f"ended: {[pid for pid in pids if alive(pid)]}")


@pytest.fixture
def project(tmp_path: Path, migrated: Path) -> Project:
    (tmp_path / "db.sqlite3").write_bytes(migrated.read_bytes())
    made = Project(tmp_path)
    made.write("manage.py", PATIENT)
    made.write("shop/tasks.py", TASKS.replace("{0}", "hello"))
    return made


@pytest.fixture
def sessions(project: Project) -> Iterator[list[Session]]:
    opened: list[Session] = []
    yield opened
    for session in opened:
        session.close()


def start(sessions: list[Session], project: Project, *words: str, **environment: str) -> Session:
    session = Session(project, sys.executable, "manage.py", "celeriac", *words, **environment)
    sessions.append(session)
    return session


def send(project: Project, call: str) -> None:
    # Not a file of the project's: that would be a change, too.
    code = f"import django; django.setup(); from shop.tasks import greet, nap; {call}"
    done = project.run(sys.executable, "-c", code, DJANGO_SETTINGS_MODULE="proj.settings")
    assert done.returncode == 0, done.stderr


def said(project: Project) -> str:
    file = project.folder / "said"
    return file.read_text() if file.exists() else ""


def test_a_session_at_the_terminal(sessions: list[Session], project: Project) -> None:
    port, opened = free_port(), project.folder / "opened"
    browser = project.write("browser", f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    words = ("dev", "--port", str(port), "-c", "1", "--open")
    dev = start(sessions, project, *words, BROWSER=f"{browser} %s")
    dev.sees(r"development: web \+ worker")
    dev.sees(rf"site +http://127\.0\.0\.1:{port}/")
    dev.sees(r"queue +django://default")
    dev.sees(r"worker +1 process · celery")
    dev.sees(r"tasks +2 in shop")
    dev.sees(r"reload +on, watching \d+ files")
    dev.sees("Ctrl-C stops everything")

    def answers() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).close()
        except OSError:
            return False
        return True

    until(answers, lambda: f"the site answers:\n{dev.text}")
    dev.sees(r"\d\d:\d\d:\d\d\.\d{3} web   GET / 200")
    until(opened.exists, lambda: f"the browser is opened:\n{dev.text}")
    until(lambda: opened.read_text() == f"http://127.0.0.1:{port}/\n", "it is shown the site")

    send(project, "greet.delay(name='Ada')")
    dev.sees(r"task  ✓ greet\(name='Ada'\)  [\d.]+ m?s  waited ")
    assert said(project) == "hello Ada"

    project.write("shop/tasks.py", TASKS.replace("{0}", "good morning,"))
    dev.sees(r"dev   ⟳ shop/tasks\.py changed, restarted in \d+\.\d s")
    send(project, "greet.delay(name='Grace')")
    dev.sees(r"✓ greet\(name='Grace'\)")
    assert said(project) == "good morning, Grace"

    pids = dev.descendants()
    assert len(pids) >= 4
    dev.press_ctrl_c()
    assert dev.ends() == 0, dev.text
    all_gone(pids)
    assert "Traceback" not in dev.text


def test_a_broken_module_waits_for_the_next_save(sessions: list[Session], project: Project) -> None:
    project.write("shop/tasks.py", "import notthere\n" + TASKS)
    dev = start(sessions, project, "dev", "--no-web", "-c", "1")
    dev.sees(r"E114: shop/tasks\.py, line 1: import notthere → ModuleNotFoundError")
    dev.sees("the worker ended with exit status 3; waiting for the next save")
    project.write("shop/tasks.py", TASKS.replace("{0}", "hello"))
    dev.sees(r"⟳ shop/tasks\.py changed, restarted in")
    dev.sees("tasks +2 in shop")
    project.write("shop/tasks.py", "def x(:\n")
    dev.sees(r"E114: shop/tasks\.py, line 1: def x\(: → SyntaxError")
    dev.sees(r"⟳ shop/tasks\.py changed: the worker ended with exit status 3; waiting for the next save")
    project.write("shop/tasks.py", TASKS.replace("{0}", "again"))
    dev.sees(r"⟳ shop/tasks\.py changed, restarted in")
    send(project, "greet.delay(name='Ada')")
    dev.sees(r"✓ greet\(name='Ada'\)")
    dev.press_ctrl_c()
    assert dev.ends() == 0
    assert "Traceback" not in dev.text


def test_a_project_without_tasks_gets_its_first_one(sessions: list[Session], project: Project) -> None:
    (project.folder / "shop/tasks.py").unlink()
    dev = start(sessions, project, "dev", "--no-web", "-c", "1")
    dev.sees(r"tasks +none yet: @shared_task above")
    advice = "! No tasks found. Looked for tasks.py in: shop. Write one:"
    until(lambda: advice in dev.text, lambda: f"it says how:\n{dev.text}")
    project.write("shop/tasks.py", TASKS.replace("{0}", "hello"))
    dev.sees(r"⟳ shop/tasks\.py changed, restarted in")
    send(project, "greet.delay(name='Ada')")
    dev.sees(r"✓ greet\(name='Ada'\)")


def test_ctrl_c_lets_a_running_task_end(sessions: list[Session], project: Project) -> None:
    dev = start(sessions, project, "dev", "--no-web", "-c", "1")
    dev.sees("tasks +2 in shop")
    dev.sees("This beat is elected")
    send(project, "nap.delay()")
    until((project.folder / "begun").exists, lambda: f"the task begins:\n{dev.text}")
    dev.press_ctrl_c()
    dev.sees("stopping when running tasks are done")
    dev.sees(r"beat  .* has stopped\.")  # a part of the worker, which was asked to end
    project.write("enough", "")
    assert dev.ends() == 0
    assert (project.folder / "rested").exists()
    assert "✓ nap  " in dev.text


def test_ctrl_c_twice_stops_at_once(sessions: list[Session], project: Project) -> None:
    dev = start(sessions, project, "dev", "--no-web", "-c", "1")
    dev.sees("tasks +2 in shop")
    send(project, "nap.delay()")
    until((project.folder / "begun").exists, lambda: f"the task begins:\n{dev.text}")
    pids = dev.descendants()
    dev.press_ctrl_c()
    dev.sees("stopping when running tasks are done")
    dev.press_ctrl_c()
    assert dev.ends() == 0
    all_gone(pids)
    assert not (project.folder / "rested").exists()


def test_a_restart_lets_a_running_task_end(sessions: list[Session], project: Project) -> None:
    dev = start(sessions, project, "dev", "--no-web", "-c", "1")
    dev.sees("tasks +2 in shop")
    dev.sees("This beat is elected")
    send(project, "nap.delay()")
    until((project.folder / "begun").exists, lambda: f"the task begins:\n{dev.text}")
    project.write("shop/tasks.py", TASKS.replace("{0}", "new"))
    dev.sees(r"beat  .* has stopped\.")  # a part of the worker, which was asked to end
    project.write("enough", "")
    dev.sees("✓ nap  ")
    dev.sees("restarted in")
    send(project, "greet.delay('Ada')")
    dev.sees(r"✓ greet\('Ada'\)")
    assert said(project) == "new Ada"


def test_a_schedule_is_kept_and_reloaded(sessions: list[Session], project: Project) -> None:
    entry = (
        "CELERY_BEAT_SCHEDULE = {'often': {'task': 'shop.tasks.greet', 'schedule': 0.5, 'args': ['Ada']}}\n"
    )
    settings = (project.folder / "proj/settings.py").read_text()
    project.write("proj/settings.py", settings + entry)
    row = "from celeriac.django.models import Schedule; "
    send(project, row + "Schedule(name='rarely', task='shop.tasks.greet', every=9e6, args=['Eve']).save()")
    dev = start(sessions, project, "dev", "--no-web", "-c", "1")
    dev.sees(r"development: worker \+ beat")
    dev.sees(r"schedule +2 entries: often, rarely")
    dev.sees(r"beat  .* ready\. Entries: ")
    dev.sees(r"✓ greet\('Ada'\)")
    project.write("proj/settings.py", settings + entry.replace("Ada", "Bob"))
    dev.sees("restarted in")
    dev.sees(r"✓ greet\('Bob'\)")
    dev.press_ctrl_c()
    assert dev.ends() == 0


def test_nothing_is_left_when_it_is_killed(sessions: list[Session], project: Project) -> None:
    dev = start(sessions, project, "dev", "--port", str(free_port()), "-c", "1")
    dev.sees("tasks +2 in shop")
    send(project, "greet.delay('Ada')")
    dev.sees(r"✓ greet")
    pids = dev.descendants()
    os.kill(dev.process.pid, signal.SIGKILL)
    all_gone(pids)


def test_a_port_that_is_taken(sessions: list[Session], project: Project) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        dev = start(sessions, project, "dev", "--port", str(listener.getsockname()[1]), "-c", "1")
        dev.sees("web   Error: That port is already in use")
        dev.sees("dev   the web server ended with exit status 1; stopping")
        assert dev.ends() == 1


def test_missing_tables_end_it(sessions: list[Session], project: Project) -> None:
    (project.folder / "db.sqlite3").unlink()
    dev = start(sessions, project, "dev", "--no-web")
    dev.sees(r"E112: The database lacks \d+ celeriac migrations?")
    assert dev.ends() == 3


def test_what_is_not_started_cannot_be_opened(project: Project) -> None:
    done = project.manage("celeriac", "dev", "--no-web", "--open")
    assert done.returncode == 2
    assert "--open shows the web server's site, which --no-web leaves out." in done.stderr


def test_outside_of_django(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celeriac", "dev"],
        cwd=tmp_path, env=clean_environment({}), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("E123: `celeriac dev` is for Django projects:")


def test_worker_with_reload(sessions: list[Session], project: Project) -> None:
    worker = start(sessions, project, "worker", "--reload", "-c", "1")
    worker.sees(r"watching \d+ files")
    worker.sees("pool +prefork, 1 process")
    worker.sees("ready")
    project.write("shop/tasks.py", TASKS.replace("{0}", "new"))
    worker.sees(r"⟳ shop/tasks\.py changed, restarted in")
    send(project, "greet.delay('Ada')")
    worker.sees(r"✓ greet")
    assert said(project) == "new Ada"
    pids = worker.descendants()
    worker.press_ctrl_c()
    assert worker.ends() == 0
    all_gone(pids)
    assert worker.text.count("pool ") == 1


def test_signals_that_come_at_once_end_it(sessions: list[Session], project: Project) -> None:
    worker = start(sessions, project, "worker", "--reload", "-c", "1")
    worker.sees("ready")
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
        os.kill(worker.process.pid, number)
    assert worker.ends() == 0, worker.text


def test_a_project_of_thousands_of_tasks(sessions: list[Session], project: Project) -> None:
    """More than a pipe holds, through which the worker tells of them."""
    more = (
        "for n in range(3000):\n    shared_task(name=f'shop.tasks.number-{n}-of-very-many')(lambda: None)\n"
    )
    project.write("shop/tasks.py", TASKS.replace("{0}", "hello") + more)
    dev = start(sessions, project, "dev", "--no-web", "-c", "1")
    dev.sees("tasks +3002 in shop")
    dev.press_ctrl_c()
    assert dev.ends() == 0, dev.text
