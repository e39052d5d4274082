"""Where a producer or worker process finds itself: the addresses that the bench hands down in the environment.

Contender modules import it first. With ``BENCH_DJANGO`` it sets Django up, so that memory and start-up are
compared with Django loaded on both sides.
"""

import os

REDIS_URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
SQLITE_FILE = os.environ.get("BENCH_SQLITE", "bench.sqlite3")
RESULTS = os.environ.get("BENCH_RESULTS") == "1"

if os.environ.get("BENCH_DJANGO") == "1":
    import django

    django.setup()
