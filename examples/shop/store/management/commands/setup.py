"""`manage.py setup`: tables, products, and a user for the admin. `make dev` runs it first."""

from typing import Any

from django.core.management.base import BaseCommand

from store.demo import ground


class Command(BaseCommand):
    help = "Make the shop ready to use: database, products, admin user."

    def handle(self, *args: Any, **options: Any) -> None:
        if ground.prepare().admin_is_new:
            self.stdout.write(f"The shop is ready. Admin: user {ground.ADMIN}, password {ground.PASSWORD}.")
        else:
            self.stdout.write("The shop is ready.")
