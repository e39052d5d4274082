"""What the Redis broker knows of a result store on Redis, so that it can write records with its settlements."""

from celeriac.message import meta
from celeriac.message.result_format import ResultFormat
from celeriac.redis_client.address import Place
from celeriac.states import SUCCESS
from celeriac.store import Record

#: Before a task's id: key of its result, and channel where it is told. Celery's.
META_PREFIX = "celery-task-meta-"


class KeepsOnRedis:
    """A result store that keeps Celery's keys in a database at `place`, for `seconds` ("" for ever).

    Its entries are JSON unless `format` says otherwise: then the broker leaves them to it.
    """

    place: Place
    seconds: int | str
    format: ResultFormat


def record_arguments(record: Record) -> tuple[str, bytes, str]:
    """Return what `keep_record` in record.lua takes: key, JSON, and whether it is a success."""
    return META_PREFIX + record.id, meta.encode(record), "1" if record.state == SUCCESS else ""
