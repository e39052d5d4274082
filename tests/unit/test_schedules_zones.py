"""Schedules where clocks are put forward and back, over all zones, against a reckoning that shares nothing with them.

It walks minute by minute through real time, looks at what the clock shows, and applies the rules as the docstring of
`crontab` has them. The short form walks about each change of the clocks of some zones; the long one about those of all
zones, and through the whole year for every zone that does not go as another one does: a quarter of an hour, with
`CELERIAC_FAULTS=long` and this file alone.
"""

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.schedules import clocked, crontab, schedule
from tests.size import LONG, size

YEAR = 2026
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ALL = sorted(available_timezones() - {"localtime", "Factory"})
#: Half an hour, two hours, midnight, midnight of the day before, a whole day, a quarter of an hour, winter as summer.
ODD = [
    ("Australia/Lord_Howe", YEAR), ("Antarctica/Troll", YEAR), ("Africa/Cairo", YEAR), ("America/Nuuk", YEAR),
    ("Pacific/Apia", 2011), ("Asia/Kathmandu", 1986), ("Europe/Dublin", YEAR), ("Africa/Casablanca", YEAR),
    ("America/Havana", YEAR), ("Asia/Beirut", YEAR), ("America/Caracas", 2016), ("Asia/Pyongyang", 2018),
    ("America/St_Johns", 2010), ("Africa/Juba", 2021), ("Pacific/Kwajalein", 1993), ("Europe/Berlin", 1945),
]  # fmt: skip
SAMPLE = ODD + [(name, YEAR) for name in (ALL if LONG else random.Random(YEAR).sample(ALL, 8))]

Numbers = list[int]
Fields = tuple[Numbers, Numbers, Numbers, Numbers, Numbers]
Walk = list[tuple[datetime, datetime]]
EVERY = (list(range(60)), list(range(24)), list(range(7)), list(range(1, 32)), list(range(1, 13)))


def walk(zone: tzinfo, start: datetime, end: datetime) -> Walk:
    """Each real minute, with what the clock shows."""
    walked, instant = [], start
    while instant < end:
        walked.append((instant, instant.astimezone(zone).replace(tzinfo=None, fold=0)))
        instant += MINUTE
    return walked


def matches(wall: datetime, fields: Fields) -> bool:
    shown = (wall.minute, wall.hour, wall.isoweekday() % 7, wall.day, wall.month)
    return all(number in field for number, field in zip(shown, fields, strict=True))


def reckoned(walked: Walk, fields: Fields) -> Iterator[datetime]:
    """When a crontab is due, after the first minute of a walk."""
    latest = walked[0][1]
    for instant, wall in walked[1:]:
        if len(fields[1]) == 24:
            if matches(wall, fields):
                yield instant
            continue
        if wall <= latest:
            continue  # it comes a second time
        skipped = latest + MINUTE
        while skipped <= wall:
            if matches(skipped, fields):
                yield instant
                break
            skipped += MINUTE
        latest = wall


def told(made: crontab | schedule, zone: tzinfo, start: datetime, end: datetime) -> Iterator[datetime]:
    moment: datetime | None = start
    while (moment := made.next_after(moment, zone)) is not None and moment < end:
        yield moment


def changes(zone: tzinfo, year: int) -> list[datetime]:
    """The hours of a year before which the clocks have been put forward or back."""
    start = datetime(year, 1, 1, tzinfo=UTC)
    hours = [start + hour * HOUR for hour in range(366 * 24)]
    return [
        later
        for earlier, later in pairwise(hours)
        if earlier.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset()
    ]


def some_fields(chance: random.Random) -> Iterator[Fields]:
    """Some crontabs, due about midnight or in the small hours, when clocks are changed, or in every hour."""
    minutes = [[0], [30], [15, 45], [0, 20, 40], [59], list(range(60))]
    hours = [[0], [1, 2], [2, 3], [3], [23, 0], list(range(0, 24, 2)), EVERY[1], EVERY[1]]
    for _ in range(6):
        dates = [
            field if chance.random() < 0.8 else sorted(chance.sample(field, len(field) // 2))
            for field in EVERY[2:]
        ]
        yield chance.choice(minutes), chance.choice(hours), dates[0], dates[1], dates[2]


def compare(zone: tzinfo, start: datetime, end: datetime, crontabs: Iterable[Fields]) -> None:
    walked = walk(zone, start, end)
    for fields in crontabs:
        assert list(told(crontab(*fields), zone, start, end)) == list(reckoned(walked, fields)), (
            zone,
            crontab(*fields),
        )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "year"), SAMPLE)
def test_about_each_change_of_the_clocks(name: str, year: int) -> None:
    zone, chance = ZoneInfo(name), random.Random(name)
    for change in changes(zone, year):
        compare(zone, change - size(9, 27) * HOUR, change + 5 * HOUR, some_fields(chance))
        # From far away, too: what is due rarely jumps over the days between.
        day = (change + 2 * DAY).astimezone(zone).day
        for made in (crontab(0, 2, "*", day), crontab(30, "*", "*", day)):
            found = made.next_after(change + 6 * HOUR, zone)
            assert made.next_after(change - 12 * DAY, zone) == found


def unlike_each_other() -> list[str]:
    """One of all zones whose clocks show the same all the year."""
    start = datetime(YEAR, 1, 1, tzinfo=UTC)
    found: dict[tuple[timedelta | None, ...], str] = {}
    for name in ALL:
        zone = ZoneInfo(name)
        found.setdefault(
            tuple((start + hour * HOUR).astimezone(zone).utcoffset() for hour in range(366 * 24)), name
        )
    return sorted(found.values())


@pytest.mark.parametrize("name", unlike_each_other() if LONG else ["Australia/Lord_Howe"])
def test_through_the_year(name: str) -> None:
    # The short form goes through the days about an odd change, and a month's end.
    start = datetime(YEAR, *size((3, 29), (1, 1)), tzinfo=UTC)
    crontabs = [
        ([0, 30], [1, 2, 3], *EVERY[2:]),
        ([15], EVERY[1], *EVERY[2:]),
        ([0], [0], [1, 3], EVERY[3], EVERY[4]),
        ([45], EVERY[1], EVERY[2], [1, 29, 31], EVERY[4]),
    ]
    compare(ZoneInfo(name), start, start + size(8 * DAY, 366 * DAY), crontabs)


# -- the rules, one by one, where people live

BERLIN = ZoneInfo("Europe/Berlin")  # 2026: forward on March 29 at 2:00, back on October 25 at 3:00


def shown(made: crontab | schedule, start: datetime, count: int, zone: tzinfo = BERLIN) -> list[str]:
    found, moment = [], start.astimezone(UTC)
    for _ in range(count):
        following = made.next_after(moment, zone)
        assert following is not None and following.tzinfo is UTC
        found.append(following.astimezone(zone).strftime("%d %H:%M %Z"))
        moment = following
    return found


def test_a_time_that_is_skipped_is_due_after_the_gap_once() -> None:
    night = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
    assert shown(crontab(30, 2), night, 2) == ["29 03:00 CEST", "30 02:30 CEST"]
    assert shown(crontab("0,20,40", 2), night, 2) == ["29 03:00 CEST", "30 02:00 CEST"]
    assert shown(crontab(0, "2,3"), night, 2) == ["29 03:00 CEST", "30 02:00 CEST"]
    assert shown(crontab(30, "1-3"), night, 4) == [
        "29 01:30 CET",
        "29 03:00 CEST",
        "29 03:30 CEST",
        "30 01:30 CEST",
    ]


def test_a_time_that_comes_twice_is_due_once() -> None:
    night = datetime(2026, 10, 24, 12, tzinfo=BERLIN)
    assert shown(crontab(30, 2), night, 2) == ["25 02:30 CEST", "26 02:30 CET"]
    assert shown(crontab("0,30", "2,3"), night, 4) == [
        "25 02:00 CEST",
        "25 02:30 CEST",
        "25 03:00 CET",
        "25 03:30 CET",
    ]
    assert shown(crontab("*", 2), datetime(2026, 10, 25, 2, 58, tzinfo=BERLIN), 2) == [
        "25 02:59 CEST",
        "26 02:00 CET",
    ]
    # Asked in the hour that comes a second time.
    again = datetime(2026, 10, 25, 2, 15, tzinfo=BERLIN, fold=1)
    assert shown(crontab(30, 2), again, 1) == ["26 02:30 CET"]


def test_what_is_due_in_every_hour_goes_by_real_hours() -> None:
    assert shown(crontab(30), datetime(2026, 3, 29, 1, tzinfo=BERLIN), 2) == ["29 01:30 CET", "29 03:30 CEST"]
    assert shown(crontab(30), datetime(2026, 10, 25, 2, tzinfo=BERLIN), 3) == [
        "25 02:30 CEST",
        "25 02:30 CET",
        "25 03:30 CET",
    ]
    # On Lord Howe half an hour comes twice: from 2:00 clocks go back to 1:30.
    island = ZoneInfo("Australia/Lord_Howe")
    start = datetime(2026, 4, 5, 0, 30, tzinfo=island)
    assert shown(crontab("0,30"), start, 5, island) == [
        "05 01:00 +11",
        "05 01:30 +11",
        "05 01:30 +1030",
        "05 02:00 +1030",
        "05 02:30 +1030",
    ]


def test_a_day_that_does_not_come() -> None:
    samoa = ZoneInfo("Pacific/Apia")  # after December 29, 2011 came the 31st
    start = datetime(2011, 12, 29, 12, tzinfo=samoa)
    assert shown(crontab(0, 4), start, 2, samoa) == ["31 00:00 +14", "31 04:00 +14"]
    assert shown(crontab(0, 4, "*", 30), start, 2, samoa) == ["31 00:00 +14", "30 04:00 +14"]


def test_a_schedule_has_a_zone_of_its_own() -> None:
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    tokyo = crontab(0, 9, timezone="Asia/Tokyo")
    assert tokyo.next_after(moment, BERLIN) == datetime(2026, 7, 2, 0, tzinfo=UTC)
    assert crontab(0, 9).next_after(moment, BERLIN) == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert crontab(0, 9).next_after(moment) == datetime(2026, 7, 1, 9, tzinfo=UTC)
    assert tokyo != crontab(0, 9)
    assert tokyo == crontab(0, 9, timezone=ZoneInfo("Asia/Tokyo"))


def test_intervals_count_real_time() -> None:
    for month, day in ((3, 29), (10, 25)):
        start = datetime(2026, month, day, tzinfo=BERLIN).astimezone(UTC)
        assert schedule(86400).next_after(start, BERLIN) == start + DAY


def test_intervals_by_the_clock() -> None:
    start = datetime(2026, 3, 28, 12, 34, 56, tzinfo=BERLIN)
    assert shown(schedule(86400, relative=True), start, 3) == [
        "29 00:00 CET",
        "30 00:00 CEST",
        "31 00:00 CEST",
    ]
    assert shown(schedule(3600, relative=True), datetime(2026, 3, 29, 0, 59, tzinfo=BERLIN), 3) == [
        "29 01:00 CET",
        "29 03:00 CEST",
        "29 04:00 CEST",
    ]
    assert shown(schedule(3600, relative=True), datetime(2026, 10, 25, 1, 59, tzinfo=BERLIN), 3) == [
        "25 02:00 CEST",
        "25 02:00 CET",
        "25 03:00 CET",
    ]
    assert shown(schedule(60, relative=True), start, 1) == ["28 12:35 CET"]
    # Where midnight is skipped, the day begins later.
    cairo = ZoneInfo("Africa/Cairo")
    start = datetime(2026, 4, 23, 12, tzinfo=cairo)
    assert shown(schedule(86400, relative=True), start, 2, cairo) == ["24 01:00 EEST", "25 00:00 EEST"]


@pytest.mark.parametrize(("name", "year"), ODD)
@pytest.mark.parametrize("seconds", [60, 3600, 5400])
def test_by_the_clock_is_on_the_clock(name: str, year: int, seconds: int) -> None:
    """The last whole hour (or minute) that is at most an interval away, or the first one that comes."""
    zone, unit = ZoneInfo(name), 60 if seconds < 3600 else 3600
    made = schedule(seconds, relative=True)
    for change in changes(zone, year):
        walked = walk(zone, change - 6 * HOUR, change + 8 * HOUR)
        whole = [at for at, wall in walked if (wall.minute * 60 + wall.second) % unit == 0]
        for start in range(0, 6 * 60, size(23, 1)):
            moment = change - 3 * HOUR + start * MINUTE
            within = [at for at in whole if moment < at <= moment + made.run_every]
            first = min(at for at in whole if at > moment)
            assert made.next_after(moment, zone) == (within[-1] if within else first)


def test_clocked_reads_its_zone() -> None:
    nine = datetime(2026, 7, 1, 9)  # noqa: DTZ001
    before = datetime(2026, 1, 1, tzinfo=UTC)
    assert clocked(nine).next_after(before, BERLIN) == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert clocked(nine, timezone="Asia/Tokyo").next_after(before, BERLIN) == datetime(2026, 7, 1, tzinfo=UTC)
    skipped = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001
    assert clocked(skipped).next_after(before, BERLIN) == datetime(2026, 3, 29, 1, tzinfo=UTC)


# -- properties

NAMES = st.sampled_from(ALL)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
PICKS = st.tuples(
    *(st.one_of(st.just(field), st.lists(st.sampled_from(field), min_size=1)) for field in EVERY[:3])
)


@settings(max_examples=size(150, 5000), deadline=None)
@given(PICKS, NAMES, MOMENTS, st.floats(0, 1))
def test_there_is_nothing_between(
    fields: tuple[Numbers, Numbers, Numbers], name: str, moment: datetime, part: float
) -> None:
    made, zone = crontab(*fields), ZoneInfo(name)
    found = made.next_after(moment, zone)
    assert found is not None and found > moment
    between = moment + (found - moment) * part
    if between < found:
        assert made.next_after(between, zone) == found
    assert made.next_after(found - timedelta(microseconds=1), zone) == found
    if len(made.hour) == 24:
        assert matches(found.astimezone(zone), (*fields, *EVERY[3:]))
