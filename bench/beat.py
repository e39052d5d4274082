"""How late beat is with 10,000 entries that are all due at the start of each minute: `python -m bench.beat [ENTRIES]`.

Starts our beat, with the entries in code and with the entries in Django's database, and then Celery's, on the same
schedule and an empty private Redis, and looks at the queue every 5 ms for two minutes' starts: when the last entry of a
minute is in it, and what share of a core beat has taken from one to the next. Prints that beside the goal: none late by
more than 1 s, less than 30 % of a core. Then, with as many entries in the database, how soon an edit is heard
(`bench.beat_edits`). With 10,000 entries it writes all that into `beat.md` as well, which `RESULTS.md` takes in.
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis

from .procs import Process
from .redis_server import RedisServer, private_redis

ENTRIES = 10_000
MINUTES = 2
LATE, SHARE = 1.0, 30.0  # the goal: seconds, and per cent of a core
LOOK = 0.005
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 58.0  # seconds after the full minute in which all of it must be there: before the next one
TICK = os.sysconf("SC_CLK_TCK")

PROJECT = """\
from {package} import {name}
from {package}.schedules import crontab

app = {name}("shop", broker="{url}")


@app.task(name="shop.noop")
def noop(n: int) -> None: ...


app.conf.beat_schedule = {{
    f"entry-{{n}}": {{"task": "shop.noop", "schedule": crontab(), "args": (n,)}} for n in range({entries})
}}
"""
OURS, THEIRS, KEPT = ("celeriac", "Celeriac"), ("celery", "Celery"), "celeriac, entries in SQLite"
HEADING = """### Beat: {entries:,} entries, all due at the start of each minute, Redis

`python -m bench.beat` on {date}: so long after a minute's start its last task is in the queue, and so much of a core
beat takes from one minute to the next.

| | half of them, s late | the last, s late | of a core, % | goal |
| --- | ---: | ---: | ---: | --- |"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one beat, by minute: when half and all of the tasks were in the queue, in seconds; per cent of a core."""

    half: list[float]
    last: list[float]
    share: float


def main() -> int:
    """Measure and print; return 1 if our beat misses a goal."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    lines = [HEADING.format(entries=entries, date=f"{datetime.now(UTC):%Y-%m-%d}")]
    print(lines[0], flush=True)
    missed, heard = False, ""
    with tempfile.TemporaryDirectory() as folder:
        for number, start in enumerate((ours, ours_kept, theirs)):
            place = Path(folder, str(number))
            place.mkdir()
            with private_redis(place / "redis") as server:
                started = start(place, server, entries)
                try:
                    seen = measure(started, server, entries)
                    heard = edited(started) if start is ours_kept else heard
                finally:
                    started.beat.stop()
            is_ours = start is not theirs
            goal = f"<= {LATE:g} s, < {SHARE:g} %" if is_ours else ""
            figures = f"{late(statistics.median(seen.half))} | {late(max(seen.last))} | {seen.share:.1f}"
            lines.append(f"| {started.name} | {figures} | {goal} |")
            print(lines[-1], flush=True)
            missed |= is_ours and (max(seen.last) > LATE or seen.share >= SHARE)
    print(f"\n{heard}")
    if entries >= ENTRIES:
        Path(__file__).with_name("beat.md").write_text("\n".join([*lines, "", heard]) + "\n")
    return 1 if missed else 0


@dataclass(frozen=True, slots=True)
class Started:
    """A beat that runs, under its name in the table; `env` is what its project needs."""

    name: str
    beat: Process
    env: dict[str, str]


def ours(folder: Path, server: RedisServer, entries: int) -> Started:
    """Start our beat on entries in code."""
    return in_code(folder, server, OURS, entries)


def theirs(folder: Path, server: RedisServer, entries: int) -> Started:
    """Start Celery's beat, with its file in the folder."""
    return in_code(folder, server, THEIRS, entries, "-s", str(folder / "schedule"))


def in_code(folder: Path, server: RedisServer, of: tuple[str, str], entries: int, *more: str) -> Started:
    """Start a beat on a module with an app and its entries."""
    package, name = of
    text = PROJECT.format(package=package, name=name, url=server.url(), entries=entries)
    folder.joinpath("scheduled.py").write_text(text)
    argv = [sys.executable, "-m", package, "-A", "scheduled", "beat", "-l", "warning", *more]
    return Started(package, Process(argv, env=os.environ, log=folder / "log", cwd=folder), dict(os.environ))


def ours_kept(folder: Path, server: RedisServer, entries: int) -> Started:
    """Start our beat on entries in a database."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "bench.django_settings",
        "BENCH_APP": "celeriac",
        "BENCH_BROKER": "redis",
        "BENCH_REDIS": server.url(),
        "BENCH_SQLITE": str(folder / "db.sqlite3"),
    }
    subprocess.run([sys.executable, "-m", "bench.beat_edits", "fill", str(entries)], env=env, check=True)
    argv = [sys.executable, "-m", "django", "celeriac", "beat", "-l", "warning"]
    return Started(KEPT, Process(argv, env=env, log=folder / "log", cwd=folder), env)


def edited(started: Started) -> str:
    """Return in words how soon edits were heard."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.beat_edits", "edit"],
        env=started.env, check=True, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    return done.stdout.strip()


def measure(started: Started, server: RedisServer, entries: int) -> Measured:
    """Look at one beat over `MINUTES` starts of a minute, after a first one in which it may still be starting."""
    beat = started.beat
    half, last, used = [], [], []
    with redis.Redis.from_url(server.url()) as client:
        for start in next_minutes(MINUTES + 1):
            client.delete("celery")
            used.append(cpu_seconds(beat.popen.pid))
            half.append(filled(client, entries // 2, start, beat))
            last.append(filled(client, entries, start, beat))
        time.sleep(max(0.0, start + 60 - 1 - time.time()))
        used.append(cpu_seconds(beat.popen.pid))
    # The first minute has the start in it.
    return Measured(half[1:], last[1:], 100 * (used[-1] - used[1]) / (60 * MINUTES))


def next_minutes(count: int) -> Iterator[float]:
    """Yield the starts of the next minutes, a second before each; the first is not before ten seconds from now."""
    first = (time.time() + 10) // 60 * 60 + 60
    for number in range(count):
        start = first + 60 * number
        time.sleep(max(0.0, start - 1 - time.time()))
        yield start


def filled(client: "redis.Redis", count: int, start: float, beat: Process) -> float:
    """Return how many seconds after `start` the queue had so many messages; infinity: not within the minute."""
    while client.llen("celery") < count:
        if not beat.alive:
            raise SystemExit(f"{client.llen('celery')} of {count} came\n{beat.tail()}")
        if time.time() > start + PATIENCE:
            return math.inf
        time.sleep(LOOK)
    return time.time() - start


def late(seconds: float) -> str:
    """Return how late something was, in words."""
    return f"{seconds:.2f}" if math.isfinite(seconds) else "not within the minute"


def cpu_seconds(pid: int) -> float:
    """Return how long a process has had a core so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


if __name__ == "__main__":
    sys.exit(main())
