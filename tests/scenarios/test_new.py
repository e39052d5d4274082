"""`celeriac new` and `celeriac demo`: from nothing to tasks that run, by the commands as they are typed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.scenarios.small_project import PATIENCE, Project, clean_environment
from tests.scenarios.test_dev import Session, all_gone
from tests.servers import free_port


def celeriac(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "celeriac", *words],
        cwd=folder,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_new_project_is_ready_to_run(tmp_path: Path) -> None:
    done = celeriac(tmp_path, "new", "shop")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n  cd shop\n  python manage.py celeriac dev\n")
    project = object.__new__(Project)
    project.folder = tmp_path / "shop"
    for words in (["check", "--fail-level", "INFO"], ["migrate", "--check"]):
        done = project.manage(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    done = project.manage("celeriac", "schedule", "list")
    assert done.stdout.startswith("tick: every 15 seconds;"), done.stdout + done.stderr
    eager = "from shop.tasks import add; print(add.apply((2, 3)).get())"
    assert project.manage("shell", "-v0", "-c", eager).stdout == "5\n"


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    done = celeriac(tmp_path, "new", "shop")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: shop is there already. Name another, or take it away.\n",
    )
    done = celeriac(tmp_path, "new", "json")
    assert done.returncode == 1
    assert "conflicts with the name of an existing Python module" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_the_demo_leaves_nothing(tmp_path: Path) -> None:
    here = object.__new__(Project)
    here.folder = tmp_path
    words = ("-m", "celeriac", "demo", "--port", str(free_port()))
    demo = Session(here, sys.executable, *words, TMPDIR=str(tmp_path))
    try:
        demo.sees(r"Log in to its admin as admin with the password \S+")
        demo.sees(r"tasks +6 in demo")
        demo.sees(r"schedule +3 entries: count, greet, shaky")
        demo.sees(r"✓ greet")
        pids = demo.descendants()
        os.kill(demo.process.pid, signal.SIGTERM)
        assert demo.ends() == 0, demo.text
        all_gone(pids)
        assert list(tmp_path.glob("celeriac-demo-*")) == []
    finally:
        demo.close()
