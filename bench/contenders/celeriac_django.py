"""celeriac in a Django project: on its database, or on Redis where the settings say so."""

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from celeriac.registry import current_app  # noqa: E402

from .celeriac_app.tasks import noop, noted  # noqa: E402
from .celeriac_tasks import CeleriacContender  # noqa: E402


def prepare() -> None:
    call_command("migrate", verbosity=0)


def stored() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM celeriac_taskresult WHERE state = 'SUCCESS'")
        return int(cursor.fetchone()[0])


_contender = CeleriacContender(current_app(), noop, noted)
one_by_one = _contender.one_by_one
bulk = _contender.bulk
fill = _contender.fill
note = _contender.note
schedule = _contender.schedule
waiting = _contender.waiting
