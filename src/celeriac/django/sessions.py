"""Which session a database has: `open_session`, called by `DatabaseBroker` and `DatabaseStore`."""

from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.connection import ConnectionDoesNotExist

from celeriac.django.session import Session
from celeriac.django.session_mariadb import MariaDBSession
from celeriac.django.session_postgres import PostgresSession
from celeriac.django.session_sqlite import SQLiteSession
from celeriac.errors import CeleriacError, ImproperlyConfigured

_SESSIONS: dict[str, type[Session]] = {
    each.vendor: each for each in (SQLiteSession, PostgresSession, MariaDBSession)
}


def open_session(url: str, setting: str, refusal: type[CeleriacError]) -> Session:
    """Return a session on the database that `url` names: `django://ALIAS`, or `django://` for the default one.

    `setting` is where the URL comes from, `refusal` what is raised where the database must not be used.
    """
    alias = url.partition("://")[2].strip("/") or DEFAULT_DB_ALIAS
    try:
        vendor = connections[alias].vendor
    except ConnectionDoesNotExist:
        known = ", ".join(sorted(connections.settings))
        raise ImproperlyConfigured(
            f"{setting} is {url!r}, and DATABASES has no {alias!r}. It has: {known}."
        ) from None
    made = _SESSIONS.get(vendor)
    if made is None:
        raise ImproperlyConfigured(
            f"{setting} is {url!r}, and database {alias!r} is {vendor}. Celeriac keeps messages and results on "
            "SQLite, PostgreSQL and MariaDB; set CELERY_BROKER_URL and CELERY_RESULT_BACKEND to redis://... instead."
        )
    return made(alias, refusal)
