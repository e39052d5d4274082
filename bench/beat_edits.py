"""Entries in the database for `bench.beat`, which starts this in processes of its own: `fill N`, and `edit`.

`edit` changes one entry twenty times such that it is due at once, and tells how long after each commit its task was in
the queue.
"""

import statistics
import sys
import time
from datetime import UTC, datetime

import django
import redis
from django.conf import settings
from django.core.management import call_command

EDITS = 20
LOOK = 0.001
PATIENCE = 30.0
QUEUE = "edits"


def main() -> int:
    """Do what the first argument says."""
    django.setup()
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        took = edit()
        count = others()
        print(
            f"Beside {count:,} others an entry was changed {len(took)} times such that it is due at once. So long "
            f"after its commit the task was in the queue: median {statistics.median(took):.2f} s, at most "
            f"{max(took):.2f} s (goal: within 1 s)."
        )
    return 0


def fill(entries: int) -> None:
    """Make the tables, and entries that are due each minute."""
    from celeriac.django.models import Schedule

    call_command("migrate", verbosity=0)
    Schedule.objects.bulk_create(
        Schedule(name=f"entry-{n}", task="bench.noop", kind="crontab", args=[n]) for n in range(entries)
    )


def others() -> int:
    """Return how many entries there are besides."""
    from celeriac.django.models import Schedule

    count: int = Schedule.objects.exclude(name="edited").count()
    return count


def edit() -> list[float]:
    """Return how many seconds each edit took to be heard."""
    from celeriac.django.models import Schedule

    far = datetime(2100, 1, 1, tzinfo=UTC)
    entry = Schedule(
        name="edited", task="bench.noop", args=[0], queue=QUEUE, kind="clocked", clocked_time=far
    )
    entry.save()
    took = []
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as client:
        for number in range(EDITS):
            time.sleep(0.037 * number)  # at another time between two looks of beat's
            entry.clocked_time, entry.enabled = datetime.now(UTC), True
            entry.save()
            saved = time.monotonic()
            while client.llen(QUEUE) <= number:
                if time.monotonic() > saved + PATIENCE:
                    raise SystemExit(f"edit {number} was not heard")
                time.sleep(LOOK)
            took.append(time.monotonic() - saved)
    return took


if __name__ == "__main__":
    sys.exit(main())
