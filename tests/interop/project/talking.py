"""What both sides' tasks say, and how their workers are to write it, as far as a test asks for it in TALKING."""

import logging
import logging.config
import os
from pathlib import Path
from types import ModuleType
from typing import Any

FORMAT = "W|%(processName)s|%(levelname)s|%(message)s"
TASK_FORMAT = "T|%(task_name)s|%(task_id)s|%(asctime)s|%(levelname)s|%(message)s"
_wanted = os.environ.get("TALKING", "").split()


def set_up_talking(signals: ModuleType, app: Any) -> None:
    """Set the formats, and connect receivers for the signals of logging."""
    app.conf.update(worker_hijack_root_logger="root" in _wanted, worker_redirect_stdouts="stdout" in _wanted)
    if "formats" in _wanted:
        app.conf.update(
            worker_log_format=FORMAT, worker_task_log_format=TASK_FORMAT, worker_task_log_datefmt="DATE"
        )
        app.conf.update(worker_redirect_stdouts_level="ERROR")
    for name in ("after_setup_logger", "after_setup_task_logger"):
        if "after" in _wanted:
            getattr(signals, name).connect(_Receiver(name), weak=False)
    if "own" in _wanted:
        signals.setup_logging.connect(_configure, weak=False)


def talk_of(logger: logging.Logger) -> None:
    """Say something in every way that a task can."""
    logger.info("said")
    logger.debug("not said")
    logging.getLogger("shop.plain").warning("plain")
    print("printed")


class _Receiver:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, logger: logging.Logger, sender: Any, signal: Any, **told: Any) -> None:
        logger.addHandler(_Notes(self.name))
        with Path(os.environ["JOURNAL"]).open("a") as journal:
            journal.write(f"{self.name} {sender} {sorted(told.items(), key=str)}\n")


class _Notes(logging.Handler):
    """Writes into the journal what a task says."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.prefix = name

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() in ("said", "plain", "not said"):
            with Path(os.environ["JOURNAL"]).open("a") as journal:
                journal.write(f"{self.prefix} heard {record.name} {record.getMessage()}\n")


def _configure(**told: Any) -> None:
    names = sorted(set(told) - {"signal"})
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"own": {"format": f"OWN|{' '.join(names)}|%(name)s|%(message)s"}},
            "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
            "root": {"handlers": ["own"], "level": "INFO"},
        }
    )
