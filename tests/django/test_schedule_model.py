"""The model of schedules: what its fields stand for, what they may hold, and what beat notices of a change."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Count, Sum
from django.utils import timezone

from celeriac.beat.entries import Entry
from celeriac.django.models import Schedule
from celeriac.schedules import clocked, crontab, schedule, solar

NEW_YEAR = datetime(2099, 1, 1, 9, tzinfo=UTC)


def made(**fields: Any) -> Schedule:
    return Schedule(**{"name": "poll", "task": "shop.tasks.poll", "every": 30, **fields})


def wrong(**fields: Any) -> dict[str, list[str]]:
    """Return what the form would say, by field."""
    with pytest.raises(ValidationError) as caught:
        made(**fields).full_clean()
    return caught.value.message_dict


KINDS = {
    "interval": (made(every=1.5, unit="hours"), schedule(5400)),
    "crontab": (
        made(kind="crontab", minute="0", hour="4", day_of_week="mon", timezone="Asia/Kolkata"),
        crontab(0, 4, "mon", timezone="Asia/Kolkata"),
    ),
    "clocked": (made(kind="clocked", clocked_time=NEW_YEAR), clocked(NEW_YEAR, timezone="Europe/Paris")),
    "solar": (made(kind="solar", event="sunset", latitude=52.5, longitude=13.4), solar("sunset", 52.5, 13.4)),
}


class TestWhatFieldsStandFor:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_schedule_of_each_kind(self, kind: str) -> None:
        row, expected = KINDS[kind]
        row.full_clean(validate_unique=False)
        assert row.schedule == expected
        assert row.words == expected.human_readable

    def test_the_entry(self) -> None:
        start = datetime(2026, 11, 1, tzinfo=UTC)
        row = made(
            args=[1], kwargs={"x": 2}, queue="slow", priority=7, headers={"tenant": "a"}, expires_after=60,
            missed="run_all", missed_limit=5, start_time=start, one_off=True,
        )  # fmt: skip
        options = {"queue": "slow", "priority": 7, "headers": {"tenant": "a"}, "expires": 60}
        assert row.entry == Entry(
            "poll", "shop.tasks.poll", schedule(30), (1,), {"x": 2}, options, "run_all",
            most=5, start=start.timestamp(), since=row.counts_from.timestamp(), one_off=True,
        )  # fmt: skip

    def test_arguments_that_json_has_not(self) -> None:
        row = made(kwargs={"day": {"__type__": "date", "__value__": "2026-12-24"}})
        assert row.entry.kwargs == {"day": date(2026, 12, 24)}
        assert "unknown type" in made(args=[{"__type__": "x", "__value__": 1}]).problem

    def test_the_next_runs_in_the_zone_that_is_asked_for(self) -> None:
        row = made(kind="crontab", minute="30", hour="4", timezone="Asia/Kolkata")
        noon = datetime(2099, 1, 1, 12, tzinfo=UTC)
        found = row.next_runs(2, UTC, after=noon)
        assert found == [datetime(2099, 1, day, 23, tzinfo=UTC) for day in (1, 2)]
        assert [moment.hour for moment in row.next_runs(2, after=noon)] == [4, 4]
        assert [moment.hour for moment in made(kind="crontab", minute="0", hour="4").next_runs(1)] == [4]
        assert made(enabled=False).next_runs() == []

    def test_intervals_go_on_from_the_last_due_time_or_from_the_start(self) -> None:
        noon = datetime(2099, 1, 1, 12, tzinfo=UTC)
        row = made(every=1, unit="hours", last_slot=noon - timedelta(minutes=50))
        assert row.next_runs(1, UTC, after=noon) == [noon + timedelta(minutes=10)]
        row = made(every=1, unit="hours", start_time=noon + timedelta(minutes=5))
        assert row.next_runs(2, UTC, after=noon) == [
            noon + timedelta(minutes=5),
            noon + timedelta(minutes=65),
        ]
        assert row.next_runs(1, UTC, after=noon + timedelta(days=2)) == [noon + timedelta(days=2, minutes=5)]

    def test_nothing_after_the_end_and_one_run_of_what_runs_once(self) -> None:
        noon = datetime(2099, 1, 1, 12, tzinfo=UTC)
        row = made(every=1, unit="hours", start_time=noon, end_time=noon + timedelta(hours=2))
        assert len(row.next_runs(5, after=noon)) == 2
        assert len(made(one_off=True).next_runs()) == 1
        assert made(kind="clocked", clocked_time=NEW_YEAR).next_runs(zone=UTC) == [NEW_YEAR]

    def test_a_row_that_somebody_else_spoilt_is_told_and_breaks_no_list(self) -> None:
        row = made(kind="crontab", hour="25")
        assert "25" in row.problem and row.words.startswith("cannot be read")
        assert row.next_runs() == []
        assert made().problem == ""


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("field", "text", "fields"),
        [
            ("day_of_month", "30", {"kind": "crontab", "day_of_month": "30", "month_of_year": "2"}),
            ("hour", "25", {"kind": "crontab", "hour": "25"}),
            ("minute", "often", {"kind": "crontab", "minute": "often"}),
            ("every", "needed", {"every": None}),
            ("every", "more than 0", {"every": 0}),
            ("clocked_time", "needed", {"kind": "clocked"}),
            ("clocked_time", "over", {"kind": "clocked", "clocked_time": datetime(2020, 1, 1, tzinfo=UTC)}),
            ("latitude", "needed", {"kind": "solar", "event": "sunset", "longitude": 3}),
            ("latitude", "90", {"kind": "solar", "event": "sunset", "latitude": 91, "longitude": 3}),
            ("timezone", "Europe/Berlin", {"timezone": "Europe/Berln"}),
            ("args", "list", {"args": {"a": 1}}),
            ("kwargs", "object", {"kwargs": [1]}),
            ("headers", "object", {"headers": "tenant"}),
            ("end_time", "before", {"start_time": NEW_YEAR, "end_time": NEW_YEAR - timedelta(days=1)}),
            ("end_time", "over", {"end_time": datetime(2020, 1, 1, tzinfo=UTC)}),
            ("expires", "one of both", {"expires": NEW_YEAR, "expires_after": 3}),
            ("kind", "code", {"kind": "code"}),
            ("missed", "not a valid choice", {"missed": "never"}),
        ],
    )  # fmt: skip
    def test_it_is_told_at_its_field(self, field: str, text: str, fields: dict[str, Any]) -> None:
        found = wrong(**fields)
        assert list(found) == [field]
        assert text in " ".join(found[field])

    def test_fields_of_other_kinds_are_emptied(self) -> None:
        row = made(kind="crontab", hour="4", every=3, unit="days", clocked_time=NEW_YEAR, event="sunset")
        row.full_clean(validate_unique=False)
        assert (row.every, row.unit, row.clocked_time, row.event, row.hour) == (
            None,
            "seconds",
            None,
            "",
            "4",
        )

    def test_what_is_over_may_be_switched_off_and_described(self) -> None:
        row = made(kind="clocked", clocked_time=datetime(2020, 1, 1, tzinfo=UTC), enabled=False)
        row.full_clean(validate_unique=False)
        row.save()
        row.description = "long ago"
        row.full_clean()
        row.enabled = True
        with pytest.raises(ValidationError):
            row.full_clean()


def seen() -> Any:
    """Return what beat looks at to see whether anything has changed."""
    return Schedule.objects.aggregate(count=Count("pk"), sum=Sum("stamp"))


CHANGES: dict[str, Any] = {
    "save": lambda row: row.save(),
    "save of one field": lambda row: row.save(update_fields=["description"]),
    "update": lambda row: Schedule.objects.update(priority=3),
    "bulk_update": lambda row: Schedule.objects.bulk_update([row], ["description"]),
    "bulk_create": lambda row: Schedule.objects.bulk_create([made(name="other")]),
    "create": lambda row: Schedule.objects.create(name="other", task="t", every=1),
    "delete": lambda row: row.delete(),
    "delete of many": lambda row: Schedule.objects.all().delete(),
    "delete, and another made": lambda row: (row.delete(), made(name="other").save()),
}


class TestWhatBeatNotices:
    @pytest.mark.parametrize("change", CHANGES)
    def test_each_change(self, change: str) -> None:
        row = made()
        row.save()
        before = seen()
        CHANGES[change](row)
        assert seen() != before

    def test_what_it_writes_itself_is_no_change(self) -> None:
        made().save()
        before = seen(), Schedule.objects.get().date_changed
        Schedule.objects.update(last_run_at=timezone.now(), total_run_count=3)
        assert (seen(), Schedule.objects.get().date_changed) == before

    def test_due_times_count_from_a_change_of_times_on_and_from_no_other(self) -> None:
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        made(counts_from=long_ago).save()

        def counts_from() -> datetime:
            return Schedule.objects.get().counts_from

        row = Schedule.objects.get()
        row.description, row.args = "for the shop", [1]
        row.save()
        Schedule.objects.update(priority=3, enabled=True)
        row = Schedule.objects.get()
        row.enabled = False
        row.save()
        assert counts_from() == long_ago
        row.enabled = True
        row.save()
        assert counts_from() > long_ago
        Schedule.objects.update(counts_from=long_ago)
        Schedule.objects.update(every=7)
        assert counts_from() > long_ago
        Schedule.objects.update(counts_from=long_ago, enabled=False)
        Schedule.objects.update(enabled=True)
        assert counts_from() > long_ago
        Schedule.objects.update(counts_from=long_ago)
        row = Schedule.objects.get()
        row.kind = "crontab"
        row.save()
        assert counts_from() > long_ago
