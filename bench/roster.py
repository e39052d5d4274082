"""Who takes part: each contender's module, how its two worker processes are started, and what it is called.

Data only. Options that make a peer quicker than its defaults are set here or in its module, never ones that slow
it down.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["ours", "peer", "reference"]
_PYTHON = sys.executable
_CELERY = (_PYTHON, "-m", "celery", "-A", "bench.contenders.celery_redis", "worker", "-l", "warning")
_CELERY_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
_HUEY_OPTIONS = ("-w", "2", "-k", "process", "-q")
_TASKIQ_OPTIONS = ("-w", "2", "--log-level", "WARNING", "--max-async-tasks", "500", "--max-prefetch", "1000")
_CELERIAC = str(Path(_PYTHON).parent / "celeriac")
_CELERIAC_OPTIONS = ("worker", "-c", "2", "-l", "warning")


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a comparison."""

    name: str
    label: str
    module: str
    server: Literal["redis", "sqlite"]
    kind: Kind = "peer"
    needs: tuple[str, ...] = ()
    workers: tuple[tuple[str, ...], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""

    def missing(self) -> list[str]:
        """The packages it needs that are not installed."""
        return [package for package in self.needs if importlib.util.find_spec(package) is None]


_ALL = (
    Contender(
        "celeriac-redis",
        "celeriac (Redis)",
        "celeriac_redis",
        "redis",
        "ours",
        needs=("celeriac", "hiredis"),
        workers=((_CELERIAC, "-A", "bench.contenders.celeriac_redis", *_CELERIAC_OPTIONS),),
    ),
    Contender(
        "celeriac-coroutines",
        "celeriac (coroutines, Redis)",
        "celeriac_coroutines",
        "redis",
        "ours",
        needs=("celeriac", "hiredis"),
        workers=(
            (_CELERIAC, "-A", "bench.contenders.celeriac_coroutines", "worker", "-c", "1", "-l", "warning"),
        ),
        remark="one process, `worker_async_concurrency=10_000`",
    ),
    Contender(
        "celeriac-sqlite",
        "celeriac (Django, SQLite)",
        "celeriac_django",
        "sqlite",
        "ours",
        needs=("celeriac", "django"),
        workers=((_PYTHON, "-m", "django", "celeriac", *_CELERIAC_OPTIONS),),
        env={"BENCH_APP": "celeriac"},
    ),
    Contender(
        "celeriac-django-redis",
        "celeriac (Django, Redis)",
        "celeriac_django",
        "redis",
        "ours",
        needs=("celeriac", "django", "hiredis"),
        workers=((_PYTHON, "-m", "django", "celeriac", *_CELERIAC_OPTIONS),),
        env={"BENCH_APP": "celeriac", "BENCH_BROKER": "redis"},
    ),
    Contender(
        "celery",
        "Celery",
        "celery_redis",
        "redis",
        needs=("celery",),
        workers=((*_CELERY, "-c", "2", *_CELERY_QUIET),),
        remark="prefork, `-c 2`, late acknowledgement, prefetch multiplier 64, no gossip, mingle or heartbeat",
    ),
    Contender(
        "celery-solo",
        "Celery, two solo workers",
        "celery_redis",
        "redis",
        needs=("celery",),
        workers=tuple((*_CELERY, "-P", "solo", "-n", f"solo{n}@bench", *_CELERY_QUIET) for n in (1, 2)),
        remark="as above, without the pool: two workers of one process each",
    ),
    Contender(
        "dramatiq",
        "Dramatiq",
        "dramatiq_redis",
        "redis",
        needs=("dramatiq", "redis"),
        workers=((_PYTHON, "-m", "dramatiq", "bench.contenders.dramatiq_redis", "-p", "2", "-t", "1"),),
        env={"dramatiq_queue_prefetch": "1000"},
        remark="`-p 2 -t 1`, prefetch raised to 1,000",
    ),
    Contender(
        "taskiq",
        "taskiq (streams)",
        "taskiq_streams",
        "redis",
        needs=("taskiq", "taskiq_redis"),
        workers=(
            (_PYTHON, "-m", "taskiq", "worker", "bench.contenders.taskiq_streams:broker", *_TASKIQ_OPTIONS),
        ),
        remark="`-w 2`, coroutines, 500 at once, 1,000 entries a read and prefetched, acknowledged once saved",
    ),
    Contender(
        "huey-redis",
        "huey (Redis)",
        "huey_redis",
        "redis",
        needs=("huey", "redis"),
        workers=(
            (_PYTHON, "-m", "huey.bin.huey_consumer", "bench.contenders.huey_redis.huey", *_HUEY_OPTIONS),
        ),
        remark="`-w 2 -k process`; at most once",
    ),
    Contender("rq", "rq", "rq_redis", "redis", needs=("rq",), remark="producers only"),
    Contender(
        "huey-sqlite",
        "huey (SQLite)",
        "huey_sqlite",
        "sqlite",
        needs=("huey",),
        workers=(
            (_PYTHON, "-m", "huey.bin.huey_consumer", "bench.contenders.huey_sqlite.huey", *_HUEY_OPTIONS),
        ),
        remark="`-w 2 -k process`; WAL, synchronous NORMAL; at most once; without Django",
    ),
    Contender(
        "tasks-db",
        "django-tasks-db",
        "tasks_db",
        "sqlite",
        needs=("django", "django_tasks_db"),
        workers=((_PYTHON, "-m", "django", "db_worker", "--no-startup-delay", "--no-reload", "-v", "0"),) * 2,
        env={"BENCH_APP": "tasks_db"},
        remark="two `db_worker`; WAL, synchronous NORMAL; it always stores results",
    ),
    Contender("bare-redis", "bare socket", "bare_redis", "redis", "reference", needs=("redis",)),
    Contender("bare-sqlite", "bare INSERT", "bare_sqlite", "sqlite", "reference"),
)

CONTENDERS: Mapping[str, Contender] = {contender.name: contender for contender in _ALL}
PACKAGES = tuple(
    "celeriac Django celery kombu dramatiq taskiq taskiq-redis huey rq django-tasks-db redis hiredis msgspec".split()
)


def environment() -> dict[str, str]:
    """What every process of the bench inherits."""
    root = Path(__file__).resolve().parent.parent
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BENCH_", "PYTHON"))}
    return inherited | {
        "PYTHONPATH": str(root),
        "DJANGO_SETTINGS_MODULE": "bench.django_settings",
    }
