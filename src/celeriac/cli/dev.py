"""`celeriac dev`: Django's development server and a worker with beat in one terminal, all on the newest code.

This process starts both, shows who says what, and stops both: at the first Ctrl-C when the running tasks are done,
at the second at once. It imports nothing of the project itself; the server reloads by its own means.
"""

import os
import sys
import time
from pathlib import Path

import click

from celeriac import __version__
from celeriac.cli import failures, finding
from celeriac.cli.banner import Facts, slots, table_row
from celeriac.cli.logs import escaped
from celeriac.cli.opening import Opening
from celeriac.cli.options import Arguments, read_concurrency, read_level, read_names
from celeriac.cli.paint import Paint, wants_colour
from celeriac.cli.processes import Process
from celeriac.cli.program import Command, Session
from celeriac.cli.reload import GRACE, Interrupts, Reloading, wait
from celeriac.cli.watching import Watch, project_roots
from celeriac.cli.weblog import WebLines
from celeriac.errors import AppNotFound
from celeriac.unread import IN_DEV
from celeriac.worker.options import WorkerOptions

EXAMPLES = """\b
Examples:
  python manage.py celeriac dev
  python manage.py celeriac dev --port 8001 -c 2
  python manage.py celeriac dev --open
  celeriac dev --no-web -Q mails
"""
_NO_TASKS = "none yet: @shared_task above a function in an app's tasks.py makes one"
_WEB_PATIENCE = 3.0
_HEADER_PATIENCE = 5.0  # seconds that the server's lines wait for the worker to have told what it is


@click.command("dev", cls=Command, epilog=EXAMPLES)
@click.option("--port", default=8000, show_default=True, metavar="N", help="Port of the web server.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address of the web server."
)
@click.option("--no-web", is_flag=True, help="Only the worker.")
@click.option("--open", "opens", is_flag=True, help="Open the site in the browser.")
@click.option(
    "-c", "--concurrency", callback=read_concurrency, metavar="N", help="Processes. [one for each CPU]"
)
@click.option("-Q", "--queues", callback=read_names, metavar="A,B", help="Queues to read. [as `worker`]")
@click.option(
    "-l",
    "--loglevel",
    default="INFO",
    callback=read_level,
    metavar="LEVEL",
    help="[info]",
)
@click.pass_obj
def dev(
    session: Session,
    port: int,
    host: str,
    no_web: bool,
    opens: bool,
    concurrency: int | None,
    queues: tuple[str, ...],
    loglevel: str,
) -> int:
    """Run web server, worker and beat in one terminal, reloading on change (Django)."""
    if opens and no_web:
        raise click.UsageError("--open shows the web server's site, which --no-web leaves out.")
    manage = finding.find_manage()
    if manage is None and finding.SETTINGS not in os.environ:
        raise AppNotFound(
            f"`celeriac dev` is for Django projects: there is no manage.py here or above ({Path.cwd()}), and "
            f"{finding.SETTINGS} is not set. For others: celeriac -A module:attribute worker --reload"
        )
    options = WorkerOptions(concurrency=concurrency, queues=queues, loglevel=loglevel)
    command = [*session.again(), *Arguments(options, beat=True, tag="task").words(), "--no-banner"]
    web = None if no_web else [*_manage_command(session, manage), "runserver", f"{host}:{port}"]
    site = "" if no_web else f"http://{host}:{port}/"
    terminal = Terminal(command, web, site, Watch(project_roots(manage)), session)
    if opens:
        terminal.opening = Opening(host, port, terminal.say)
    return terminal.run()


def _manage_command(session: Session, manage: Path | None) -> list[str]:
    """Return how to run a command of Django's: through the manage.py that this came through, or the one found."""
    if session.launcher[-1] == "celeriac" and len(session.launcher) > 2:
        return list(session.launcher[:-1])
    return [sys.executable, str(manage)] if manage is not None else [sys.executable, "-m", "django"]


def _entries(names: list[str]) -> str:
    if not names:
        return ""
    return f"{len(names)} entr{'y' if len(names) == 1 else 'ies'}: {_first(names, 4)}"


def _first(names: list[str], most: int) -> str:
    return f"{', '.join(names[:most])}{', …' if len(names) > most else ''}"


class Terminal:
    """The terminal of `celeriac dev`: two processes and what they say."""

    def __init__(
        self, command: list[str], web: list[str] | None, site: str, watch: Watch, session: Session
    ) -> None:
        self._paint = Paint(wants_colour(sys.stderr, session.no_color))
        self._site = site
        self._watch = watch
        self._web_command = web
        self._web: Process | None = None
        self._web_lines = WebLines(self._paint)
        self._web_ended: int | None = None
        self._held: list[str] | None = []  # lines from before the header; None once they need not wait
        self._headed = False
        self._worker = Reloading(command, watch, self.say)
        self._worker.on_ready = self._header
        self._began = time.time()
        self._asked = 0
        #: What opens the site in the browser, if it is to be opened.
        self.opening: Opening | None = None

    def run(self) -> int:
        """Run both until told to stop; return 0 if they stopped as they should."""
        with Interrupts().caught() as interrupts:
            try:
                self._worker.start()
                if self._web_command is not None:
                    self._web = Process(self._web_command, pipe_output=True, environment={IN_DEV: "1"})
                if self.opening is not None:
                    self.opening.start()
                while self._worker.status is None:
                    until = self._worker.turn(time.monotonic())
                    self._wait(interrupts, until)
                    self._hear(interrupts.count)
            finally:
                self._close()
        if self._asked and self._worker.status in (failures.OK, failures.PROBLEM):
            return failures.OK
        return self._worker.status or (failures.PROBLEM if self._web_ended else failures.OK)

    def _wait(self, interrupts: Interrupts, until: float) -> None:
        if self._worker.status is not None:
            return
        web = self._web.output.fileno() if self._web is not None else None
        readable = wait(interrupts, [*self._worker.descriptors(), *([web] if web is not None else [])], until)
        if web in readable and self._web is not None:
            data = os.read(self._web.output.fileno(), 1 << 16)
            for line in self._web_lines.feed(data):
                self._print(line)
            if not data:
                self._lose_web(self._web)

    def _lose_web(self, web: Process) -> None:
        self._web = None
        self._web_ended = web.end(_WEB_PATIENCE)
        if not self._asked:
            self.say(f"the web server ended with exit status {self._web_ended}; stopping")
            self._worker.leave()

    def _hear(self, count: int) -> None:
        """Act on Ctrl-C: `count` is how often it came."""
        if count == self._asked:
            return
        if self._asked:
            self._worker.hurry()
            if count > 2:
                self._worker.hurry()
        else:
            self.say(
                f"stopping when running tasks are done, in {GRACE:g} s at most; Ctrl-C once more stops at once"
            )
            if self._web is not None:
                self._web.ask()
            self._worker.leave()
        self._asked = count

    def _close(self) -> None:
        if self.opening is not None:
            self.opening.stop()
        self._release()
        self._worker.close()
        if self._web is not None:
            self._web.ask()
            self._web.end(_WEB_PATIENCE)

    # -- what is shown

    def _header(self, facts: Facts) -> None:
        if self._headed:
            return
        self._headed = True
        if facts["zone"]:  # Django makes its TIME_ZONE the process's: all lines are to tell one time
            os.environ["TZ"] = facts["zone"]
            time.tzset()
        paint = self._paint
        packages = sorted({name.rpartition(".")[0].removesuffix(".tasks") for name in facts["tasks"]})
        free = (
            "  (no server needed; CELERY_BROKER_URL names another)"
            if facts["broker"].startswith("django:")
            else ""
        )
        rows = [
            ("site", self._site),
            ("admin", self._address(facts.get("pages", {}).get("admin", ""))),
            ("queue", facts["broker"] + paint(free, "dim")),
            ("results", facts["results"]),
            ("worker", f"{slots(facts)} · {', '.join(facts['queues'])}"),
            ("tasks", f"{len(facts['tasks'])} in {_first(packages, 6)}" if packages else _NO_TASKS),
            ("schedule", _entries(facts.get("schedule", []))),
            ("reload", f"on, watching {self._watch.count} files"),
        ]
        title = f"  {paint('celeriac', 'green', 'bold')} {__version__}   {paint(self._title(facts), 'dim')}"
        table = [line for name, value in rows if value for line in table_row(name, value, paint)]
        foot = f"  Ctrl-C stops everything after running tasks end ({GRACE:g} s at most); twice stops at once"
        self._write("\n".join(["", title, "", *table, "", paint(foot, "dim"), ""]))
        self._release()

    def _title(self, facts: Facts) -> str:
        parts = [*(["web"] if self._site else []), "worker", *(["beat"] if "schedule" in facts else [])]
        return f"development: {' + '.join(parts)}{' in one terminal' if len(parts) > 1 else ''}"

    def _address(self, path: str) -> str:
        return self._site + path.lstrip("/") if self._site and path else ""

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for line in held:
            self._write(line)

    def say(self, text: str) -> None:
        """Write a line of its own."""
        self._release()
        self._print(f"{self._paint('dev ', 'magenta')}  {escaped(text)}")

    def _print(self, line: str) -> None:
        """Print a line with the time before it; the web server's first ones wait for the header."""
        now = time.time()
        clock = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03d}"
        line = f"{self._paint(clock, 'dim')} {line}"
        if self._held is not None and now - self._began < _HEADER_PATIENCE:
            self._held.append(line)
        else:
            self._release()
            self._write(line)

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
