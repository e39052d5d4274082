"""Schedules as values: what they say of themselves, what they refuse, and what the engine of beat asks of them."""

import gc
import pickle
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from celeriac import Celeriac
from celeriac.errors import CeleriacError, NotInstalled
from celeriac.schedules import BaseSchedule, ParseException, clocked, crontab, schedstate, schedule, solar
from celeriac.schedules.fields import Cronspec

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)  # a Saturday

WORDS: list[tuple[BaseSchedule, str]] = [
    (crontab(), "every minute"),
    (crontab("*/15"), "every 15 minutes"),
    (crontab(0), "every hour"),
    (crontab(15), "every hour at :15"),
    (crontab("5,35"), "every hour at :05 and :35"),
    (crontab(0, "*/4"), "every 4 hours"),
    (crontab(30, "*/4"), "every 4 hours at :30"),
    (crontab(0, 4), "at 04:00 every day"),
    (crontab("0,30", "8,20"), "at 08:00, 08:30, 20:00 and 20:30 every day"),
    (crontab(0, 4, "mon"), "at 04:00 on Mondays"),
    (crontab(0, 4, "sun,mon"), "at 04:00 on Mondays and Sundays"),
    (crontab(0, 4, "mon-fri"), "at 04:00 from Monday to Friday"),
    (crontab("*/15", "9-17", "mon-fri"), "every 15 minutes from 09:00 to 17:45 from Monday to Friday"),
    (crontab("*/10", "3,5"), "every 10 minutes of the hours 3 and 5"),
    (crontab("1-9", "1-12"), f"at {', '.join(f':0{n}' for n in range(1, 9))} and :09 of the hours 1 to 12 every day"),
    (crontab(0, 0, "*", 1), "at 00:00 on the 1st of the month"),
    (crontab(0, 0, "*", "1-7,15,22,23"), "at 00:00 on the 1st to 7th, 15th, 22nd and 23rd of the month"),
    (crontab(0, 0, "*", "11,12,13"), "at 00:00 on the 11th to 13th of the month"),
    (crontab(0, 0, "*", 24, 12), "at 00:00 on the 24th of December"),
    (crontab(0, 0, "*", "*", "6-8"), "at 00:00 from June to August"),
    (crontab(0, 0, "*", "*", "6,8"), "at 00:00 in June and August"),
    (crontab(0, 9, "tue", "8-14"), "at 09:00 on Tuesdays that fall on the 8th to 14th of the month"),
    (crontab(0, 9, "mon-wed", 1), "at 09:00 from Monday to Wednesday where that is the 1st of the month"),
    (crontab(0, 4, timezone="Europe/Berlin"), "at 04:00 every day, Europe/Berlin"),
    (schedule(1), "every second"),
    (schedule(0.25), "every 0.25 seconds"),
    (schedule(900), "every 15 minutes"),
    (schedule(5400), "every 90 minutes"),
    (schedule(timedelta(days=1)), "every day"),
    (schedule(3600, relative=True), "every hour, by the clock"),
    (schedule(86400, True, timezone="Asia/Tokyo"), "every day, by the clock of Asia/Tokyo"),
    (clocked(datetime(2027, 1, 1, 9)), "once, at 2027-01-01 09:00"),  # noqa: DTZ001
    (clocked(datetime(2027, 1, 1, 9, tzinfo=UTC)), "once, at 2027-01-01 09:00, UTC"),
    (
        clocked(datetime(2027, 1, 1, 9, 0, 5, tzinfo=UTC), timezone="Europe/Berlin"),
        "once, at 2027-01-01 10:00:05, Europe/Berlin",
    ),
    (solar("dusk_civil", -33.9, 18.4), "at civil dusk at 33.9° south, 18.4° east"),
    (solar("solar_noon", 52.5, -1), "at solar noon at 52.5° north, 1° west"),
    (solar("sunset", 0, 0), "at sunset at 0° north, 0° east"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "words"), WORDS, ids=[words for _, words in WORDS])
def test_plain_words(made: BaseSchedule, words: str) -> None:
    assert made.human_readable == words


@pytest.mark.parametrize("made", [made for made, _ in WORDS], ids=[words for _, words in WORDS])
def test_values(made: BaseSchedule) -> None:
    again = pickle.loads(pickle.dumps(made))
    assert again == made and hash(again) == hash(made) and repr(again) == repr(made)
    assert [other for other, _ in WORDS if other == made] == [made]


def test_the_app_stays_here() -> None:
    app = Celeriac("schedules", broker="memory://schedules", timezone="Asia/Tokyo", set_as_current=False)
    made = crontab(0, 9, app=app)
    assert made.next_after(NOW) == datetime(2026, 11, 22, 0, tzinfo=UTC)
    assert made.tz == ZoneInfo("Asia/Tokyo")
    # An entry's own zone counts more.
    assert crontab(0, 9, app=app, timezone="UTC").next_after(NOW) == datetime(2026, 11, 22, 9, tzinfo=UTC)
    again = pickle.loads(pickle.dumps(made))
    assert again == made and again.app is None


def test_representations_show_a_zone_of_its_own() -> None:
    assert repr(crontab(0, 4)) == "<crontab: 0 4 * * * (m/h/dM/MY/d)>"
    assert repr(crontab(0, 4, timezone="Asia/Tokyo")) == "<crontab: 0 4 * * * (m/h/dM/MY/d), Asia/Tokyo>"


def test_fields_are_kept_as_they_were_given() -> None:
    minutes = [30, 0]
    made = crontab(minutes, iter([4, 5]), "mon-fri")  # type: ignore[arg-type]
    minutes.append(7)
    assert made.written == ([30, 0], [4, 5], "mon-fri", "*", "*")
    assert (made.minute, made.hour) == ({0, 30}, {4, 5})


ERRORS: list[tuple[dict[str, Cronspec], str]] = [
    ({"minute": "*/0"}, "minute '*/0' cannot be read: the step of '*/0' is not a number above 0."),
    ({"hour": "1,,2"}, "hour '1,,2' cannot be read: a part between commas is empty."),
    ({"hour": 24}, "hour 24 cannot be read: 24 is not in 0-23."),
    ({"minute": "5/10"}, "minute '5/10' cannot be read: '5/10' has a step and no range: write 5-59/10."),
    ({"minute": "1-"}, "minute '1-' cannot be read: '1-' is none of *, */n, a, a-b, a-b/n."),
    ({"day_of_week": 7}, "day_of_week 7 cannot be read: 7 is not in 0-6. Sunday is 0."),
    (
        {"day_of_week": "mo"},
        "day_of_week 'mo' cannot be read: 'mo' is not a number or one of sun, mon, tue, wed, thu, fri, sat.",
    ),
    (
        {"day_of_month": 31, "month_of_year": "2,4"},
        "This crontab is never due: day_of_month 31 does not come in month_of_year '2,4', whose longest has 30 days.",
    ),
    ({"minute": []}, "minute is []: without a number in it, it is never due."),
]


@pytest.mark.parametrize(("given", "text"), ERRORS)
def test_what_is_refused_and_why(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        crontab(**given)
    assert str(caught.value) == text


def test_other_refusals() -> None:
    assert issubclass(ParseException, ValueError) and issubclass(ParseException, CeleriacError)
    with pytest.raises(ValueError, match=r"no time zone 'Europe/Berln'. Did you mean 'Europe/Berlin'\?"):
        crontab(timezone="Europe/Berln")
    with pytest.raises(TypeError, match="timezone is 2; it is a name such as"):
        schedule(2, timezone=2)  # type: ignore[arg-type]
    for wrong in (0, -1, float("nan"), float("inf"), timedelta()):
        with pytest.raises(ValueError, match=r"always over|cannot be counted"):
            schedule(wrong)
    with pytest.raises(TypeError, match="The interval is '5'; it is a number of seconds, or a timedelta"):
        schedule("5")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="clocked_time is '2027-01-01'; it is a datetime"):
        clocked("2027-01-01")  # type: ignore[arg-type]
    for wrong_place in (("sunrise", 91, 0), ("sunrise", 0, -181), ("moonrise", 0, 0)):
        with pytest.raises(
            ValueError, match=r"The latitude is 91|The longitude is -181|no event of the sun 'moonrise'"
        ):
            solar(*wrong_place)


# -- dates


def after(made: BaseSchedule, *moment: int) -> tuple[int, ...]:
    found = made.next_after(datetime(*moment, tzinfo=UTC), UTC)  # type: ignore[misc]
    assert found is not None
    return tuple(found.timetuple())[:5]


def test_leap_days_year_ends_and_the_ends_of_months() -> None:
    leap = crontab(0, 0, "*", 29, 2)
    assert after(leap, 2026, 1, 1) == (2028, 2, 29, 0, 0)
    assert after(leap, 2028, 2, 29) == (2032, 2, 29, 0, 0)
    assert after(leap, 2096, 3, 1) == (2104, 2, 29, 0, 0)
    # The 29th of February on a Monday: over the year 2100, which has none, it takes 40 years.
    assert after(crontab(0, 0, "mon", 29, 2), 2044, 3, 1) == (2072, 2, 29, 0, 0)
    assert after(crontab(0, 0, "mon", 29, 2), 2072, 3, 1) == (2112, 2, 29, 0, 0)
    assert after(crontab(), 2026, 12, 31, 23, 59) == (2027, 1, 1, 0, 0)
    assert after(crontab(59, 23), 2026, 12, 31, 23, 59) == (2027, 1, 1, 23, 59)
    assert after(crontab(0, 0, "*", 31), 2026, 1, 31) == (2026, 3, 31, 0, 0)
    assert after(crontab(0, 0, "*", "30,31", "feb,apr"), 2026, 1, 31) == (2026, 4, 30, 0, 0)
    assert after(crontab(0, 0, "*", 1, "nov-feb"), 2026, 2, 1) == (2026, 11, 1, 0, 0)
    # All three date fields count: the Friday that is a 13th.
    assert after(crontab(0, 0, "fri", 13), 2026, 4, 1) == (2026, 11, 13, 0, 0)


def test_seconds_are_after_the_minute() -> None:
    assert after(crontab(), 2026, 1, 1, 0, 0, 59, 999_999) == (2026, 1, 1, 0, 1)
    assert after(crontab(), 2026, 1, 1, 0, 1) == (2026, 1, 1, 0, 2)
    assert after(crontab(0, 4), 2026, 1, 1, 4, 0, 0, 1) == (2026, 1, 2, 4, 0)


def test_an_end_of_time() -> None:
    assert crontab(0, 0, "*", 29, 2).next_after(datetime(9996, 3, 1, tzinfo=UTC), UTC) is None
    assert schedule(timedelta(days=3650)).next_after(datetime(9998, 1, 1, tzinfo=UTC), UTC) is None


def test_clocked_is_due_once() -> None:
    at = NOW + timedelta(hours=1)
    made = clocked(at, lambda: NOW)
    assert made.next_after(NOW, UTC) == at
    assert made.is_due(NOW) == schedstate(False, 3600)
    assert made.next_after(at, UTC) is None
    late = clocked(at, lambda: at + timedelta(minutes=5))
    assert late.is_due(NOW) == schedstate(True, None)
    assert late.is_due(at) == schedstate(False, None)
    assert late.remaining_estimate(at) == timedelta.max


def test_where_the_sun_does_not_rise() -> None:
    # Tromsø has no sunrise from the end of November to mid-January, and no dark night in summer.
    sunrise = solar("sunrise", 69.65, 18.96).next_after(datetime(2026, 12, 1, tzinfo=UTC), UTC)
    assert sunrise is not None and sunrise.date().isoformat() == "2027-01-15"
    dusk = solar("dusk_astronomical", 69.65, 18.96).next_after(datetime(2026, 5, 1, tzinfo=UTC), UTC)
    assert dusk is not None and dusk.date().isoformat() == "2026-09-16"
    # At the pole no day has one.
    pole = solar("sunset", 90, 0, lambda: NOW)
    assert pole.next_after(NOW, UTC) is None
    assert pole.is_due(NOW) == schedstate(False, None)


def test_each_event_of_the_sun_comes_once() -> None:
    for lat, lon in ((52.5, 13.4), (-33.9, -70.7), (69.65, 18.96), (65, 179.9)):
        made, moment, days = solar("sunset", lat, lon), datetime(2026, 1, 1, tzinfo=UTC), []
        while len(days) < 60 and (found := made.next_after(moment, UTC)) is not None:
            assert made.next_after(found - timedelta(seconds=1), UTC) == found
            days.append(found)
            moment = found
        gaps = [later - earlier for earlier, later in pairwise(days)]
        assert min(gaps) > timedelta(hours=22)
        assert max(gaps) < timedelta(hours=26) or abs(lat) > 60


def test_the_sun_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ephem", None)
    with pytest.raises(
        NotInstalled, match=r"need the package 'ephem'. Install it: pip install 'celeriac\[solar\]'"
    ):
        solar("sunset", 52.5, 13.4)


# -- schedules of a project's own


class CeleryStyle(BaseSchedule):
    """As Celery's documentation has them: the time that is left."""

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        return last_run_at + timedelta(seconds=10) - self.now()


class Ours(BaseSchedule):
    def next_after(self, moment: datetime, zone: Any = None) -> datetime | None:
        return moment.astimezone(UTC) + timedelta(seconds=10)


@pytest.mark.parametrize("cls", [CeleryStyle, Ours])
def test_one_of_a_projects_own(cls: type[BaseSchedule]) -> None:
    made = cls(lambda: NOW)
    last = NOW - timedelta(seconds=4)
    assert made.next_after(last, UTC) == NOW + timedelta(seconds=6)
    assert made.is_due(last) == schedstate(False, 6)
    assert made.is_due(last - timedelta(seconds=6)) == schedstate(True, 10)
    assert made != cls() and cls() == cls()
    with pytest.raises(NotImplementedError, match=r"BaseSchedule has to override next_after\(\)"):
        BaseSchedule().next_after(NOW, UTC)


class Nightly(crontab):
    """A crontab of one's own stays one when it is read from a line, and when it is pickled."""


def test_a_class_of_ones_own() -> None:
    made = Nightly.from_string("0 4 * * *", timezone="Asia/Tokyo")
    assert type(made) is Nightly and made.next_after(NOW, UTC) == datetime(2026, 11, 21, 19, tzinfo=UTC)
    assert type(pickle.loads(pickle.dumps(made))) is Nightly
    assert made != crontab(0, 4, timezone="Asia/Tokyo")


# -- what it costs


@pytest.mark.parametrize(
    "made",
    [crontab("*"), crontab(0, 4), crontab("*/5", "8-17", "mon-fri"), crontab(0, 0, "*", 1, 1), schedule(60)],
    ids=repr,
)
def test_no_search_by_the_minute(made: BaseSchedule) -> None:
    zone, calls = ZoneInfo("Europe/Berlin"), 0

    def count(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    gc.disable()  # what others have left may have finalizers
    sys.setprofile(count)
    try:
        made.next_after(NOW, zone)
    finally:
        sys.setprofile(before)
        gc.enable()
    assert calls < 20
