"""An outage is told once, however many processes notice it, and however late."""

import logging

import pytest

from celeriac.worker.outage import Outage


class Told:
    """An outage with a clock of its own, and what it has said."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "celeriac.worker")
        self.now = 100.0
        self.outage = Outage(lambda: self.now)
        self._log = caplog

    def look(self, at: float, *texts: str) -> list[str]:
        self.now = 100.0 + at
        self._log.clear()
        self.outage.look(texts)
        return [record.getMessage() for record in self._log.records]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return Told(caplog)


def test_the_first_to_notice_tells_and_the_last_to_recover(told: Told) -> None:
    assert told.look(0, "", "") == []
    assert told.look(1, "Cannot reach it", "") == [
        "Cannot reach it. The worker waits and goes on when it is back."
    ]
    assert told.look(2, "Cannot reach it", "Cannot reach it") == []
    assert told.look(3, "", "Cannot reach it") == []
    assert told.look(4, "", "") == []
    assert told.outage.next == 104.5
    assert told.look(4.5, "", "") == ["Back after 3.0 s: the worker goes on."]
    assert told.outage.next is None


def test_a_moment_without_trouble_is_not_the_end(told: Told) -> None:
    told.look(0, "away")
    assert told.look(1, "") == []
    assert told.look(1.4, "away") == []
    assert told.outage.next is None
    assert told.look(5, "") == []
    assert told.look(5.6, "") == ["Back after 5.0 s: the worker goes on."]


def test_who_hears_of_it_late_does_not_tell_it_again(told: Told) -> None:
    told.look(0, "away")
    told.look(3, "")
    assert told.look(3.5, "") == ["Back after 3.0 s: the worker goes on."]
    assert told.look(7, "no answer within 5.0 s") == []
    assert told.outage.next == 107.5
    assert told.look(7.1, "") == []
    assert told.outage.next is None


def test_a_second_outage_soon_after_is_told_when_it_lasts(told: Told) -> None:
    told.look(0, "away")
    told.look(3, "")
    told.look(3.5, "")
    assert told.look(5, "away") == []
    assert told.look(5.5, "away") == ["away. The worker waits and goes on when it is back."]
    told.look(6, "")
    assert told.look(6.5, "") == ["Back after 1.0 s: the worker goes on."]


def test_one_that_comes_later_is_told_at_once(told: Told) -> None:
    told.look(0, "away")
    told.look(3, "")
    told.look(3.5, "")
    assert told.look(10, "away")
