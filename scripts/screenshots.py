"""Makes the pictures of the admin in the docs: `.venv/bin/python scripts/screenshots.py [FOLDER [SKIN]]`.

A project filled for it is served and looked at in Chromium. FOLDER is docs/images unless said; SKIN is unfold, jazzmin
or grappelli, to see how the pages look there.
"""

import shutil
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

from PIL import Image  # noqa: E402
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

from tests.browser.serving import served  # noqa: E402

#: Each picture: where it is taken, what is clicked before, how wide the window is, and how high at most.
PAGES = {
    "admin-tasks": ("celeriac/taskresult/", "", 1440, 800),
    "admin-task": (
        "celeriac/taskresult/?state=FAILURE&name=shop.tasks.send_receipt",
        ".field-task a",
        1000,
        1300,
    ),
    "admin-schedules": ("celeriac/schedule/", "", 1280, 1000),
    "admin-schedule": ("celeriac/schedule/?q=Report", ".field-shown_name a", 1040, 1640),
    "admin-queues": ("celeriac/queue/", "", 1040, 1000),
    "admin-dead-letters": ("celeriac/deadletter/", "", 1280, 1000),
}
_MOST = 150_000


def browser() -> webdriver.Chrome:
    """Return a Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ):
        options.add_argument(word)
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


def take(chrome: webdriver.Chrome, path: Path, url: str, click: str, width: int, tallest: int) -> None:
    """Take one picture, as high as the page is, and make it small."""
    chrome.set_window_size(width, 800)
    chrome.get(url)
    if click:
        chrome.find_element(By.CSS_SELECTOR, click).click()
    height = chrome.execute_script("return document.documentElement.scrollHeight")
    # Of a window without a frame the height is that of its page and some more.
    chrome.set_window_size(width, min(height + 90, tallest))
    chrome.save_screenshot(str(path))
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(96, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes")
    if size > _MOST:
        raise SystemExit(f"{path} is larger than {_MOST:,} bytes")


def main(folder: str = str(TOP / "docs" / "images"), skin: str = "") -> None:
    """Take all of them."""
    chrome = browser()
    try:
        with tempfile.TemporaryDirectory() as scratch, served(Path(scratch), skin, filled=True) as admin:
            chrome.get(f"{admin}login/")
            chrome.find_element(By.NAME, "username").send_keys("boss")
            chrome.find_element(By.NAME, "password").send_keys("celeriac")
            chrome.find_element(By.CSS_SELECTOR, "[type=submit]").click()
            # The pages alone, without Django's menu.
            chrome.execute_script("localStorage.setItem('django.admin.navSidebarIsOpen', 'false')")
            for name, (page, *how) in PAGES.items():
                take(chrome, Path(folder) / f"{name}.png", admin + page, *how)
    finally:
        chrome.quit()


if __name__ == "__main__":
    main(*sys.argv[1:])
