"""Takes over the results of django-celery-results: its table, read as it is, becomes records of the result store.

Called by the command `import_results`. Nothing of its tables is changed, and nothing that was pickled is opened: a
value goes as it is, under its content type, and the error of a failed task is told by its traceback.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import models
from msgspec import Struct

from celeriac import states
from celeriac.django.foreign_tables import model_of
from celeriac.django.schedule_rules import aware
from celeriac.django.storable import NAME
from celeriac.message import result_format
from celeriac.store import Record, ResultStore

BATCH = 500
_TEXT, _MOMENT = models.TextField, models.DateTimeField
_FIELDS: dict[str, type[Any]] = {
    **dict.fromkeys("task_id task_name task_args task_kwargs status worker".split(), _TEXT),
    **dict.fromkeys("content_type content_encoding result traceback meta".split(), _TEXT),
    **dict.fromkeys("date_created date_started date_done".split(), _MOMENT),
}
_JSON = "application/json"
_ERROR = re.compile(r"(?:([\w.]+)\.)?(\w+)(?:: (.*))?")

Row = Mapping[str, Any]


class NoTables(Exception):
    """There is no table of django-celery-results in the database."""


class Taken(Struct):
    """What has become, or would become, of a result: its fate is "new", "updated", "there" or "left out", and why."""

    task_id: str
    fate: str
    why: str = ""
    record: Record | None = None


class TheirResults:
    """The results and groups that are in a database."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        model = model_of(alias, "django_celery_results_taskresult", _FIELDS)
        if model is None:
            raise NoTables(f"The database {alias!r} has no tables of django-celery-results.")
        self._rows = model._base_manager.using(alias)

    def count(self) -> int:
        """Return how many results there are."""
        return int(self._rows.count())

    def count_groups(self) -> int:
        """Return how many results of groups there are."""
        model = model_of(self._alias, "django_celery_results_groupresult", {})
        return 0 if model is None else int(model._base_manager.using(self._alias).count())

    def take(self, store: ResultStore, *, dry_run: bool = False) -> Iterator[list[Taken]]:
        """Store what is not there yet, in batches, and yield what has become of each."""
        last = 0
        while rows := list(self._rows.filter(id__gt=last).order_by("id")[:BATCH].values()):
            last = rows[-1]["id"]
            read = [_read(row) for row in rows]
            known = store.fetch([each.task_id for each in read if each.record is not None])
            for each in read:
                if each.record is not None:
                    each.fate = _fate(known.get(each.task_id), each.record)
            if not dry_run:
                store.store([each.record for each in read if each.record and each.fate != "there"])
            yield read


def _fate(known: Record | None, record: Record) -> str:
    if known is None:
        return "new"
    same = (known.state, known.finished) == (record.state, record.finished)
    return "there" if known.ready or same else "updated"


def _read(row: Row) -> Taken:
    task_id = row["task_id"]
    if not task_id or len(task_id) > NAME:
        return Taken(
            task_id, "left out", f"its id has {len(task_id)} characters, and there is room for {NAME}"
        )
    try:
        return Taken(task_id, "", record=_record(row))
    except ValueError as error:
        return Taken(task_id, "left out", f"its result cannot be read: {error}")


def _record(row: Row) -> Record:
    full = {**dict.fromkeys(_FIELDS), **row}
    meta = _data(full, "meta")
    meta = dict(meta) if isinstance(meta, dict) else {}
    children = meta.pop("children", None)
    return Record(
        full["task_id"],
        full["status"],
        _result(full),
        full["traceback"],
        full["task_name"] or "",
        _shown(_data(full, "task_args")),
        _shown(_data(full, "task_kwargs")),
        worker=full["worker"] or "",
        enqueued=_created(full),
        started=_seconds(full["date_started"]),
        finished=_seconds(full["date_done"]),
        children=children if isinstance(children, list) and children else None,
        details={"meta": meta} if meta else None,
    )


def _result(row: Row) -> bytes:
    """Return the value or the error as a record has it; raises ValueError."""
    text = row["result"]
    if text is None:
        return b"null"
    if _is_json(row):
        json.loads(text)
        return str(text).encode()
    if row["status"] in states.EXCEPTION_STATES:
        return _error(row["traceback"] or "")
    if row["content_encoding"] != "binary":
        return result_format.wrapped(row["content_type"], text.encode())
    try:
        return result_format.wrapped(row["content_type"], base64.b64decode(text, validate=True))
    except binascii.Error as error:
        raise ValueError(error) from None


def _error(traceback: str) -> bytes:
    """Return the class and text of an error by the last line of its traceback."""
    lines = [
        line for line in traceback.splitlines() if line.strip() and not line.startswith((" ", "Traceback "))
    ]
    found = _ERROR.fullmatch(lines[-1].strip()) if lines else None
    module, name, text = found.groups() if found else (None, "Exception", None)
    told = text or "Its error was not stored as JSON; the traceback has what is known."
    return json.dumps({"exc_type": name, "exc_message": [told], "exc_module": module or "builtins"}).encode()


def _data(row: Row, name: str) -> Any:
    """Return what stands in a column, None where that is not JSON."""
    try:
        return json.loads(row[name]) if row[name] and _is_json(row) else None
    except ValueError:
        return None


def _shown(value: Any) -> str:
    """Return arguments as text: the repr that Celery has stored, or the repr of what it has."""
    return "" if value is None else value if isinstance(value, str) else repr(value)


def _is_json(row: Row) -> bool:
    return bool(row["content_type"] == _JSON and row["content_encoding"] != "binary")


def _created(row: Row) -> float | None:
    """Return when the row was made, if that can be when the task was sent: as a rule it is made when the task ends."""
    created, started = row["date_created"], row["date_started"]
    return _seconds(created) if created and started and created < started else None


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else float(aware(moment).timestamp())
