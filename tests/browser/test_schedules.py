"""The form of a schedule in a browser: the fields of the chosen kind, the arguments of the chosen task, the preview."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser.serving import PATIENCE, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Holds back the answer about one task, and lets go of it: then it has come last.
HOLD = """
window.held = [];
const real = window.fetch;
window.fetch = (url) => !String(url).includes("shop.tasks.poll") ? real(url)
    : new Promise((answer) => held.push(async () => {
        const late = await real(url), same = late.clone();
        answer(late);
        await same.json();
    }));
"""
LET_GO = "const done = arguments[0]; Promise.all(held.map((go) => go())).then(() => setTimeout(done, 50));"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of the admin, with a superuser boss."""
    with served(tmp_path, filled=True) as address:
        yield address


class Form:
    """What somebody does with the form."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser
        gone = [NoSuchElementException, StaleElementReferenceException]  # a part that is being made anew
        self._wait: WebDriverWait[Any] = WebDriverWait(browser, PATIENCE, ignored_exceptions=gone)

    def find(self, name: str) -> Any:
        return self.browser.find_element(By.NAME, name)

    def write(self, name: str, text: str) -> None:
        field = self.find(name)
        field.clear()
        field.send_keys(text)

    def sees(self, css: str, text: str) -> None:
        """Wait until a part of the page has this text."""
        self._wait.until(
            lambda browser: text in browser.find_element(By.CSS_SELECTOR, css).text, f"{text!r} in {css}"
        )

    def waits(self, script: str) -> None:
        """Wait until a script returns something."""
        self._wait.until(lambda browser: browser.execute_script(script), script)  # type: ignore[no-untyped-call]

    def has(self, name: str) -> None:
        """Wait until there is a field."""
        self._wait.until(lambda browser: browser.find_elements(By.NAME, name), f"a field {name}")


def test_a_schedule_is_made_and_changed(browser: Chrome, site: str) -> None:
    browser.set_window_size(1200, 1600)
    form = Form(browser)
    browser.get(f"{site}login/?next=/admin/celeriac/schedule/add/")
    form.write("username", "boss")
    form.write("password", "celeriac")
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()

    # Of the kinds only the chosen one's fields are there.
    form.has("every")
    assert form.find("every").is_displayed()
    assert not form.find("minute").is_displayed()
    form.write("name", "Report")
    form.write("every", "15")
    form.sees("#celeriac-preview", "every 15 seconds")
    Select(form.find("kind")).select_by_value("crontab")
    assert not form.find("every").is_displayed()
    form.write("minute", "30")
    form.write("hour", "2")
    form.write("timezone", "Europe/Paris")
    form.sees("#celeriac-preview", "at 02:30 every day, Europe/Paris")
    form.sees("#celeriac-preview", "02:30 does not exist on ")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#celeriac-preview tbody tr")) == 5
    form.write("day_of_month", "31")
    form.write("month_of_year", "2")
    form.sees("#celeriac-preview .celeriac-error", "never due")
    form.write("day_of_month", "*")
    form.write("month_of_year", "*")
    form.sees("#celeriac-preview", "at 02:30 every day")

    # The task's arguments come when it is chosen, without loading the page.
    form.write("task", "shop.tasks.repotr")
    form.find("name").click()
    form.sees(".field-task", "Did you mean “shop.tasks.report”?")
    browser.execute_script(HOLD)  # type: ignore[no-untyped-call]
    form.write("task", "shop.tasks.poll")
    form.find("name").click()
    form.waits("return held.length")
    form.write("task", "shop.tasks.report")
    form.find("name").click()
    form.has("call-day")
    browser.execute_async_script(LET_GO)  # type: ignore[no-untyped-call]
    assert form.find("call-day")  # still, though the other answer came last
    browser.execute_script(  # type: ignore[no-untyped-call]
        "document.getElementsByName('call-day')[0].value = '2026-12-24'"
    )
    Select(form.find("call-kind")).select_by_visible_text("long")
    form.find("call-mail").click()
    form.find("_continue").click()

    form.sees(".messagelist", "was added successfully")
    form.has("call-day")
    assert form.find("call-day").get_attribute("value") == "2026-12-24"
    assert Select(form.find("call-kind")).first_selected_option.text == "long"
    assert not form.find("call-mail").is_selected()

    # In the list, the last runs of each: icons in rows of ten, each a link to what came of a task.
    browser.get(f"{site}celeriac/schedule/?q=Poll")
    pips = browser.find_elements(By.CSS_SELECTOR, ".celeriac-strip a")
    assert [pip.text for pip in pips] == ["✕" if number in (5, 6, 14) else "✓" for number in range(20)]
    assert len({pip.location["y"] for pip in pips}) == 2
    pips[5].click()
    form.sees("#content", "ConnectionError: mail.example.com does not answer")
    assert [each for each in browser.get_log("browser") if "favicon" not in each["message"]] == []
