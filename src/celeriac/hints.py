"""What an exception probably means, said under its traceback: E115, a row that was not committed yet.

Chosen once for each executor, and called for runs that have failed. Knows Django's exception by its name alone.
"""

from collections.abc import Callable

from celeriac.config import Settings
from celeriac.run import Run

#: What a failed run's traceback ends with.
Hint = Callable[[Run, BaseException], str]

#: A row that is missing later than that after the task was sent is missing for another reason.
SOON = 5.0


def of(conf: Settings) -> Hint:
    """Return what is to look at the failures under these settings.

    A task that is published inside a transaction can be started before the commit only where publishing does not wait
    for it, and where the message is not part of the transaction itself, as on the project's own database.
    """
    transactional = (conf.broker_url or "").startswith("django")
    return none if conf.task_publish_on_commit or transactional else early


def none(run: Run, error: BaseException) -> str:
    """Return nothing: what the hint is of cannot happen."""
    return ""


def early(run: Run, error: BaseException) -> str:
    """Return E115 where a row was not found that soon after the task was sent, else nothing."""
    sent = run.message.properties.timestamp
    if sent is None or not 0 <= run.started - sent < SOON or not _is_missing_row(error):
        return ""
    return (
        f"E115: {type(error).__qualname__} {(run.started - sent) * 1000:.0f} ms after the task was sent: probably the "
        "transaction that it was sent in was not committed yet. task_publish_on_commit is off; turn it on, or send "
        "with delay_on_commit(). (celeriac help E115)\n"
    )


def _is_missing_row(error: BaseException) -> bool:
    return any(
        cls.__name__ == "ObjectDoesNotExist" and cls.__module__ == "django.core.exceptions"
        for cls in type(error).__mro__
    )
