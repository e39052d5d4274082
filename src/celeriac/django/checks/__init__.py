"""System checks under the tag `celeriac`: what is wrong, by number, and how to mend it.

Run by `manage.py check`, `runserver` and `migrate`. What can be found is declared in `declared`, from which the
reference page is made. Only the checks of production (`--deploy`) and of databases (`--database`) are not run always.
"""

from django.core import checks

from celeriac.django.checks.django_tasks import check_django_tasks
from celeriac.django.checks.keepers import check_keepers
from celeriac.django.checks.production import check_production
from celeriac.django.checks.project import check_settings, check_times
from celeriac.django.checks.tables import check_tables
from celeriac.django.checks.work import check_work

TAG = "celeriac"

__all__ = [
    "check_django_tasks",
    "check_keepers",
    "check_production",
    "check_settings",
    "check_tables",
    "check_times",
    "check_work",
    "register",
]


def register() -> None:
    """Register the checks with Django."""
    for check in (check_settings, check_times, check_keepers, check_work, check_django_tasks):
        checks.register(check, TAG)
    checks.register(check_production, TAG, checks.Tags.security, deploy=True)
    checks.register(check_tables, TAG, checks.Tags.database)
