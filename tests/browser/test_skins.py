"""The admin's pages under packages that give Django's admin another look: all are there, with what matters on them."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.browser.serving import PATIENCE, TOP


@pytest.mark.parametrize("skin", ["", "unfold", "jazzmin", "grappelli"])
def test_every_page(skin: str, tmp_path: Path) -> None:
    if skin and find_spec(skin) is None:
        pytest.skip(f"django-{skin} is not installed")
    environment = os.environ | {
        "CELERIAC_TEST_SKIN": skin,
        "CELERIAC_TEST_SQLITE": str(tmp_path / "db.sqlite3"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.browser.pages"],
        cwd=TOP, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 11, done.stderr
    assert [line for line in lines if not line.startswith("ok 200 ")] == []
