"""Logging from inside tasks: `get_task_logger`, whose records say which task they are of.

Imported by the user's tasks and by what sets the worker's logging up. Configures nothing by itself.
"""

import logging

from celeriac.context import current

#: Celery's formats: what receivers of `setup_logging` and `after_setup_logger` are given where settings say nothing.
WORKER_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
TASK_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"

#: How the names of the handlers begin that a worker makes, not the project.
OWN_HANDLER = "celeriac:"
#: Where the lines of task loggers go that the project has no handler for.
task_logger = logging.getLogger("celeriac.task")


def get_task_logger(name: str) -> logging.Logger:
    """Return the logger `name`, usually `__name__`, with records that say which task they are of.

    They have the attributes `task_id` and `task_name`, "???" outside of tasks. Where the project's own logging has no
    handler for them, a worker writes them beside its own lines.
    """
    logger = logging.getLogger(name)
    if _name_task not in logger.filters:
        logger.addFilter(_name_task)
    if task_logger.handlers:
        _adopt(logger)
    return logger


def _name_task(record: logging.LogRecord) -> bool:
    name_task(record)
    return True


def name_task(record: logging.LogRecord) -> None:
    """Note in a record which task is running, unless that is known."""
    if not hasattr(record, "task_id"):
        request = current.get()
        record.task_id = "???" if request is None else request.id
        record.task_name = "???" if request is None else request.task


def adopt_task_loggers() -> None:
    """Have `task_logger` write what task loggers say and nobody else would. Later ones find their way by themselves."""
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and _name_task in logger.filters:
            _adopt(logger)


def _adopt(logger: logging.Logger) -> None:
    """Make `task_logger` its parent, unless the project has a handler for it or wants it to be silent."""
    levels = []
    ancestor: logging.Logger | None = logger
    while ancestor is not None:
        own = any((handler.name or "").startswith(OWN_HANDLER) for handler in ancestor.handlers)
        if ancestor.handlers and not own:
            return
        if ancestor is not logging.root:
            if not ancestor.propagate:
                return
            levels.append(ancestor.level)
        ancestor = ancestor.parent
    logger.setLevel(next((level for level in levels if level), logging.NOTSET))
    logger.parent = task_logger
