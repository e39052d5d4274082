"""When the traceback of a failed run ends with a hint, and when not."""

import pytest
from django.core.exceptions import ObjectDoesNotExist

from celeriac import hints
from celeriac.config import Settings
from celeriac.message.message import Headers, Message, Properties
from celeriac.run import Run


class Order:
    class DoesNotExist(ObjectDoesNotExist):
        pass


def run(sent: float | None = 100.0) -> Run:
    run = Run(1, "celery", Message(Headers("t", "1"), Properties(timestamp=sent), b""), None)
    run.started = 100.003
    return run


def test_a_row_that_is_missing_at_once() -> None:
    text = hints.early(run(), Order.DoesNotExist("no such order"))
    assert text.startswith("E115: Order.DoesNotExist 3 ms after the task was sent: probably the transaction")
    assert text.endswith("(celeriac help E115)\n")


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (None, Order.DoesNotExist()),  # nobody knows
        (95.0, Order.DoesNotExist()),  # long ago
        (101.0, Order.DoesNotExist()),  # by another clock
        (100.0, KeyError(1)),
        (100.0, type("ObjectDoesNotExist", (Exception,), {})()),  # not Django's
    ],
)
def test_what_is_something_else(sent: float | None, error: BaseException) -> None:
    assert hints.early(run(sent), error) == ""


@pytest.mark.parametrize(
    ("url", "on_commit", "hint"),
    [
        ("redis://localhost", False, hints.early),
        ("redis://localhost", True, hints.none),
        ("django://default", False, hints.none),  # the message is part of the transaction
    ],
)
def test_only_where_it_can_be(url: str, on_commit: bool, hint: hints.Hint) -> None:
    assert hints.of(Settings(broker_url=url, task_publish_on_commit=on_commit)) is hint
    assert hints.none(run(), Order.DoesNotExist()) == ""
