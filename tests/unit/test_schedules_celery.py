"""Schedules beside Celery 5.7's: both must agree. What differs by our choice stands in DIFFERENCES."""

import math
import pickle
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import celery
import celery.schedules
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from celeriac import schedules
from celeriac.schedules import crontab, crontab_parser, schedule, solar
from tests.size import size

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
RANGES = {
    (60, 0): "minute",
    (24, 0): "hour",
    (7, 0): "day_of_week",
    (31, 1): "day_of_month",
    (12, 1): "month_of_year",
}
APPS = {zone: celery.Celery(zone, set_as_current=False, timezone=zone) for zone in ZONES}


class Refused(tuple[str]):
    """The error that was raised, by the name of Celery's class for it."""


def outcome(module: Any, make: Any) -> Any:
    try:
        return make(module)
    except module.ParseException:
        return Refused(["ParseException"])
    except (ValueError, TypeError) as error:
        return Refused([type(error).__name__])


def numbers(module: Any, **given: Any) -> Any:
    def make(module: Any) -> Any:
        made = module.crontab(**given)
        return [getattr(made, field) for field in FIELDS]

    return outcome(module, make)


# -- the fields

EVERYWHERE: list[Any] = [
    "*", "*/1", "*/5", "*/100", "*/02", "1-5", "1-6/2", "5-2", "5-1/2", "1,3,5", "1,1-3,*/4", "3", "03", " 3", "3 ,4",
    "1-1", 3, [1, 2], (1,), {4, 5}, range(1, 4), frozenset({2}),
]  # fmt: skip
OWN: dict[str, list[Any]] = {
    "minute": ["0-59/7", "50-10", "50-10/5"],
    "hour": ["22-4", "0,8-17/2"],
    "day_of_week": [
        "mon", "Mon", "MONDAY", "mon-fri", "fri-mon", "sat-sun", "sun-sat", "mon,wed", "0-6", 0, "mon-fri/2", "thurs",
        "fri-1",
    ],
    "day_of_month": ["2-30/2", "1-7,15-21", "28-3"],
    "month_of_year": [
        "jan", "JAN", "january", "nov-feb", "jan-12/3", "sept", "jan,jul", "*/3", "2-12/2",
    ],
}  # fmt: skip
WRONG_EVERYWHERE: list[Any] = [
    "", ",", "1,", ",1", "-1", "*/", "1-5/", "a", "1/5", "*/a", "*/0", "99", "1-99", "*-5", "1-", "**", "mo", "1.5",
    "#", -1, 99, [99], [1, -1], None, 1.5, ["1"],
]  # fmt: skip
WRONG: dict[str, list[Any]] = {
    "minute": ["60"],
    "hour": [24, "24"],
    "day_of_week": [7, "7", "mon-7"],
    "day_of_month": [0, "0", "32"],
    "month_of_year": [0, "13", "foo"],
}


def each(everywhere: list[Any], own: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(field, written) for field in FIELDS for written in everywhere + own[field]]


#: What is chosen otherwise: the field, what is written, what Celery makes of it, what we do.
REFUSED = Refused(["ParseException"])
DIFFERENCES = [
    # Celery reads on where a part begins well, and looks at three letters of a name, in any field.
    ("minute", "1-5-7", {1, 2, 3, 4, 5}, REFUSED),
    ("hour", "*/5/3", {0, 5, 10, 15, 20}, REFUSED),
    ("minute", "1_0", {10}, REFUSED),
    ("day_of_week", "monkey", {1}, REFUSED),
    ("day_of_week", "jan", {1}, REFUSED),
    ("minute", "jan", {1}, REFUSED),
    ("day_of_month", "mon", {1}, REFUSED),
    # Celery takes what it can never match, and is never due, or fails later.
    ("minute", [1.5], {1.5}, Refused(["TypeError"])),
    ("minute", [], set(), Refused(["ValueError"])),
    # Space around a part is left aside here, whatever the part is.
    ("minute", "* ,5", Refused(["ValueError"]), set(range(60))),
]  # fmt: skip


@pytest.mark.parametrize(("field", "written"), each(EVERYWHERE, OWN))
def test_fields_stand_for_the_same(field: str, written: Any) -> None:
    ours = numbers(schedules, **{field: written})
    assert not isinstance(ours, Refused)
    assert ours == numbers(celery.schedules, **{field: written})
    assert repr(crontab(**{field: written})) == repr(celery.schedules.crontab(**{field: written}))


@pytest.mark.parametrize(("field", "written"), each(WRONG_EVERYWHERE, WRONG))
def test_what_is_wrong_is_refused_alike(field: str, written: Any) -> None:
    theirs = numbers(celery.schedules, **{field: written})
    assert isinstance(theirs, Refused), theirs
    with pytest.raises((ValueError, TypeError)) as caught:
        crontab(**{field: written})
    # A ParseException is a ValueError as well, here.
    if theirs[0] != "ValueError":
        assert type(caught.value).__name__ in (theirs[0], "ParseException")
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize(("field", "written", "theirs", "ours"), DIFFERENCES)
def test_what_differs(field: str, written: Any, theirs: Any, ours: Any) -> None:
    at = FIELDS.index(field)
    for module, said in ((celery.schedules, theirs), (schedules, ours)):
        found = numbers(module, **{field: written})
        assert (found if isinstance(found, Refused) else found[at]) == said


@given(st.sampled_from(sorted(RANGES)), st.text(alphabet="0123456789*/-,monjasu", max_size=9))
@example((7, 0), "sun-sat/3")
@example((12, 1), "jan-3")
def test_any_text_is_read_as_celery_reads_it_or_refused(size: tuple[int, int], text: str) -> None:
    ours = outcome(schedules, lambda module: module.crontab_parser(*size).parse(text))
    theirs = outcome(celery.schedules, lambda module: module.crontab_parser(*size).parse(text))
    if isinstance(theirs, Refused):
        assert isinstance(ours, Refused)
    if not isinstance(ours, Refused):
        assert ours == theirs


def test_the_parser_reads_other_ranges_too() -> None:
    assert crontab_parser(10, 5).parse("*/3") == celery.schedules.crontab_parser(10, 5).parse("*/3")
    with pytest.raises(crontab_parser.ParseException, match="the field '4' cannot be read: 4 is not in 5-14"):
        crontab_parser(10, 5).parse("4")


@pytest.mark.parametrize(
    ("days", "months"),
    [(31, 2), (30, "2"), ("31", "2,4,6,9,11"), ([31], [4, 6]), (29, 2), ("30-31", "feb,mar")],
)
def test_dates_that_never_come(days: Any, months: Any) -> None:
    theirs = numbers(celery.schedules, day_of_month=days, month_of_year=months)
    ours = numbers(schedules, day_of_month=days, month_of_year=months)
    assert ours == theirs
    if isinstance(ours, Refused):
        with pytest.raises(ValueError, match=r"never due: day_of_month .* does not come in month_of_year"):
            crontab(day_of_month=days, month_of_year=months)


def test_from_string_has_unix_order() -> None:
    for text in ("1 2 3 4 5", "* * * * *", "*/15 8-17 1,15 jan-jun mon-fri"):
        assert repr(crontab.from_string(text)) == repr(celery.schedules.crontab.from_string(text))
    assert crontab.from_string(" 1  2 3\t4 5\n") == crontab(1, 2, 5, 3, 4)
    for text in ("", "* * * *", "* * * * * *"):
        with pytest.raises(ValueError):
            celery.schedules.crontab.from_string(text)
        with pytest.raises(schedules.ParseException, match="fields, not the five minute, hour, day_of_month"):
            crontab.from_string(text)


# -- when they are due

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WAITS = st.one_of(
    st.timedeltas(timedelta(), timedelta(hours=3)), st.timedeltas(timedelta(), timedelta(days=500))
)


def field(low: int, high: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.just("*"),
        st.integers(low, high),
        st.lists(st.integers(low, high), min_size=1, max_size=4),
        st.integers(1, high).map(lambda step: f"*/{step}"),
        st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    )


CRONTABS = st.tuples(field(0, 59), field(0, 23), field(0, 6), field(1, 31), field(1, 12))


def steady(moments: Iterable[datetime], zone: tzinfo) -> bool:
    """Whether clocks are neither put forward nor back about any of these moments."""
    day = timedelta(days=2)
    return all(
        (each - day).astimezone(zone).utcoffset() == (each + day).astimezone(zone).utcoffset()
        for each in moments
    )


@settings(max_examples=size(100, 3000))
@given(CRONTABS, st.sampled_from(ZONES), MOMENTS, WAITS)
@example(("0", "0", "*", "29", "2"), "Europe/Berlin", datetime(2021, 3, 1, tzinfo=UTC), timedelta())
@example(("*", "*", "*", "31", "*"), "UTC", datetime(2023, 12, 31, 23, 59, tzinfo=UTC), timedelta())
def test_crontabs_are_due_when_celerys_are(
    written: tuple[Any, ...], name: str, last: datetime, wait: timedelta
) -> None:
    zone, now = ZoneInfo(name), last + wait
    try:
        ours = crontab(*written, nowfun=lambda: now, timezone=name)
    except ValueError:
        assume(False)
    theirs = celery.schedules.crontab(*written, nowfun=lambda: now.astimezone(zone), app=APPS[name])
    found = [ours.next_after(moment) for moment in (last, now)]
    assert found[0] is not None and found[1] is not None
    # Years ahead Celery loses its way: a 29th of February on a Monday.
    assume(found[1] - last < timedelta(days=5 * 365))
    assume(steady((last, now, found[0], found[1]), zone))
    assert ours.remaining_estimate(last) == theirs.remaining_estimate(last.astimezone(zone))
    assert tuple(ours.is_due(last)) == tuple(theirs.is_due(last.astimezone(zone)))


INTERVALS = st.one_of(
    st.sampled_from([1, 30, 60, 90, 300, 3600, 5400, 7200, 86400, 100000, 604800]),
    st.floats(1, 1_000_000),
)


@settings(max_examples=size(100, 3000))
@given(INTERVALS, st.booleans(), st.sampled_from(ZONES), MOMENTS, WAITS)
def test_intervals_are_due_when_celerys_are(
    seconds: float, relative: bool, name: str, last: datetime, wait: timedelta
) -> None:
    zone, now = ZoneInfo(name), last + wait
    ours = schedule(seconds, relative, lambda: now, timezone=name)
    theirs = celery.schedules.schedule(seconds, relative, lambda: now.astimezone(zone), APPS[name])
    if relative:
        assume(steady((last, now, last + ours.run_every, now + ours.run_every), zone))
    assert ours.remaining_estimate(last) == theirs.remaining_estimate(last.astimezone(zone))
    assert tuple(ours.is_due(last)) == pytest.approx(tuple(theirs.is_due(last.astimezone(zone))), abs=1e-5)
    assert (repr(ours), ours.seconds) == (repr(theirs), theirs.seconds)


# -- where clocks are changed: in Berlin forward on March 29, 2026, at 2:00, back on October 25 at 3:00

SPRING, AUTUMN = ("2026-03-28T18:00+01:00", "2026-10-24T18:00+02:00")
#: From when, which crontab, what both say; or what Celery says and what we do, by choice.
CHANGES: list[tuple[str, tuple[Any, ...], list[str], list[str] | None]] = [
    (SPRING, ("0,20,40", 2), ["29 03:00 CEST", "30 02:00 CEST"], None),
    (SPRING, (30, "1-23"), ["28 18:30 CET"], None),
    ("2026-03-29T01:00+01:00", (30,), ["29 01:30 CET", "29 03:30 CEST", "29 04:30 CEST"], None),
    (AUTUMN, (30, 2), ["25 02:30 CEST", "26 02:30 CET"], None),
    (AUTUMN, ("0,30", "2,3"), ["25 02:00 CEST", "25 02:30 CEST", "25 03:00 CET", "25 03:30 CET"], None),
    # What the clock skips is due as soon as it has, not an hour late.
    (SPRING, (30, 2), ["29 03:30 CEST", "30 02:30 CEST"], ["29 03:00 CEST", "30 02:30 CEST"]),
    # What is due in every hour does not pause for one.
    (
        "2026-10-25T01:00+02:00", (30,),
        ["25 01:30 CEST", "25 02:30 CEST", "25 03:30 CET"],
        ["25 01:30 CEST", "25 02:30 CEST", "25 02:30 CET"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("start", "written", "theirs", "ours"), CHANGES)
def test_where_clocks_are_changed(
    start: str, written: tuple[Any, ...], theirs: list[str], ours: list[str] | None
) -> None:
    name = "Europe/Berlin"
    for make, said in (
        (lambda now: celery.schedules.crontab(*written, nowfun=now, app=APPS[name]), theirs),
        (lambda now: crontab(*written, nowfun=now, timezone=name), ours or theirs),
    ):
        now, found = datetime.fromisoformat(start).astimezone(ZoneInfo(name)), []
        while len(found) < len(said):
            left = make(lambda now=now: now).remaining_estimate(now)
            now = (now.astimezone(UTC) + left).astimezone(ZoneInfo(name))
            found.append(now.strftime("%d %H:%M %Z"))
        assert found == said


@pytest.mark.parametrize(
    ("name", "change"),
    [("Europe/Berlin", (3, 29, 1)), ("Europe/Berlin", (10, 25, 1)), ("America/New_York", (11, 1, 6)), ("UTC", (1, 1))],
)  # fmt: skip
def test_intervals_by_the_clock_where_it_is_changed(name: str, change: tuple[int, ...]) -> None:
    about = datetime(2026, *change, tzinfo=UTC)  # type: ignore[misc,arg-type]
    for seconds in (60, 600, 3600, 5400, 7200, 86400, 129600):
        for minutes in range(-300, 180, 23):
            last = about + timedelta(minutes=minutes * (12 if seconds > 7200 else 1))
            theirs = celery.schedules.schedule(
                seconds, True, lambda last=last: last.astimezone(ZoneInfo(name)), APPS[name]
            )
            ours = schedule(seconds, True, lambda last=last: last, timezone=name)
            assert ours.remaining_estimate(last) == theirs.remaining_estimate(last.astimezone(ZoneInfo(name)))


@settings(max_examples=size(40, 400))
@given(
    st.sampled_from(sorted(celery.schedules.solar._all_events)),
    st.floats(-55, 55), st.floats(-180, 180), MOMENTS,
)  # fmt: skip
def test_the_sun_is_where_celery_sees_it(event: str, lat: float, lon: float, moment: datetime) -> None:
    ours = solar(event, lat, lon, lambda: moment)
    theirs = celery.schedules.solar(event, lat, lon, nowfun=lambda: moment, app=APPS["UTC"])
    seconds = ours.remaining_estimate(moment).total_seconds()
    # Ours are whole seconds; one that is just over is found by one and not by the other.
    assume(1 < seconds < 85_000)
    assert math.isclose(seconds, theirs.remaining_estimate(moment).total_seconds(), abs_tol=1.5)
    assert repr(ours) == repr(theirs)


# -- as values


def test_equality_is_celerys() -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    pairs = [
        (lambda m: m.crontab("0,30"), lambda m: m.crontab([30, 0]), True),
        (lambda m: m.crontab(0), lambda m: m.crontab(1), False),
        (lambda m: m.crontab(day_of_week="mon"), lambda m: m.crontab(day_of_week=1), True),
        (lambda m: m.crontab(0, nowfun=now), lambda m: m.crontab(0), False),
        (lambda m: m.crontab(0), lambda m: m.schedule(60), False),
        (lambda m: m.schedule(60), lambda m: m.schedule(timedelta(minutes=1)), True),
        (lambda m: m.schedule(60), lambda m: timedelta(minutes=1), True),
        (lambda m: m.schedule(60), lambda m: timedelta(minutes=2), False),
        (lambda m: m.schedule(60), lambda m: m.schedule(61), False),
        (lambda m: m.schedule(60), lambda m: 60, False),
        (lambda m: m.solar("sunset", 1, 2), lambda m: m.solar("sunset", 1, 2), True),
        (lambda m: m.solar("sunset", 1, 2), lambda m: m.solar("sunrise", 1, 2), False),
    ]
    for left, right, same in pairs:
        assert (left(celery.schedules) == right(celery.schedules)) is same
        assert (left(schedules) == right(schedules)) is same
        if same:
            assert hash(left(schedules)) == hash(right(schedules))
    # By choice: an entry whose interval goes by the clock now is another one.
    assert celery.schedules.schedule(60) == celery.schedules.schedule(60, relative=True)
    assert schedule(60) != schedule(60, relative=True)


def test_maybe_schedule() -> None:
    for module in (schedules, celery.schedules):
        assert module.maybe_schedule(None) is None
        assert module.maybe_schedule(30).run_every == timedelta(seconds=30)
        assert module.maybe_schedule(1.5).run_every == timedelta(seconds=1.5)
        assert module.maybe_schedule(timedelta(days=1), relative=True).relative
        app = APPS["UTC"]
        made = module.crontab()
        assert module.maybe_schedule(made, app=app) is made
        assert made.app is app
    with pytest.raises(
        TypeError, match="'daily' is no schedule; give seconds, a timedelta, or one of crontab"
    ):
        schedules.maybe_schedule("daily")  # type: ignore[call-overload]


def test_pickled_ones_are_equal() -> None:
    for make in (
        lambda m: m.crontab("*/5", hour=[1, 2], day_of_week="mon-fri"),
        lambda m: m.schedule(30, relative=True),
        lambda m: m.solar("sunset", 52.5, 13.4),
    ):
        for module in (schedules, celery.schedules):
            made = make(module)
            again = pickle.loads(pickle.dumps(made))
            assert again == made
            assert repr(again) == repr(made)
