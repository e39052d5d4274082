"""What a worker does to logging: formats, the loggers of tasks, who is left alone, stdout, signals."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.cli import log_setup
from celeriac.config import Settings
from celeriac.context import Request, current
from celeriac.errors import ImproperlyConfigured
from celeriac.log import get_task_logger
from celeriac.message.message import Headers, Message, Properties
from celeriac.signals import after_setup_logger, after_setup_task_logger, setup_logging

NAMES = ("", "celeriac", "celeriac.task", "celeriac.worker", "shop", "shop.tasks", "shop.later")


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Loggers as in a new process, and what there was put back."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [
        (each.handlers, each.level, each.propagate, each.parent, each.filters[:], each.disabled)
        for each in loggers
    ]
    for each in loggers:
        each.handlers = []
        each.setLevel(logging.NOTSET if each.name != "root" else logging.WARNING)
        each.disabled = False
    yield
    for each, (handlers, level, propagate, parent, filters, disabled) in zip(loggers, before, strict=True):
        for handler in each.handlers:
            handler.close()
        each.handlers, each.propagate, each.parent, each.filters = handlers, propagate, parent, filters
        each.disabled = disabled
        each.setLevel(level)


@pytest.fixture
def _in_task() -> Iterator[None]:
    message = Message(Headers("shop.tasks.pick", "4a1b2c3d-0000-4000-8000-000000000000"), Properties(), b"")
    token = current.set(Request(message, "celery", "me"))
    yield
    current.reset(token)


def bare() -> None:
    """Take pytest's own handlers off the root logger, which come when a test begins."""
    logging.getLogger().handlers = []


def set_up(
    capsys: pytest.CaptureFixture[str], level: str = "INFO", style: str = "text", **settings: Any
) -> Any:
    """Set up and return what tells the lines written since."""
    bare()
    assert log_setup.set_up(level, style=style, conf=Settings(**settings))

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return lines


@pytest.mark.usefixtures("_in_task")
class TestTaskLoggers:
    def test_they_are_heard_and_name_their_task(self, capsys: pytest.CaptureFixture[str]) -> None:
        early = get_task_logger("shop.tasks")
        lines = set_up(capsys)
        early.info("early")
        get_task_logger("shop.later").info("late")
        early.debug("not this")
        end = "  pick  4a1b2c3d-0000-4000-8000-000000000000"
        assert [line[13:] for line in lines()] == ["early" + end, "late" + end]

    def test_once_each_also_where_one_lies_in_the_other(self, capsys: pytest.CaptureFixture[str]) -> None:
        get_task_logger("shop.tasks")
        get_task_logger("shop")
        lines = set_up(capsys)
        logging.getLogger("shop.tasks").info("inner")
        logging.getLogger("shop").info("outer")
        assert len(lines()) == 2

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = set_up(capsys, style="json", worker_log_format="never mind %(message)s")
        get_task_logger("shop.tasks").info("said")
        (line,) = map(json.loads, lines())
        assert (line["message"], line["task"], line["task_id"][:8]) == ("said", "shop.tasks.pick", "4a1b2c3d")

    def test_a_format(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = "%(asctime)s %(task_name)s %(message)s"
        lines = set_up(capsys, worker_task_log_format=text, worker_task_log_datefmt="%Y!")
        get_task_logger("shop.tasks").info("a\x1b[2Jb")
        logging.getLogger("celeriac.worker").info("ours")
        first, second = lines()
        assert first[4:] == "! shop.tasks.pick a\\x1b[2Jb"
        assert second[8] == "."  # of the time in our own lines

    def test_celerys_format_where_only_the_workers_is_set(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = set_up(capsys, worker_log_format="%(message)s")
        get_task_logger("shop.tasks").warning("said")
        assert lines()[0].endswith(
            ": WARNING/MainProcess] shop.tasks.pick[4a1b2c3d-0000-4000-8000-000000000000]: said"
        )

    @pytest.mark.parametrize("name", ["", "shop"])
    def test_the_projects_handlers_have_them_as_ever(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        heard: list[Any] = []
        handler = logging.Handler()
        handler.emit = heard.append  # type: ignore[method-assign]
        logging.getLogger(name).addHandler(handler)
        log_setup.set_up("INFO")
        get_task_logger("shop.tasks").warning("said")
        assert [(each.task_name, each.getMessage()) for each in heard] == [("shop.tasks.pick", "said")]
        assert "said" not in capsys.readouterr().err

    def test_the_projects_levels_hold(self, capsys: pytest.CaptureFixture[str]) -> None:
        logging.getLogger("shop").setLevel("ERROR")
        lines = set_up(capsys)
        logger = get_task_logger("shop.tasks")
        logger.warning("not this")
        logger.error("this")
        assert len(lines()) == 1


def test_outside_of_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    lines = set_up(capsys, worker_task_log_format="%(task_id)s %(message)s")
    get_task_logger("shop.tasks").info("said")
    assert lines() == ["??? said"]


def test_formats_of_the_worker(capsys: pytest.CaptureFixture[str]) -> None:
    lines = set_up(capsys, worker_log_format="%(asctime)s|%(message)s", worker_log_datefmt="DATE")
    logging.getLogger("celeriac.worker").info("hello")
    facts = {"traceback": "Traceback:\n  there\n"}
    logging.getLogger("celeriac.worker").error("failed", extra={"celeriac": facts})
    assert lines() == ["DATE|hello", "DATE|failed", "Traceback:", "  there"]


def test_times_in_our_own_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = set_up(capsys, worker_log_datefmt="%Y DATE")
    logging.getLogger("celeriac.worker").info("hello")
    assert lines()[0][4:] == " DATE hello"


@pytest.mark.parametrize(("color", "coloured"), [(None, True), (True, True), (False, False)])
def test_colours(color: bool | None, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    conf = Settings(worker_log_color=color, worker_log_format="%(message)s")
    bare()
    log_setup.set_up("INFO", conf=conf)
    logging.getLogger("celeriac.worker").error("red")
    assert sys.stderr.getvalue() == ("\x1b[31mred\x1b[0m\n" if coloured else "red\n")  # type: ignore[attr-defined]


@pytest.mark.parametrize("setting", ["worker_log_format", "worker_task_log_format"])
@pytest.mark.parametrize("text", ["%(nothing)s", "{message}", "%(message"])
def test_a_format_that_is_none_is_refused(setting: str, text: str) -> None:
    bare()
    with pytest.raises(ImproperlyConfigured, match=f"{setting} = .* is not a format of logging's"):
        log_setup.set_up("INFO", conf=Settings(**{setting: text}))


def test_the_root_logger_taken_over(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("celeriac").addHandler(logging.NullHandler())
    lines = set_up(capsys, worker_hijack_root_logger=True)
    logging.getLogger("anything").info("plain")
    logging.getLogger("celeriac.worker").info("ours")
    assert [line[13:] for line in lines()] == ["plain", "ours"]


def test_signals_of_a_set_up_that_the_project_has_done(capsys: pytest.CaptureFixture[str]) -> None:
    """Receivers may want to add handlers; there is nothing else to tell."""
    logging.getLogger().addHandler(logging.NullHandler())
    heard: list[Any] = []

    def hear(logger: logging.Logger, **told: Any) -> None:
        heard.append((logger.name, told["loglevel"], told["logfile"]))

    for signal in (after_setup_logger, after_setup_task_logger):
        signal.connect(hear)
    assert not log_setup.set_up("INFO")
    for signal in (after_setup_logger, after_setup_task_logger):
        signal.disconnect(hear)
    assert heard == [("celeriac", logging.INFO, None), ("celeriac.task", logging.INFO, None)]


def test_a_receiver_of_setup_logging_that_fails_stops_the_start() -> None:
    def fails(**_told: Any) -> None:
        raise LookupError("no such file")

    setup_logging.connect(fails)
    try:
        with pytest.raises(LookupError, match="no such file"):
            log_setup.set_up("INFO")
    finally:
        setup_logging.disconnect(fails)


def test_a_log_file_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    bare()
    log_setup.set_up("INFO", logfile=str(path))
    logging.getLogger("celeriac.worker").info("one")
    path.rename(tmp_path / "log.1")
    logging.getLogger("celeriac.worker").info("two")
    get_task_logger("shop.tasks").info("three")
    assert [line[13:] for line in path.read_text().splitlines()] == ["two", "three"]


class TestRedirected:
    def lines(self, capsys: pytest.CaptureFixture[str]) -> list[str]:
        return [line[13:] for line in capsys.readouterr().err.splitlines()]

    def test_lines_become_records(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up(capsys)
        out = sys.stdout
        with log_setup.redirected(
            Settings(worker_redirect_stdouts=True, worker_redirect_stdouts_level="info")
        ):
            print("one", 2)
            print("a\n\nb")
            print("err", file=sys.stderr)
            print("open", end="")
            assert not sys.stdout.isatty()
        assert sys.stdout is out
        assert self.lines(capsys) == ["one 2", "a", "b", "err", "open"]

    def test_threads_do_not_write_into_each_others_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up(capsys)
        with log_setup.redirected(Settings(worker_redirect_stdouts=True)):
            print("begun", end="")
            thread = threading.Thread(target=print, args=("theirs",))
            thread.start()
            thread.join(60)
            print(", ended")
        assert self.lines(capsys) == ["! theirs", "! begun, ended"]

    def test_a_handler_that_writes_there_itself_does_not_go_round_in_circles(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Prints(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                print("again", record.getMessage())

        set_up(capsys)
        logging.getLogger("celeriac").addHandler(Prints())
        with log_setup.redirected(Settings(worker_redirect_stdouts=True)):
            print("once")
        assert self.lines(capsys) == ["! once"]

    def test_not_unless_asked(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up(capsys)
        with log_setup.redirected(Settings()):
            print("plain")
        assert capsys.readouterr().out == "plain\n"

    def test_a_level_that_there_is_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up(capsys)
        conf = Settings(worker_redirect_stdouts=True, worker_redirect_stdouts_level="loud")
        with pytest.raises(ImproperlyConfigured, match="'loud' is not a level"), log_setup.redirected(conf):
            pass
