"""The shop's demo, as `make demo` runs it: its own processes, fewer orders, in a folder of the test's own."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
MANAGE = TOP / "examples" / "shop" / "manage.py"
WITH_REDIS = TOP / "scripts" / "with_redis.py"
ORDERS = 60
PATIENCE = 200
REPORT = "store.tasks.report_the_day"

pytest.importorskip("PIL")
pytest.importorskip("reportlab")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command on the shop in the test's folder; ends it with the test. A Redis that is slow is there."""
    (tmp_path / "patient.py").write_text(
        "from shop.settings import *\nCELERY_TASK_PUBLISH_TIMEOUT = CELERY_BROKER_CONNECTION_TIMEOUT = 60\n"
    )
    started: list[subprocess.Popen[str]] = []
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE", "FORCE_COLOR")
    }

    shop = {"SHOP_VAR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "patient", "PYTHONPATH": str(tmp_path)}

    def begin(*command: str | Path, **extra: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            env=environment | shop | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    text, _ = process.communicate(timeout=2 * PATIENCE)
    return process.returncode, text


def demo(*options: str) -> list[str]:
    return [str(MANAGE), "demo", "--orders", str(ORDERS), "--patience", str(PATIENCE), *options]


def worker_of(text: str) -> int:
    found = re.search(r"worker +process (\d+)", text)
    assert found, text
    return int(found.group(1))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def asked(orders: int) -> int:
    """How many tasks the demo asks for: 4 a sign-up, 3 an order, 5 an upload."""
    return 4 * max(5, orders // 25) + 3 * orders + 5 * max(3, orders // 50)


def states(folder: Path) -> dict[str, int]:
    """How many of the tasks that were asked for are in which state; the schedule's are left out."""
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        return dict(
            database.execute(
                "SELECT state, count(*) FROM celeriac_taskresult WHERE name <> ? GROUP BY state", (REPORT,)
            )
        )


def reported(folder: Path) -> tuple[int, int]:
    """How many orders there are, and of these on the day of the last report: a demo may go on past midnight."""
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        (orders,) = database.execute("SELECT count(*) FROM store_order").fetchone()
        query = (
            "SELECT count(*) FROM store_order WHERE date(placed_at) = (SELECT max(day) FROM store_dayreport)"
        )
        (that_day,) = database.execute(query).fetchone()
    return orders, that_day


def assert_accounted_for(status: int, text: str, folder: Path, runs: int = 1) -> None:
    assert status == 0, text
    assert "✕ print_label" in text
    assert "no carrier delivers to 'Atlantis'" in text
    assert f"✓ {asked(ORDERS)} tasks asked for, {asked(ORDERS)} with a final result" in text
    assert "✓ 1 failed for good" in text
    fired = re.search(
        r"✓ (\d+) times the schedule fired; its report of the day counts (\d+) of (\d+) orders", text
    )
    orders, that_day = reported(folder)
    assert orders == runs * ORDERS
    assert fired and int(fired[1]) >= 1 and fired[2] == fired[3] == str(that_day), text
    assert "\x1b" not in text, "no colours where there is no terminal"
    assert states(folder) == {"SUCCESS": runs * (asked(ORDERS) - 1), "FAILURE": runs}
    assert len(list((folder / "media" / "labels").glob("*.pdf"))) == runs * (ORDERS - 1)
    assert not is_running(worker_of(text))


def test_demo_on_sqlite_accounts_for_every_task_and_does_so_again(start: Start, tmp_path: Path) -> None:
    for runs in (1, 2):
        status, text = finish(start(*demo()))
        assert_accounted_for(status, text, tmp_path, runs)


def test_demo_on_redis(start: Start, tmp_path: Path) -> None:
    if not (shutil.which("redis-server") or shutil.which("valkey-server")):
        if os.environ.get("CI"):
            pytest.fail("redis-server is missing")
        pytest.skip("redis-server is missing")
    status, text = finish(start(WITH_REDIS, sys.executable, *demo()))
    assert_accounted_for(status, text, tmp_path)
    port = re.search(r"redis://127\.0\.0\.1:(\d+)/0", text)
    assert port, text
    # Not by its port, which somebody else may have by now.
    assert not [line for line in command_lines() if re.search(rf"-server \S+:{port[1]}$", line)]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stopped_demo_stops_its_worker(start: Start, tmp_path: Path, name: str) -> None:
    process = start(*demo("--orders", "2000"))
    wait_for_log(tmp_path / "worker.log")
    process.send_signal(getattr(signal, name))
    status, text = finish(process)
    assert status == 130, text
    assert "Stopped. The worker has ended" in text
    assert not is_running(worker_of(text))


def test_a_worker_that_dies_fails_the_demo_and_shows_why(start: Start, tmp_path: Path) -> None:
    process = start(*demo("--orders", "2000"), PYTHONUNBUFFERED="1")
    wait_for_log(tmp_path / "worker.log")
    assert process.stdout is not None
    line = ""
    while "process" not in line:
        line = process.stdout.readline()
        assert line, "the demo ended without naming its worker"
    os.kill(worker_of(line), signal.SIGKILL)
    status, text = finish(process)
    assert status == 1, text
    assert "The worker ended with status -9." in text
    assert "worker.log:" in text


def test_a_broker_that_is_not_there_is_told_in_one_line(start: Start) -> None:
    status, text = finish(start(*demo(), CELERY_BROKER_URL="redis://127.0.0.1:1/0"))
    assert status == 1, text
    assert "127.0.0.1:1" in text
    assert "Traceback" not in text


def test_the_shop_s_own_tests_pass(start: Start) -> None:
    status, text = finish(start("-W", "error", MANAGE, "test", "store", "--noinput"))
    assert status == 0, text
    assert re.search(r"Ran \d+ tests", text)


def command_lines() -> list[str]:
    """Those of all processes; a Redis gives itself one that ends with its address."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    return found


def wait_for_log(path: Path, within: float = PATIENCE) -> None:
    """Until the worker has written something, which it does when it has started."""
    deadline = time.monotonic() + within
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < deadline, "the worker's log stayed empty"
        time.sleep(0.05)
