"""What the system checks can find, one row each, by number.

The checks beside it make messages from the rows, and `docs/generate.py` the reference page.

E is an error, which stops `runserver` and `migrate`; W a warning; I something to know.
"""

from collections.abc import Callable

from django.core import checks
from msgspec import Struct

#: When a check is run.
ALWAYS, DEPLOY, DATABASE = "", "`--deploy`", "`--database`"

_LEVELS: dict[str, Callable[..., checks.CheckMessage]] = {
    "E": checks.Error,
    "W": checks.Warning,
    "I": checks.Info,
}


class Finding(Struct, frozen=True):
    """One thing that can be found: what it is, and what to do about it."""

    what: str
    do: str
    when: str = ALWAYS


FINDINGS: dict[str, Finding] = {
    "E001": Finding("A setting's name is a near miss of a known one.", "Write it as the text says."),
    "E002": Finding(
        "A setting has a value of the wrong type, or one out of its range.", "Give it one of the type named."
    ),
    "E003": Finding(
        "The URL of the broker or of the result store leads nowhere.",
        "Name one of the known schemes, a database of DATABASES or a cache of CACHES; install what the text names.",
    ),
    "E004": Finding("Routes or declared queues cannot be read.", "Mend task_routes or task_queues."),
    "E005": Finding(
        "An entry of the schedule cannot be read, so that no beat starts.", "Mend the entry that is named."
    ),
    "E006": Finding(
        "A task or an entry of the schedule names a queue that is not declared, and task_create_missing_queues is off: "
        "what is sent there is refused.",
        "Declare it in task_queues, or name another.",
    ),
    "E007": Finding(
        "There is no time zone of this name.", "Name one such as 'Europe/Berlin', or leave timezone out."
    ),
    "E008": Finding(
        "A database lacks migrations of Celeriac's.",
        "Run python manage.py migrate, with --database for another than the default.",
        DATABASE,
    ),
    "W001": Finding("A name is no setting of Celeriac's or Celery's, or has no effect.", "Take it out."),
    "W002": Finding(
        "SQLite keeps messages or results, and is not set up for several processes.",
        "Set the OPTIONS that the text names.",
    ),
    "W003": Finding(
        "Results are in a cache that each process has for itself.",
        "Set result_backend to 'django-db', or use a cache that processes share.",
    ),
    "W004": Finding(
        "An entry of the schedule names a task that this project does not have. Those in a database are looked at with "
        "`--database`.",
        "Write the name as the task has it. If another project's workers have it, silence this number.",
    ),
    "W005": Finding(
        "An entry of the schedule has arguments that its task does not take: it fails each time that it is due.",
        "Mend args and kwargs of the entry.",
    ),
    "W006": Finding(
        "Two functions are tasks of one name, of which one is never run.",
        "Give one of them another name: @shared_task(name=...).",
    ),
    "W007": Finding(
        "A module with tasks does not import. Workers do not start then.", "Mend the line that is named."
    ),
    "W008": Finding(
        "A task, a route or an entry of the schedule names a queue that is not among task_queues: workers read it only "
        "where -Q says so.",
        "Declare it in task_queues, name another, or start workers with -Q and silence this number.",
    ),
    "W009": Finding(
        "A soft time limit is not below the hard one, so that it never strikes.",
        "Make the soft limit shorter: what is between them is the task's time to tidy up.",
    ),
    "W010": Finding(
        "USE_TZ is off and Celeriac's time zone is another than TIME_ZONE: the naive times that Django makes are taken "
        "for those of another zone.",
        "Leave CELERY_TIMEZONE out, or turn USE_TZ on.",
    ),
    "W011": Finding(
        "TASKS names Celeriac's backend, and results are turned off: get_result() of Django's tasks raises.",
        "Set CELERY_RESULT_BACKEND, to 'django-db' for instance. If no result is ever asked for, silence this number.",
    ),
    "I001": Finding(
        "Times of day in the schedule are those of CELERY_TIMEZONE, which is not TIME_ZONE.",
        "If it is meant, say so in each entry: crontab(..., timezone=...). Else leave CELERY_TIMEZONE out.",
    ),
    "W012": Finding(
        "A schedule in the database cannot be read: beat leaves it out.",
        "Mend or delete it in the admin.",
        DATABASE,
    ),
    "W013": Finding(
        "CELERIAC and a setting with the prefix CELERY_ differ about one setting. The one with the prefix holds.",
        "Take one of the two out.",
    ),
    "W014": Finding(
        "task_signing_optional_until does nothing, or leaves the door open for long.",
        "Set it to a time a few weeks ahead while senders are being changed over, and take it out when it is past.",
    ),
    "W020": Finding(
        "Messages or results are kept in the memory of each process, where no other sees them.",
        "Set broker_url and result_backend to a database or Redis.",
        DEPLOY,
    ),
    "W021": Finding(
        "task_always_eager is on: delay() runs the task itself, and whoever calls it waits.",
        "Leave it to the settings of the tests.",
        DEPLOY,
    ),
    "W022": Finding(
        "Redis on another host is open to whoever reaches its port: there is no password in the URL.",
        "Set a password there and put it into the URL: rediss://:PASSWORD@HOST:6379/0, or redis:// in a network of "
        "your own.",
        DEPLOY,
    ),
    "W023": Finding(
        "Pickle is accepted: who can write to the broker or to the result store can run code here.",
        "Take pickle out of accept_content and result_accept_content; or turn task_signing on, for messages.",
        DEPLOY,
    ),
    "W024": Finding(
        "Results are kept for ever.",
        "Set result_expires to so many seconds, or to a timedelta.",
        DEPLOY,
    ),
}


def found(number: str, text: str, hint: str | None = None) -> checks.CheckMessage:
    """Return the message of one finding: what it is in this project, and how to mend it."""
    return _LEVELS[number[0]](text, hint=hint or FINDINGS[number].do, id=f"celeriac.{number}")
