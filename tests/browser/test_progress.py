"""The shop's page that shows how far a task is, while it runs: by server-sent events, and through Channels."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.serving import PATIENCE
from tests.docs.pages import DOCS, blocks
from tests.scenarios.journal import until
from tests.servers import free_port

pytest.importorskip("PIL")
pytest.importorskip("reportlab")

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"
MANAGE = str(SHOP / "manage.py")
#: Notes each value that the bar shows from now on.
NOTE = """
window.seen = [];
new MutationObserver(() => seen.push(document.querySelector("progress").value)).observe(
    document.querySelector("progress"), {attributes: true});
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Shop:
    """The shop in a folder of the test's own, its processes and its address."""

    def __init__(self, folder: Path) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("CELER", "DJANGO_"))
        }
        self._environment = kept | {"SHOP_VAR": str(folder), "DJANGO_SETTINGS_MODULE": "shop.settings"}
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.site = f"http://127.0.0.1:{self.port}"

    def run(self, *words: str) -> None:
        """Run a command to its end."""
        subprocess.run(
            [sys.executable, *words], cwd=SHOP, env=self._environment, timeout=PATIENCE, check=True
        )

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a process that goes on until the end, or is ended before."""
        with (self._folder / f"log-{len(self._started)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=SHOP, env=self._environment, stdout=log, stderr=log
            )
        self._started.append(process)
        return process

    def answers(self) -> bool:
        """Whether the site is up."""
        try:
            urllib.request.urlopen(self.site, timeout=60).close()
        except OSError:
            return False
        return True

    @property
    def logs(self) -> str:
        """What all of them have said."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self._folder.glob("log-*")))

    def close(self) -> None:
        """End all that was started."""
        for process in self._started:
            process.terminate()
        for process in self._started:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    opened.run(MANAGE, "setup")
    yield opened
    opened.close()


@pytest.mark.parametrize("way", ["events", "channels"])
def test_a_page_that_shows_how_far_a_task_is(browser: Chrome, shop: Shop, way: str) -> None:
    if way == "events":
        shop.start(MANAGE, "runserver", "--noreload", f"127.0.0.1:{shop.port}")
    else:
        for package in ("channels", "uvicorn", "websockets"):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
        shop.start("-m", "uvicorn", "--port", str(shop.port), "shop.asgi:application")
    until(shop.answers, lambda: f"the site answers: {shop.logs}", PATIENCE)

    seen: list[int] = []
    for _ in range(5):
        seen = follow_an_export(browser, shop, way)
        if len(set(seen)) > 3:
            break  # else browser or server was halted for as long as the export takes
    # Some of the 40 steps, one after the other, on a page that was not loaded again.
    assert len(set(seen)) > 3 and seen == sorted(seen) and seen[-1] == 40, (seen, shop.logs)
    link = browser.find_element(By.LINK_TEXT, "Download the file").get_attribute("href")
    assert link is not None
    with urllib.request.urlopen(link, timeout=PATIENCE) as file:
        assert file.read().startswith(b"order,customer")


def follow_an_export(browser: Chrome, shop: Shop, way: str) -> list[int]:
    """Ask for an export, have a worker make it, and return what the bar on the page has shown."""
    browser.get(f"{shop.site}/orders/")
    browser.find_element(By.CSS_SELECTOR, "form button").click()
    wait: WebDriverWait[Any] = WebDriverWait(browser, PATIENCE)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "[data-state=PENDING]"))
    assert ("WebSocket" if way == "channels" else "server-sent events") in browser.page_source
    browser.execute_script(NOTE)  # type: ignore[no-untyped-call]
    worker = shop.start(MANAGE, "celeriac", "worker", "-c", "1")
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "[data-state=SUCCESS]"))
    worker.terminate()
    worker.wait(PATIENCE)
    seen: list[int] = browser.execute_script("return seen")  # type: ignore[no-untyped-call]
    return seen


class Recipe(BaseHTTPRequestHandler):
    """Serves the page that stands in the docs, and events as the view beside it sends them."""

    page = ""

    def do_GET(self) -> None:
        is_page = self.path == "/"
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if is_page else "text/event-stream")
        self.end_headers()
        told = [
            {"state": "PROGRESS", "done": 2, "of": 3},
            {"state": "SUCCESS", "result": "/media/export.csv"},
        ]
        events = "".join(f"data: {json.dumps(each)}\n\n" for each in told)
        self.wfile.write(
            (self.page if is_page else events if self.path == "/tasks/7/events/" else "").encode()
        )

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_the_page_in_the_docs(browser: Chrome) -> None:
    (block,) = [block for block in blocks(DOCS / "how-to" / "progress.md") if block.language == "html"]
    Recipe.page = block.text.replace("{{ task_id }}", "7")
    with ThreadingHTTPServer(("127.0.0.1", 0), Recipe) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            browser.get(f"http://127.0.0.1:{server.server_port}/")
            wait: WebDriverWait[Any] = WebDriverWait(browser, PATIENCE)
            wait.until(lambda b: b.find_element(By.TAG_NAME, "span").text == "/media/export.csv")
            bar = browser.find_element(By.TAG_NAME, "progress")
            assert (bar.get_property("max"), bar.get_property("value")) == (3, 2)
            browser.get("about:blank")
        finally:
            server.shutdown()
            thread.join(PATIENCE)
