"""Sets a worker's logging up: handlers, formats, signals, and stdout where that is asked for.

Called by the worker command after the tasks are loaded and before the worker starts. What the project has configured
itself is left alone, the root logger too, unless `worker_hijack_root_logger` asks for it.
"""

import io
import logging
import logging.handlers
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celeriac import signals
from celeriac.cli.logs import Formatted, JsonLines, Lines
from celeriac.cli.paint import Paint, wants_colour
from celeriac.config import Settings
from celeriac.errors import ImproperlyConfigured
from celeriac.log import OWN_HANDLER, TASK_FORMAT, WORKER_FORMAT, adopt_task_loggers, task_logger


def set_up(
    level: str,
    *,
    style: str = "text",
    no_color: bool = False,
    tag: str = "",
    logfile: str | None = None,
    conf: Settings | None = None,
) -> bool:
    """Give the worker's loggers a level and handlers; return False if the project has seen to that itself.

    `style` is text or json, `tag` a word after each line's time. Raises what a receiver of `setup_logging` raises, and
    ImproperlyConfigured for a format that is none.
    """
    conf = conf or Settings()
    colour = logfile is None and conf.worker_log_color is not False and wants_colour(sys.stderr, no_color)
    told = {"loglevel": logging.getLevelName(level), "logfile": logfile, "colorize": colour}
    worker_format = conf.worker_log_format or WORKER_FORMAT
    answers = signals.setup_logging.send(None, format=worker_format, **told)
    for _, answer in answers:
        if isinstance(answer, Exception):
            raise answer
    if answers:
        return False
    logger = _logger(conf.worker_hijack_root_logger, level)
    ours = not (logger.handlers or logging.getLogger().handlers)
    if ours:
        formats = _Formats(conf, style, Paint(colour), tag, logfile)
        _add_handler(logger, logfile, formats.worker(), tag)
        _add_handler(task_logger, logfile, formats.task(), tag)
        adopt_task_loggers()
        if logger is not logging.getLogger():
            logger.propagate = False
    task_format = conf.worker_task_log_format or TASK_FORMAT
    signals.after_setup_logger.send(None, logger=logger, format=worker_format, **told)
    signals.after_setup_task_logger.send(None, logger=task_logger, format=task_format, **told)
    return ours


def _logger(hijack: bool, level: str) -> logging.Logger:
    """Return the logger to set up, with its level: "celeriac", or the root logger, emptied."""
    logger = logging.getLogger("celeriac")
    if hijack:
        for each in (logging.getLogger(), logger, task_logger):
            each.handlers = []
        logger.propagate = True
        logger = logging.getLogger()
        logger.setLevel(level)
    elif logger.level == logging.NOTSET:
        logger.setLevel(level)
    return logger


def _add_handler(logger: logging.Logger, logfile: str | None, formatter: logging.Formatter, tag: str) -> None:
    handler: logging.Handler = (
        logging.StreamHandler()
        if logfile is None
        # It opens the file anew where logrotate has moved it away.
        else logging.handlers.WatchedFileHandler(logfile, encoding="utf-8")
    )
    handler.name = OWN_HANDLER + logger.name
    handler.setFormatter(formatter)
    if tag:
        handler.addFilter(_is_no_chatter)
    logger.addHandler(handler)
    if logger is task_logger:
        logger.propagate = False


def _is_no_chatter(record: logging.LogRecord) -> bool:
    """Whether a record is worth a line beside others' lines: not that a worker comes or goes."""
    return record.name != "celeriac.worker" or record.levelno != logging.INFO


class _Formats:
    """Makes the formatters: JSON if the command line says so, else the settings' formats, else our own lines."""

    def __init__(self, conf: Settings, style: str, paint: Paint, tag: str, logfile: str | None) -> None:
        self._conf = conf
        self._json = style == "json"
        self._paint = paint
        self._tag = tag
        self._terminal = logfile is None

    def worker(self) -> logging.Formatter:
        conf = self._conf
        return self._made(conf.worker_log_format, conf.worker_log_datefmt, "worker_log_format")

    def task(self) -> logging.Formatter:
        conf = self._conf
        # Who has set only the worker's format has chosen Celery's look.
        text = conf.worker_task_log_format or (TASK_FORMAT if conf.worker_log_format else None)
        return self._made(text, conf.worker_task_log_datefmt, "worker_task_log_format")

    def _made(self, text: str | None, datefmt: str | None, setting: str) -> logging.Formatter:
        if self._json:
            return JsonLines()
        if text:
            return _checked(text, datefmt, self._paint, setting)
        return Lines(
            self._paint,
            tag=self._tag,
            plain=self._terminal and not (sys.stderr.encoding or "").lower().startswith("utf"),
            all_frames=logging.getLogger("celeriac").getEffectiveLevel() <= logging.DEBUG,
            long_ids=not (self._terminal and sys.stderr.isatty()),
            datefmt=datefmt,
        )


def _checked(text: str, datefmt: str | None, paint: Paint, setting: str) -> Formatted:
    """Return the formatter of a format that works: one that does not would be told at every line."""
    try:
        made = Formatted(text, datefmt, paint)
        made.format(logging.LogRecord("celeriac", logging.INFO, "", 0, "", None, None))
    except (ValueError, TypeError, KeyError) as error:
        raise ImproperlyConfigured(
            f"{setting} = {text!r} is not a format of logging's: {error}. Fields are written %(levelname)s; there are "
            "those of Python's LogRecord, and task_id and task_name."
        ) from None
    return made


# -- stdout


@contextmanager
def redirected(conf: Settings) -> Iterator[None]:
    """Log what is written to stdout and stderr inside the block, if `worker_redirect_stdouts` says so."""
    logger = logging.getLogger("celeriac.redirected")
    if not conf.worker_redirect_stdouts or not logger.hasHandlers():
        yield
        return
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _ToLog(logger, _level(conf.worker_redirect_stdouts_level))
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _level(given: str | int) -> int:
    level = given if isinstance(given, int) else logging.getLevelNamesMapping().get(given.upper())
    if level is None:
        raise ImproperlyConfigured(
            f"worker_redirect_stdouts_level = {given!r} is not a level. Levels: debug, info, warning, error, critical."
        )
    return level


class _ToLog(io.TextIOBase):
    """A stream whose lines become records. Each thread has a line of its own."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        self._logger = logger
        self._level = level
        self._thread = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What programs ask for before they write other letters than English ones."""
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        # A handler that fails writes to stderr, which is here.
        if not getattr(self._thread, "logging", False):
            *lines, self._thread.rest = (getattr(self._thread, "rest", "") + text).split("\n")
            self._log(lines)
        return len(text)

    def flush(self) -> None:
        """Log what stands in an open line."""
        rest, self._thread.rest = getattr(self._thread, "rest", ""), ""
        if not getattr(self._thread, "logging", False):
            self._log([rest])

    def _log(self, lines: list[str]) -> None:
        self._thread.logging = True
        try:
            for line in lines:
                if line.strip():
                    self._logger.log(self._level, "%s", line)
        finally:
            self._thread.logging = False
