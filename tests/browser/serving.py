"""The project of these tests, served: for tests in a browser, and for the pictures in the docs."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.scenarios.journal import until
from tests.servers import free_port

TOP = Path(__file__).resolve().parents[2]
PATIENCE = 200.0


@contextmanager
def served(folder: Path, skin: str = "", *, filled: bool = False) -> Iterator[str]:
    """Serve the project and give the address of its admin, which has a superuser "boss", password "celeriac"."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
        "CELERIAC_TEST_SQLITE": str(folder / "db.sqlite3"),
        "CELERIAC_TEST_SKIN": skin,
        "PYTHONPATH": os.pathsep.join([str(TOP), os.environ.get("PYTHONPATH", "")]),
    }
    manage = [sys.executable, "-m", "django"]
    # All in one process: on a busy machine each takes long to start.
    text = f"from tests.browser import filled; filled.set_up(fill_it={filled})"
    command = [*manage, "shell", "-v0", "-c", text]
    subprocess.run(command, env=environment, timeout=PATIENCE, check=True, stdout=subprocess.DEVNULL)
    address = f"127.0.0.1:{free_port()}"
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*manage, "runserver", "--noreload", address], env=environment, stdout=out, stderr=out
        )
    try:
        until(lambda: answers(f"http://{address}/admin/login/"), log.read_text, PATIENCE)
        yield f"http://{address}/admin/"
    finally:
        server.terminate()
        server.wait(PATIENCE)


def answers(url: str) -> bool:
    """Return whether something is there."""
    try:
        urllib.request.urlopen(url, timeout=60).close()
    except OSError:
        return False
    return True
