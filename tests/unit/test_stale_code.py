"""A worker tells that the files of its tasks have changed."""

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac import Celeriac, Task
from celeriac.worker.stale import StaleCode

MODULE = "from celeriac import shared_task\n\n@shared_task\ndef job(): ...\n"


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Task]]:
    """Tasks of two modules of a project."""
    for name in ("stale_one", "stale_two"):
        (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    app = Celeriac("stale", broker="memory://stale")
    yield [importlib.import_module(name).job for name in ("stale_one", "stale_two")]
    app.close()
    for name in ("stale_one", "stale_two"):
        del sys.modules[name]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def change(file: Path) -> None:
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def test_it_is_told_once_and_not_before_a_minute(
    tasks: list[Task], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clock = Clock()
    stale = StaleCode(tasks, clock)
    with caplog.at_level(logging.WARNING):
        clock.now += 61
        stale.look()
        assert caplog.messages == []
        change(tmp_path / "stale_two.py")
        clock.now += 30
        stale.look()
        assert caplog.messages == []
        clock.now += 89
        stale.look()
        (told,) = caplog.messages
        change(tmp_path / "stale_one.py")
        clock.now += 600
        stale.look()
    assert told.startswith("stale_two.py changed after this worker had started, 3 min ago")
    assert "E122" in told
    assert len(caplog.messages) == 1


def test_files_that_are_gone_have_changed(
    tasks: list[Task], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    stale = StaleCode(tasks, clock)
    for file in tmp_path.glob("*.py"):
        file.unlink()
    clock.now += 60
    stale.look()
    (told,) = caplog.messages
    assert told.startswith(f"{tmp_path / 'stale_one.py'} and 1 more changed")
