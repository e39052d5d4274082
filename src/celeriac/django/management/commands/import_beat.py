"""`python manage.py import_beat`: the schedule of django-celery-beat becomes Celeriac's."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from celeriac import registry
from celeriac.beat import entries
from celeriac.django.beat_import import NoTables, Taken, take

_WORDS = {
    "new": "taken over",
    "updated": "updated",
    "there": "there already",
    "in code": "in code; its last run was taken over",
    "not needed": "not needed",
    "left out": "left out",
}


class Command(BaseCommand):
    """Take over what django-celery-beat has in its tables, with the last runs. May be run again."""

    help = (
        "Take over the schedule of django-celery-beat, with its last runs. Its tables stay as they are. May be run "
        "again: what is there already stays as it is. Let no beat of Celery's run beside ours: both would send."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be done.")
        parser.add_argument(
            "--update", action="store_true", help="What is there already becomes again what it is there."
        )
        parser.add_argument("--database", help="Where its tables are. [where our schedule is]")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take them over, tell of each, and end with status 1 if any could not be read."""
        app = registry.current_app()
        app.load_tasks()
        in_code = entries.from_code(app, entries.read(app).values())
        try:
            taken = take(
                in_code, update=options["update"], dry_run=options["dry_run"], alias=options["database"]
            )
        except NoTables as error:
            raise CommandError(str(error)) from None
        for each in taken:
            self._tell(each)
        counts = Counter(each.fate for each in taken)
        told = ", ".join(f"{count} {_WORDS[fate]}" for fate, count in counts.items()) or "nothing there"
        self.stdout.write(("Nothing was changed. It would be: " if options["dry_run"] else "") + f"{told}.")
        if counts["left out"]:
            raise CommandError("Some could not be taken over; mend them there, or make them anew.")

    def _tell(self, each: Taken) -> None:
        line = f"{each.name}: {_WORDS[each.fate]}" + (f", {each.why}" if each.why else "")
        (self.stderr if each.fate == "left out" else self.stdout).write(line)
