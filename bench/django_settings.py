"""Django's settings for the bench: the smallest project, on SQLite in WAL with synchronous NORMAL.

The environment says which queue's app is installed; without one it is the base line that start-up is counted from.
"""

import os

SECRET_KEY = "only for the bench"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCH_SQLITE", ":memory:"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

match os.environ.get("BENCH_APP", ""):
    case "celeriac":
        INSTALLED_APPS += ["celeriac.django", "bench.contenders.celeriac_app"]
        if os.environ.get("BENCH_BROKER") == "redis":
            CELERY_BROKER_URL = os.environ["BENCH_REDIS"]
        if os.environ.get("BENCH_RESULTS") != "1":
            CELERY_TASK_IGNORE_RESULT = True
    case "tasks_db":
        INSTALLED_APPS += ["django_tasks_db"]
        TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
