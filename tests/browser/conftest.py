"""A Chromium for the tests that want one, without a window."""

import os
import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.servers import free_port

PATIENCE = 200


@pytest.fixture
def browser(_chromium: webdriver.Chrome) -> webdriver.Chrome:
    """A Chromium on an empty page, without anything in its log."""
    _chromium.get("about:blank")
    _chromium.get_log("browser")
    return _chromium


@pytest.fixture(scope="session")
def _chromium() -> Iterator[webdriver.Chrome]:
    """One Chromium for the session; skips at home where there is none, fails in CI."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        if os.environ.get("CI"):
            pytest.fail("chromium and chromedriver are missing")
        pytest.skip("chromium and chromedriver are missing")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # Its sandbox wants another user than root, and /dev/shm is small in containers.
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    service = webdriver.ChromeService(executable_path=driver, port=free_port())
    started = webdriver.Chrome(options=options, service=service)
    started.set_page_load_timeout(PATIENCE)
    started.set_script_timeout(PATIENCE)
    yield started
    started.quit()
