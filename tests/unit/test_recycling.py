"""When a child is worn out."""

import gc
import logging

import pytest

from celeriac.config import Settings
from celeriac.worker import recycling
from celeriac.worker.recycling import Recycling, resident


def test_nothing_is_counted_unless_it_is_asked_for() -> None:
    assert recycling.of(Settings()) is None
    assert recycling.of(Settings(worker_max_tasks_per_child=3)) is not None
    assert recycling.of(Settings(worker_max_memory_per_child=10**9)) is not None


def test_tasks(caplog: pytest.LogCaptureFixture) -> None:
    child = Recycling(10, None)
    assert child.left(0) == 10
    child.count(6)
    assert (child.left(1), child.worn_out) == (3, False)
    with caplog.at_level(logging.INFO):
        child.count(4)
        child.count(1)
    assert child.worn_out
    assert child.left(0) <= 0
    (told,) = caplog.messages
    assert "has run 10 tasks; another takes its place" in told


def test_memory(caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()  # what is given back meanwhile would count
    child = Recycling(None, resident() + 64 * 1024)
    child.count(1)
    child.weigh()
    assert not child.worn_out
    assert child.left(10_000) > 10_000
    assert caplog.messages == []
    held = b"x" * (128 * 1024 * 1024)
    child.weigh()
    assert child.worn_out
    del held


def test_a_limit_that_is_too_low_is_told(caplog: pytest.LogCaptureFixture) -> None:
    child = Recycling(None, 1000)
    assert "worker_max_memory_per_child is 1,000 KiB" in caplog.text
    child.weigh()
    assert child.worn_out
