"""`python manage.py import_results`: the results of django-celery-results become Celeriac's."""

import time
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from celeriac import registry
from celeriac.django.result_import import NoTables, Taken, TheirResults
from celeriac.errors import CeleriacError

_WORDS = {"new": "taken over", "updated": "updated", "there": "there already", "left out": "left out"}
_DAY = 86400


class Command(BaseCommand):
    """Take over what django-celery-results has in its tables. May be run again."""

    help = (
        "Take over the results of django-celery-results: ids, names, arguments, states, results, tracebacks, meta, "
        "times and workers become records of result_backend. Its tables stay as they are. May be run again: what is "
        "there already stays as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only say what would be done.")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="Where its tables are. [default]")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take them over in batches, tell how far it is, and end with status 1 if any could not be read."""
        conf = registry.current_app().conf
        store = registry.current_app().store
        if store is None:
            raise CommandError(
                'No results are kept here: set CELERY_RESULT_BACKEND, to "django-db" for instance.'
            )
        counts: Counter[str] = Counter()
        over = time.time() - (conf.result_expires or float("inf"))
        try:
            theirs = TheirResults(options["database"])
            total = theirs.count()
            for batch in theirs.take(store, dry_run=options["dry_run"]):
                for each in batch:
                    self._count(each, counts, over)
                done = sum(counts[fate] for fate in _WORDS)
                if done < total:
                    self.stdout.write(f"{done:,} of {total:,}")
        except (NoTables, CeleriacError) as error:
            raise CommandError(str(error)) from None
        told = ", ".join(f"{counts[fate]:,} {word}" for fate, word in _WORDS.items() if counts[fate])
        self.stdout.write(
            ("Nothing was changed. It would be: " if options["dry_run"] else "")
            + f"{told or 'nothing there'}."
        )
        self._tell_the_rest(counts, theirs.count_groups(), (conf.result_expires or 0) / _DAY)
        if counts["left out"]:
            raise CommandError("Some could not be taken over; they stay where they are.")

    def _count(self, each: Taken, counts: Counter[str], over: float) -> None:
        counts[each.fate] += 1
        if each.fate == "left out":
            self.stderr.write(f"{each.task_id[:64]}: left out, {each.why}")
        elif each.fate != "there" and each.record is not None and (each.record.finished or over) < over:
            counts["over"] += 1

    def _tell_the_rest(self, counts: Counter[str], groups: int, days: float) -> None:
        if counts["over"]:
            self.stdout.write(
                f"{counts['over']:,} of them are older than result_expires, {days:g} days: the next clean-up deletes "
                "them. To keep them, set CELERY_RESULT_EXPIRES before a worker runs."
            )
        if groups:
            self.stdout.write(f"{groups:,} results of groups stay behind: groups come with workflows.")
