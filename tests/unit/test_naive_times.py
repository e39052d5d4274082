"""E121: a time without a time zone is taken in the project's, and that is told."""

import datetime as dt
import re
from collections.abc import Callable, Iterator

import pytest

from celeriac import Celeriac


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("naive", broker="memory://naive", backend="memory://naive")
    yield app
    app.broker.purge(["celery"])
    app.close()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    return lambda: [each.getMessage() for each in caplog.records if each.getMessage().startswith("E121")]


def test_taken_in_the_project_s_zone_and_told_once_a_place(
    app: Celeriac, told: Callable[[], list[str]]
) -> None:
    app.conf.timezone = "Asia/Kathmandu"

    @app.task
    def add(x: int) -> None: ...

    when = dt.datetime(2030, 1, 2, 3, 4, 5)  # noqa: DTZ001 - a naive one is meant
    for _ in range(3):
        add.apply_async((1,), eta=when)
    add.apply_async((1,), eta="2030-01-02T03:04:05", expires=dt.datetime(2030, 1, 3, tzinfo=dt.UTC))
    add.apply_async((1,), eta=when.replace(tzinfo=dt.UTC), countdown=None)
    first, second = told()
    assert re.fullmatch(
        r"E121: eta has no time zone, so it is taken in Asia/Kathmandu: 2030-01-02T03:04:05\+05:45\. Pass one that "
        r"has: timezone\.now\(\) \+ timedelta\(hours=1\), or countdown=3600\.  At tests/unit/test_naive_times\.py:\d+",
        first,
    )
    assert first != second


def test_expires(app: Celeriac, told: Callable[[], list[str]]) -> None:
    @app.task(expires=dt.datetime(2030, 1, 2))  # noqa: DTZ001 - a naive one is meant
    def add(x: int) -> None: ...

    add.delay(1)
    (text,) = told()
    assert text.startswith(
        "E121: expires has no time zone, so it is taken in UTC: 2030-01-02T00:00:00+00:00."
    )
