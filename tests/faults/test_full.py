"""No room: SQLite's disk, Redis's memory, and the disk of Redis's log are full for a while, under load.

`delay()` says that it did not queue the task, nothing that was accepted is lost, and all goes on when there is room.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.load import PATIENT, resumed, wait_told
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account, until, wait
from tests.servers import RedisServer
from tests.size import size

#: How long there is no room.
SECONDS = size(2.0, 20.0)


@pytest.fixture
def small() -> Iterator[Path]:
    """A folder on a disk of 32 MB, with a name that is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="celeriac-small-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"no disk can be made here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=60)
    folder.rmdir()


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no room on that disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            pass
        try:
            while True:
                file.write(b"x")
        except OSError:
            pass
        yield
    filler.unlink()


@contextmanager
def no_memory(server: RedisServer) -> Iterator[None]:
    """Leave Redis no memory for anything new."""
    assert server.command("CONFIG", "SET", "maxmemory", "1") == "+OK"
    yield
    assert server.command("CONFIG", "SET", "maxmemory", "0") == "+OK"


def play(project: Project, full: Callable[[], "contextmanager[None]"]) -> None:  # type: ignore[type-var]
    """Have it full for a while."""
    probes: list[str] = []
    with project.working("-c", "2") as worker:
        processes = [worker.pid, *worker.children()]
        project.client.begin("work", range(1_000_000), 0.001, pause=0.003)
        project.journal.wait_count(50)
        with full():

            def refused() -> dict[str, object] | None:
                key = f"probe-{len(probes)}"
                answer = project.client.delay("work", key)
                if "error" in answer:
                    return dict(answer["error"])
                probes.append(key)
                return None

            error = until(refused, "delay() is refused")
            wait_told(project)
            wait(SECONDS)
        project.journal.recoveries.append(resumed(project, "there was room"))
        sent = project.client.finish(stop=True)
        project.client.wait_empty()
        assert [worker.pid, *worker.children()] == processes, f"nobody died of it:\n{worker.log[-3000:]}"
        assert not worker.said("Traceback"), worker.log[-5000:]
    done = project.journal.done()
    print(f"{error}\n{len(sent.accepted)} accepted, {len(sent.refused)} refused")
    assert error["type"] in ("BrokerDown", "BrokerError") and not error["maybe"]
    assert sent.refused and not done & set(sent.refused)
    maybe = [key for key in sent.maybe if key in done]
    assert account(project.journal, [*sent.accepted, *probes, *maybe]) == []
    assert project.client.ask("dead_letters") == []


@pytest.mark.slow
@pytest.mark.scenario("l")
def test_the_disk_that_sqlite_is_on_is_full(make_project: MakeProject, small: Path) -> None:
    play(make_project("sqlite", folder=small, **PATIENT), lambda: filled(small))


@pytest.mark.slow
@pytest.mark.scenario("l")
@pytest.mark.redis
def test_redis_has_no_memory_left(make_project: MakeProject, redis: RedisServer) -> None:
    try:
        play(make_project("redis", **PATIENT), lambda: no_memory(redis))
    finally:
        redis.command("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.slow
@pytest.mark.scenario("l")
@pytest.mark.redis
def test_the_disk_that_redis_logs_to_is_full(
    make_project: MakeProject, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small))
    with RedisServer(appendonly="yes", appendfsync="everysec") as server:
        project = make_project("redis", broker_url=server.url, result_backend=server.url, **PATIENT)
        play(project, lambda: filled(small))
