"""What tasks say comes out of Celery's worker and of ours alike, where the settings are the same."""

import re

import pytest

from tests.interop.test_celery import SIDES, Fleet, fleet

__all__ = ["fleet"]
pytestmark = pytest.mark.redis


def log_of(fleet: Fleet, side: str, wanted: str) -> tuple[str, list[str]]:
    """Run the talking task in a worker that is set up as `wanted`; return its id and the lines of the log."""
    fleet.environment["TALKING"] = wanted
    with fleet.worker(side):
        task_id = fleet.call(side, "r = talk.delay(); r.get(timeout=100); out = r.id")
    return task_id, (fleet.folder / f"{side}.log").read_text().splitlines()


@pytest.mark.parametrize("side", SIDES)
def test_formats_root_logger_and_stdout(fleet: Fleet, side: str) -> None:
    task_id, lines = log_of(fleet, side, "formats root stdout")
    task_lines = [line for line in lines if line.startswith("T|")]
    assert task_lines == [f"T|shop.talk|{task_id}|DATE|INFO|said"]
    (plain,) = [line for line in lines if "plain" in line]
    (printed,) = [line for line in lines if "printed" in line]
    child = {"celery": r"ForkPoolWorker-\d", "celeriac": r"Child-\d+"}[side]
    assert re.fullmatch(rf"W\|{child}\|WARNING\|plain", plain)
    assert re.fullmatch(rf"W\|{child}\|ERROR\|printed", printed)
    assert any(line.startswith("W|MainProcess|INFO|") and " ready." in line for line in lines)
    assert not any("not said" in line for line in lines)


def test_what_is_left_alone_unless_asked(fleet: Fleet) -> None:
    """Ours alone: stdout stays stdout, and others' loggers stay what they are."""
    task_id, lines = log_of(fleet, "celeriac", "")
    assert "printed" in lines
    assert "plain" in lines  # Python's last resort, which adds nothing to it
    (said,) = [line for line in lines if "said" in line]
    assert said.endswith(f" said  talk  {task_id}")


@pytest.mark.parametrize("side", SIDES)
def test_a_receiver_of_setup_logging_does_it_all(fleet: Fleet, side: str) -> None:
    _, lines = log_of(fleet, side, "own formats root")
    told = "OWN|colorize format logfile loglevel sender"
    assert f"{told}|shop.tasks|said" in lines
    assert f"{told}|shop.plain|plain" in lines
    assert "printed" in lines
    assert not any(line.startswith(("T|", "W|")) for line in lines)


@pytest.mark.parametrize("side", SIDES)
def test_receivers_add_handlers(fleet: Fleet, side: str) -> None:
    log_of(fleet, side, "after formats root")
    told = fleet.journal.read_text().splitlines()
    arguments = "('colorize', False), ('format', '{}'), ('logfile', None), ('loglevel', 20)"
    worker, task = (
        arguments.format("W|%(processName)s|%(levelname)s|%(message)s"),
        arguments.format("T|%(task_name)s|%(task_id)s|%(asctime)s|%(levelname)s|%(message)s"),
    )
    assert told[:2] == [f"after_setup_logger None [{worker}]", f"after_setup_task_logger None [{task}]"]
    assert sorted(told[2:]) == [
        "after_setup_logger heard shop.plain plain",
        "after_setup_task_logger heard shop.tasks said",
    ]
