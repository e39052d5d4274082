"""Good code passes mypy and pyright, and each kind of bad code is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = [HERE / "typed_tasks.py", HERE / "typed_testing.py"]
PATIENCE = 600


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE + 30)
def test_mypy(tmp_path: Path) -> None:
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = true\nwarn_unused_ignores = true\n")
    done = run("mypy", "--config-file", str(config), "--cache-dir", str(tmp_path / "cache"), *map(str, FILES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found in 2 source files" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE + 30)
def test_pyright(tmp_path: Path) -> None:
    settings = {
        "include": [file.name for file in FILES],
        "typeCheckingMode": "standard",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "pythonVersion": "3.11",
    }
    for file in FILES:
        shutil.copy(file, tmp_path)
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps(settings))
    done = run("pyright", "--pythonpath", sys.executable, "--project", str(config), "--outputjson")
    answer = json.loads(done.stdout)
    told = [
        f"{one['file']}:{one['range']['start']['line'] + 1}: {one['message']}"
        for one in answer["generalDiagnostics"]
    ]
    assert told == []
    assert answer["summary"]["filesAnalyzed"] == 2
