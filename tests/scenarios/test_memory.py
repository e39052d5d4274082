"""What an idle worker holds: gates, so that what its processes share stays shared. The figures are the bench's."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import PROJECT

#: Of an idle child that has run a task, in KB; 4,000 to 5,700 where this is written.
OWN = 6_500

#: What a worker has no use for, or only at times.
LATE = {
    "email.mime",
    "http.server",
    "importlib.metadata",
    "importlib.resources",
    "prometheus_client",
    "zipfile",
}

PROGRAM = """
import sys
import django
django.setup()
before = set(sys.modules)
from celeriac.cli import checks, worker
from celeriac.registry import current_app
from celeriac.worker import start
checks.prepare(current_app())
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell")
@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_an_idle_child_has_little_for_itself(make_project: MakeProject, place: str) -> None:
    project = make_project(place, **PATIENT)
    with project.working() as worker:
        project.client.send("work", [["first", 0]])
        project.client.wait_empty()
        own = [private(pid) for pid in worker.children()]
        assert len(own) == 2
        assert max(own) <= OWN, own


def private(pid: int) -> int:
    """Return how many KB only this process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


@pytest.mark.parametrize("place", ["sqlite", "redis"])
def test_what_a_worker_loads(make_project: MakeProject, place: str) -> None:
    environment = make_project(place, **PATIENT).environment()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert "celeriac.worker.supervisor" in loaded
    assert not loaded & LATE
    # Migrations of all apps, which nobody asks for.
    assert not [name for name in loaded if ".migrations.0" in name]
