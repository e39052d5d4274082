"""How long the admin's task list takes at 1,000,000 results on SQLite: `python -m bench.admin_pages [ROWS]`.

Fills a database in a temporary folder through the result store, asks for each kind of page through Django's test
client, and prints the 50th and 95th percentile in milliseconds beside the goal: 150, for a search 300. With a million
rows it writes them into `admin_pages.md` as well, which `RESULTS.md` takes in.
"""

import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import django
from django.conf import settings

ROUNDS = 20
HEADING = """### The admin's task list at {rows:,} results, SQLite

`python -m bench.admin_pages` on {date}: 20 requests of each kind, at most 8 queries each.

| filter or search | p50, ms | p95, ms | goal for p95 |
| --- | ---: | ---: | ---: |"""
PAGES = (
    "",
    "state=FAILURE",
    "name=shop.tasks.task_1",
    "state=FAILURE&name=shop.tasks.task_1",
    "worker=w3",
    "p=200",
    "q=id-4711",
    "q=shop.tasks.task_7",
    "q=nowhere",
)


def configure(folder: Path) -> None:
    """Set up the tests' project, which has nothing but the admin and Celeriac, on a database of its own."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django.settings"
    os.environ["CELERIAC_TEST_SQLITE"] = str(folder / "db.sqlite3")
    django.setup()
    settings.ALLOWED_HOSTS = ["testserver"]


def fill(rows: int) -> None:
    """Store `rows` results of 61 tasks, 4 % of them failed."""
    from celeriac.django.store import DatabaseStore
    from celeriac.store import Record

    store, now = DatabaseStore("django-db", None), time.time()
    for first in range(0, rows, 10_000):
        store.store(
            [
                Record(
                    f"id-{n}", "FAILURE" if n % 25 == 0 else "SUCCESS", name=f"shop.tasks.task_{n % 61}",
                    args=f"({n},)", queue="celery", worker=f"w{n % 7}", enqueued=now - n - 2, started=now - n - 1,
                    finished=now - n,
                )
                for n in range(first, min(first + 10_000, rows))
            ]
        )  # fmt: skip


def main() -> int:
    """Measure and print; return 1 if a goal is missed."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder))
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.test import Client

        call_command("migrate", verbosity=0)
        began = time.monotonic()
        fill(rows)
        print(f"{rows:,} results stored in {time.monotonic() - began:.0f} s")
        client = Client()
        client.force_login(User.objects.create_superuser("admin", password="admin"))
        missed = 0
        lines = [HEADING.format(rows=rows, date=f"{datetime.now(UTC):%Y-%m-%d}")]
        for page in PAGES:
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                response = client.get(f"/admin/celeriac/taskresult/?{page}")
                times.append((time.perf_counter() - start) * 1000)
                if response.status_code != 200:
                    raise SystemExit(f"{page}: {response.status_code}")
            p95 = statistics.quantiles(times, n=20)[-1]
            goal = 300 if page.startswith("q=") else 150
            missed += p95 > goal
            print(
                f"{page or 'all':40} p50 {statistics.median(times):6.0f} ms  p95 {p95:6.0f} ms  goal {goal} ms"
            )
            lines.append(f"| `{page or '(all)'}` | {statistics.median(times):.0f} | {p95:.0f} | {goal} |")
    if rows >= 1_000_000:
        Path(__file__).with_name("admin_pages.md").write_text("\n".join(lines) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
