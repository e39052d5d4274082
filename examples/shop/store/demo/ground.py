"""Gets the shop ready to use: tables, products, somebody who may enter the admin. Called by `setup` and `demo`."""

from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.core.management import call_command

ADMIN = "admin"
PASSWORD = "admin"


@dataclass(frozen=True, slots=True)
class Ground:
    admin_is_new: bool


def prepare() -> Ground:
    """Migrate, and make the admin user unless there is one. Safe to call again."""
    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model().objects
    if users.filter(username=ADMIN).exists():
        return Ground(admin_is_new=False)
    users.create_superuser(ADMIN, "admin@example.com", PASSWORD)
    return Ground(admin_is_new=True)
