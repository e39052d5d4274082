"""What is written to the terminal: a line for each task, durations, escapes, tracebacks, JSON, colours."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celeriac
from celeriac.cli import banner, log_setup, logs
from celeriac.cli.options import IGNORED, Arguments, unused_lines
from celeriac.cli.paint import Paint, wants_colour
from celeriac.cli.tracebacks import own_frames
from celeriac.cli.watching import Watch, project_roots
from celeriac.cli.weblog import WebLines
from celeriac.worker.options import WorkerOptions

ID = "0193f2c1-0000-7000-8000-00004711abcd"
FACTS: dict[str, Any] = {
    "kind": "succeeded", "name": "shop.tasks.send_receipt", "args": "'order_id': 4711", "id": ID, "queue": "celery",
    "ran": 0.006, "waited": 0.002, "error": "", "place": "", "attempt": 1, "of": 4, "next_in": None, "traceback": None,
}  # fmt: skip


def record(level: int = logging.INFO, **facts: Any) -> logging.LogRecord:
    made = logging.LogRecord("celeriac.worker.task", level, __file__, 1, "plain %s", ("words",), None)
    made.celeriac = {**FACTS, **facts}
    return made


def shown(made: logging.LogRecord, **options: Any) -> str:
    """The line without its time."""
    line = logs.Lines(Paint(False), **options).format(made)
    clock, _, rest = line.partition(" ")
    assert len(clock) == 12
    assert clock[8] == "."
    return rest


class TestLines:
    def test_succeeded(self) -> None:
        assert shown(record()) == "✓ send_receipt(order_id=4711)  6 ms  waited 2 ms  4711abcd"

    def test_the_whole_id_where_it_is_no_terminal(self) -> None:
        assert shown(record(), long_ids=True).endswith(ID)
        assert shown(record(id="4a1b2c3d-0000-4000-8000-000000000000")).endswith("  4a1b2c3d")

    def test_failed(self) -> None:
        place = str(Path.cwd() / "shop/tasks.py") + ":15"
        line = shown(record(kind="failed", error="ValueError: order 80 not found", place=place, args="80"))
        assert line == f"✕ send_receipt(80)  ValueError: order 80 not found  shop/tasks.py:15  {ID}"

    def test_retried(self) -> None:
        line = shown(
            record(kind="retried", args="", error="ConnectionError: no", attempt=1, of=3, next_in=5.0)
        )
        assert line == "↻ send_receipt  ConnectionError: no  try 1 of 3, next in 5.0 s  4711abcd"

    def test_others(self) -> None:
        revoked = shown(record(kind="revoked", error="TaskRevokedError: expired"))
        assert revoked == "◷ send_receipt(order_id=4711)  revoked  expired  waited 2 ms  4711abcd"
        assert "  set aside  unknown task" in shown(record(kind="dead", error="unknown task 'x'"))
        assert "  put back" in shown(record(kind="rejected"))
        assert "  ignored  6 ms" in shown(record(kind="ignored"))
        assert shown(record(kind="something new")).startswith("· send_receipt")

    def test_ascii_where_nothing_else_can_be_written(self) -> None:
        assert shown(record(), plain=True).startswith("+ send_receipt")

    def test_control_characters_cannot_write_over_the_log(self) -> None:
        line = shown(
            record(kind="failed", name="x\r\ny", args="'\x1b[2J\u202e'", error="E: a\x1b]0;b\x07\nsecond")
        )
        assert "\x1b" not in line
        assert "\r" not in line
        assert "\u202e" not in line
        assert "\\x1b[2J\\u202e" in line
        assert "second" not in line

    def test_arguments_are_bounded(self) -> None:
        line = shown(record(args="'" + "x" * 5000 + "'"))
        assert line.index(")") - line.index("(") <= logs.ARGS_WIDTH + 1
        assert "…)" in line

    def test_a_tag(self) -> None:
        assert shown(record(), tag="task").startswith("task  ✓ ")

    def test_what_is_no_task(self) -> None:
        made = logging.LogRecord(
            "celeriac", logging.WARNING, __file__, 1, "the broker is %s", ("away",), None
        )
        assert shown(made) == "! the broker is away"
        made.levelno = logging.INFO
        assert shown(made) == "the broker is away"

    def test_the_traceback_is_the_projects(self) -> None:
        trace = (
            "Traceback (most recent call last):\n"
            '  File "/home/me/shop/tasks.py", line 15, in capture\n    charge(80)\n    ^^^^^^^^^^\n'
            f'  File "{logging.__file__}", line 3, in charge\n    raise ValueError(80)\n'
            "ValueError: 80\n"
        )
        made = record(logging.ERROR, kind="failed", error="ValueError: 80", traceback=trace)
        lines = shown(made).splitlines()[1:]
        assert lines == [
            "    Traceback (most recent call last):",
            '      File "/home/me/shop/tasks.py", line 15, in capture',
            "        charge(80)",
            "        ^^^^^^^^^^",
            "      … 1 frame of libraries (-l debug shows all)",
            "    ValueError: 80",
        ]
        assert logging.__file__ in shown(made, all_frames=True)

    def test_a_traceback_of_libraries_alone_is_whole(self) -> None:
        trace = f'Traceback (most recent call last):\n  File "{logging.__file__}", line 3, in x\n    y\nValueError: 80'
        assert own_frames(trace) == trace

    def test_colours(self) -> None:
        line = logs.Lines(Paint(True)).format(record())
        assert "\033[32m✓\033[0m \033[36msend_receipt\033[0m" in line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 ms"),
        (0.00042, "0.42 ms"),
        (0.006, "6 ms"),
        (0.0996, "100 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (184.0, "3 min 4 s"),
        (3600.0, "1 h 0 min"),
        (93784.0, "26 h 3 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert logs.duration(seconds) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("1, 2", "1, 2"),
        ("'order_id': 4711", "order_id=4711"),
        ("1, 'a': 2, 'b': {'c': 3}", "1, a=2, b={'c': 3}"),
        ("'it is \\'x\\': y', 'k': \"'z': 1\"", "'it is \\'x\\': y', k=\"'z': 1\""),
        ("{'a': 1}, 'b': [{'c': 2}]", "{'a': 1}, b=[{'c': 2}]"),
        ("'unfinished': 'and the", "unfinished='and the"),
    ],
)
def test_call_text(given: str, text: str) -> None:
    assert logs.call_text(given) == text


class TestJson:
    def test_a_task(self) -> None:
        made = record(logging.ERROR, kind="failed", error="ValueError: x", traceback="Traceback...")
        line = json.loads(logs.JsonLines().format(made))
        assert line["task"] == "shop.tasks.send_receipt"
        assert line["task_id"] == ID
        assert line["queue"] == "celery"
        assert line["attempt"] == 1
        assert line["duration_ms"] == 6.0
        assert line["waited_ms"] == 2.0
        assert line["level"] == "ERROR"
        assert line["message"] == "plain words"
        assert line["error"] == "ValueError: x"
        assert line["traceback"] == "Traceback..."
        assert line["time"].endswith("+00:00")

    def test_one_line_whatever_is_in_it(self) -> None:
        made = logging.LogRecord("celeriac", logging.INFO, __file__, 1, "a\nb\x1b\u2028", (), None)
        assert len(logs.JsonLines().format(made).splitlines()) == 1


class TestSetUp:
    @pytest.fixture(autouse=True)
    def _logger(self) -> Iterator[None]:
        loggers = [logging.getLogger(name) for name in ("celeriac", "celeriac.task")]
        before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers = []
            logger.setLevel(logging.NOTSET)
        yield
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            for handler in logger.handlers:
                handler.close()
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)

    def set_up(self, level: str, **options: Any) -> bool:
        """Set up as in a process whose root logger has no handlers, without pytest's."""
        root = logging.getLogger()
        before, root.handlers = root.handlers, []
        try:
            return log_setup.set_up(level, **options)
        finally:
            root.handlers = before

    def test_writes_to_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.set_up("INFO")
        logging.getLogger("celeriac.worker").info("hello")
        logging.getLogger("celeriac.worker").debug("nothing")
        written = capsys.readouterr()
        assert written.err.endswith(" hello\n")
        assert not written.out
        assert "nothing" not in written.err

    def test_leaves_the_projects_handlers_alone(self) -> None:
        root = logging.getLogger()
        root.addHandler(logging.NullHandler())
        assert not log_setup.set_up("INFO")
        logger = logging.getLogger("celeriac")
        assert not logger.handlers
        assert logger.propagate
        assert logger.level == logging.INFO

    def test_leaves_the_projects_level_alone(self) -> None:
        logging.getLogger("celeriac").setLevel("ERROR")
        self.set_up("DEBUG")
        assert logging.getLogger("celeriac").level == logging.ERROR

    def test_to_a_file(self, tmp_path: Path) -> None:
        self.set_up("INFO", logfile=str(tmp_path / "log"), style="json")
        logging.getLogger("celeriac").warning("hello")
        assert json.loads((tmp_path / "log").read_text())["message"] == "hello"

    def test_beside_others_lines_it_is_not_told_who_comes_and_goes(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.set_up("INFO", tag="task")
        logging.getLogger("celeriac.worker").info("ready.")
        logging.getLogger("celeriac.worker").warning("the broker is away")
        written = capsys.readouterr().err
        assert "ready." not in written
        assert "task  ! the broker is away" in written


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "no_color", "expected"),
    [
        (Terminal(), {}, False, True),
        (Terminal(), {}, True, False),
        (Terminal(), {"NO_COLOR": "1"}, False, False),
        (Terminal(), {"TERM": "dumb"}, False, False),
        (io.StringIO(), {}, False, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, False, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_wants_colour(
    stream: io.StringIO,
    environment: dict[str, str],
    no_color: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_colour(stream, no_color) is expected


class TestBanner:
    def facts(self, **more: Any) -> banner.Facts:
        app = Celeriac("shop", broker="memory://", set_as_current=False)
        for number in range(3):
            app.task(name=f"shop.tasks.t{number}")(lambda: None)
        options = WorkerOptions(hostname="w@h", concurrency=2).resolve(app.conf)
        return {**banner.facts_of(app, options), **more}

    def test_what_it_says(self) -> None:
        text = "\n".join(banner.lines(self.facts(broker="redis://:***@h/0"), Paint(False), reload="on"))
        assert "worker w@h" in text
        assert "redis://:***@h/0" in text
        assert "none: result_backend is not set" in text
        assert "prefork, 2 processes" in text
        assert "shop.tasks.t0, shop.tasks.t1, shop.tasks.t2" in text
        assert "Ctrl-C" in text

    @pytest.mark.parametrize("count", [0, 1, 2, 500])
    def test_it_is_short(self, count: int) -> None:
        names = [f"shop.with.a.long.name.tasks.task_number_{number}" for number in range(count)]
        lines = banner.lines(self.facts(tasks=names), Paint(False), reload="on")
        assert len(lines) <= 12
        assert max(map(len, lines)) <= 120
        if count == 500:
            assert "and 49" in "\n".join(lines)


class TestOptions:
    def test_a_worker_that_is_started_again_has_the_same_options(self) -> None:
        options = WorkerOptions("w@%h", ("a", "b"), 3, "threads", "DEBUG")
        words = Arguments(options, include=("x", "y"), prefetch_multiplier=0, tag="task", reload=True).words()
        assert words == [
            "worker", "-l", "DEBUG", "-n", "w@%h", "-c", "3", "-P", "threads", "-Q", "a,b", "-I", "x,y",
            "--prefetch-multiplier", "0", "--log-format", "text", "--tag", "task",
        ]  # fmt: skip

    def test_every_ignored_option_says_why(self) -> None:
        given = {names[-1].lstrip("-").replace("-", "_"): True for names in IGNORED}
        lines = unused_lines(given)
        assert len(lines) == len(IGNORED)
        assert all(line.startswith("ignored: --") and "(" in line for line in lines)


class TestWatch:
    def test_changes(self, tmp_path: Path) -> None:
        (tmp_path / "shop").mkdir()
        tasks, late = tmp_path / "shop/tasks.py", tmp_path / "shop/late.py"
        tasks.write_text("x = 1\n")
        watch = Watch([tmp_path, tmp_path / "shop"])
        assert watch.count == 1
        assert watch.changed() == []
        tasks.write_text("x = 12\n")
        late.write_text("")
        assert watch.changed() == [str(late), str(tasks)]
        late.unlink()
        assert watch.changed() == [str(late)]
        assert watch.changed() == []

    @pytest.mark.parametrize(
        "path",
        [
            ".git/x.py",
            "node_modules/x.py",
            "tests/x.py",
            "a/test_x.py",
            "conftest.py",
            "venv/lib/x.py",
            "notes.txt",
        ],
    )
    def test_what_does_not_count(self, path: str, tmp_path: Path) -> None:
        (tmp_path / "venv").mkdir()
        (tmp_path / "venv/pyvenv.cfg").touch()
        watch = Watch([tmp_path])
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        assert watch.changed() == []

    def test_roots(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "other").mkdir()
        monkeypatch.setattr(
            sys, "path", [*sys.path, str(tmp_path / "other"), str(Path(logging.__file__).parent)]
        )
        roots = project_roots(tmp_path / "site/manage.py")
        assert roots[0] == tmp_path / "site"
        assert tmp_path / "other" in roots
        assert Path(logging.__file__).parent not in roots


class TestWebLines:
    def lines(self, *data: bytes) -> list[str]:
        cutter = WebLines(Paint(False))
        return [line for piece in data for line in cutter.feed(piece)]

    def test_a_request(self) -> None:
        assert self.lines(b'[21/Nov/2026 08:06:13] "POST /checkout/ HTTP/1.1" 302 0\n') == [
            "web   POST /checkout/ 302"
        ]

    def test_lines_that_come_in_pieces(self) -> None:
        assert self.lines(b"he", b"llo\nwor", b"ld", b"") == ["web   hello", "web   world"]

    def test_what_is_said_at_each_start_is_left_out(self) -> None:
        start = (
            b"Watching for file changes with StatReloader\nPerforming system checks...\n\n"
            b"System check identified no issues (0 silenced).\nNovember 21, 2026 - 08:06:13\n"
            b"Django version 5.2.19, using settings 'shop.settings'\n"
            b"Starting development server at http://127.0.0.1:8000/\nQuit the server with CONTROL-C.\n"
        )
        assert self.lines(start) == []

    def test_what_is_wrong_is_passed_on(self) -> None:
        said = b"System check identified 1 issue (0 silenced).\n\x1b[31mError: That port is already in use.\x1b[0m\n"
        assert self.lines(said) == [
            "web   System check identified 1 issue (0 silenced).", "web   Error: That port is already in use.",
        ]  # fmt: skip
