"""`manage.py import_beat`: every kind of entry of django-celery-beat, from tables as its migrations make them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps.registry import Apps
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test import override_settings

from celeriac import Celeriac
from celeriac.beat.timetable import Timetable
from celeriac.django.models import Schedule
from celeriac.schedules import clocked, crontab, schedule, solar

LAST = datetime(2026, 11, 20, 4, 30, 0, 250_000, tzinfo=UTC)
LATER = datetime(2099, 1, 1, tzinfo=UTC)


def table(name: str, /, **fields: Any) -> Any:
    """A table of django-celery-beat's."""
    meta = {"app_label": "their_beat", "apps": apps, "db_table": f"django_celery_beat_{name.lower()}"}
    body = {**fields, "__module__": __name__, "Meta": type("Meta", (), meta)}
    return type(name, (models.Model,), body)


def text(length: int = 200, **more: Any) -> Any:
    return models.CharField(max_length=length, **more)


def to(other: Any) -> Any:
    return models.ForeignKey(other, models.CASCADE, null=True)


apps = Apps()
Interval = table("IntervalSchedule", every=models.IntegerField(), period=text(24))
Crontab = table(
    "CrontabSchedule", minute=text(240, default="*"), hour=text(96, default="*"), day_of_week=text(64, default="*"),
    day_of_month=text(124, default="*"), month_of_year=text(64, default="*"), timezone=text(63, default="UTC"),
)  # fmt: skip
Place = models.DecimalField
Solar = table(
    "SolarSchedule", event=text(24), latitude=Place(max_digits=9, decimal_places=6),
    longitude=Place(max_digits=9, decimal_places=6),
)  # fmt: skip
Clocked = table("ClockedSchedule", clocked_time=models.DateTimeField())
Entry = table(
    "PeriodicTask", name=text(unique=True), task=text(), interval=to(Interval), crontab=to(Crontab), solar=to(Solar),
    clocked=to(Clocked), args=models.TextField(default="[]"), kwargs=models.TextField(default="{}"),
    queue=text(null=True), exchange=text(null=True), routing_key=text(null=True), headers=models.TextField(null=True),
    priority=models.PositiveIntegerField(null=True), expires=models.DateTimeField(null=True),
    expire_seconds=models.PositiveIntegerField(null=True), one_off=models.BooleanField(default=False),
    start_time=models.DateTimeField(null=True), enabled=models.BooleanField(default=True),
    last_run_at=models.DateTimeField(null=True), total_run_count=models.PositiveIntegerField(default=0),
    date_changed=models.DateTimeField(auto_now=True), description=models.TextField(default=""),
)  # fmt: skip
TABLES = (Interval, Crontab, Solar, Clocked, Entry)


@pytest.fixture
def tables() -> Iterator[None]:
    with connection.schema_editor() as editor:
        for each in TABLES:
            editor.create_model(each)
    yield
    with connection.schema_editor() as editor:
        for each in reversed(TABLES):
            editor.delete_model(each)


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("moving", broker="memory://moving")
    yield app
    app.close()


@pytest.fixture
def every_kind(tables: None, app: Celeriac) -> None:
    def entry(name: str, **fields: Any) -> None:
        Entry.objects.create(**{"name": name, "task": "shop.poll", **fields})

    minutes = Interval.objects.create(every=5, period="minutes")
    ran = {"last_run_at": LAST, "total_run_count": 42}
    entry(
        "interval", interval=minutes, args='["north"]', kwargs='{"limit": 10}', queue="slow", exchange="ex",
        routing_key="rk", headers='{"tenant": "a"}', priority=7, expire_seconds=60, description="The north", **ran,
    )  # fmt: skip
    entry(
        "quick",
        interval=Interval.objects.create(every=500_000, period="microseconds"),
        start_time=LAST,
        **ran,
    )
    entry("later", interval=minutes, start_time=LATER)
    night = Crontab.objects.create(minute="30", hour="4", day_of_week="mon, fri", timezone="Asia/Kolkata")
    entry("crontab", crontab=night, expires=LATER, **ran)
    entry("solar", solar=Solar.objects.create(event="sunset", latitude="52.52", longitude="-13.4"))
    entry("clocked", clocked=Clocked.objects.create(clocked_time=LATER), one_off=True)
    entry("off", interval=minutes, enabled=False)
    entry("done", interval=minutes, one_off=True, **ran)
    entry("celery.backend_cleanup", crontab=night, **{**ran, "task": "celery.backend_cleanup"})


def run(**options: Any) -> str:
    out = StringIO()
    call_command("import_beat", stdout=out, stderr=out, **options)
    return out.getvalue()


def kept(name: str) -> Schedule:
    return Schedule.objects.get(name=name)


@pytest.mark.usefixtures("every_kind")
class TestImport:
    def test_every_kind(self) -> None:
        told = run()
        assert told.splitlines()[-1] == "1 not needed, 8 taken over."
        assert kept("interval").schedule == schedule(300)
        assert kept("quick").schedule == schedule(0.5)
        assert kept("crontab").schedule == crontab(30, 4, "mon,fri", timezone="Asia/Kolkata")
        assert kept("solar").schedule == solar("sunset", 52.52, -13.4)
        assert kept("clocked").schedule == clocked(LATER, timezone="Europe/Paris")
        options = {
            "queue": "slow", "exchange": "ex", "routing_key": "rk", "headers": {"tenant": "a"}, "priority": 7,
            "expires": 60,
        }  # fmt: skip
        entry = kept("interval").entry
        assert (entry.args, entry.kwargs, entry.options) == (("north",), {"limit": 10}, options)
        assert kept("interval").description == "The north"
        assert (kept("crontab").end_time, kept("crontab").expires) == (LATER, LATER)
        assert {name for name in ("off", "done") if not kept(name).enabled} == {"off", "done"}
        for row in Schedule.objects.exclude(name="quick"):
            row.full_clean()

    def test_it_goes_on_from_the_last_run(self, app: Celeriac) -> None:
        run()
        row = kept("interval")
        assert (row.last_run_at, row.total_run_count) == (LAST, 42)
        assert row.next_runs(1, UTC, after=LAST) == [LAST + timedelta(minutes=5)]
        assert kept("quick").next_runs(1, UTC, after=LAST) == [LAST + timedelta(seconds=0.5)]
        assert kept("later").next_runs(1, UTC) == [LATER]
        timetable = Timetable(app)
        timetable.read(LATER.timestamp())
        assert timetable.first_slot("interval", LATER.timestamp()) == LAST.timestamp()

    def test_again_changes_nothing_but_what_is_asked_for(self) -> None:
        run()
        before = list(Schedule.objects.values())
        assert run().splitlines()[-1] == "1 not needed, 8 there already."
        assert list(Schedule.objects.values()) == before
        Schedule.objects.filter(name="interval").update(every=7)
        Entry.objects.filter(name="interval").update(
            total_run_count=43, last_run_at=LAST + timedelta(hours=1)
        )
        assert run(update=True).splitlines()[-1] == "1 not needed, 8 updated."
        row = kept("interval")
        assert (row.every, row.total_run_count, row.counts_from) == (5, 43, LAST + timedelta(hours=1))

    def test_a_dry_run_changes_nothing(self) -> None:
        told = run(dry_run=True)
        assert told.splitlines()[-1] == "Nothing was changed. It would be: 1 not needed, 8 taken over."
        assert not Schedule.objects.exists()

    def test_what_stands_in_code_stays_there(self, app: Celeriac) -> None:
        app.conf.update(
            beat_schedule={name: {"task": "shop.poll", "schedule": 10} for name in ("interval", "off")}
        )
        assert "interval: in code" in run()
        assert (kept("interval").from_code, kept("interval").last_run_at) == ("beat_schedule", LAST)
        assert kept("interval").words == "every 10 seconds"
        timetable = Timetable(app)
        timetable.read(LATER.timestamp())
        assert "off" not in timetable.entries
        assert timetable.entries["interval"].schedule == schedule(10)
        assert timetable.first_slot("interval", LATER.timestamp()) == LAST.timestamp()

    def test_what_cannot_be_read_is_left_out_and_told(self) -> None:
        Entry.objects.filter(name="interval").update(args="[1,")
        Entry.objects.filter(name="off").update(interval=None)
        Entry.objects.filter(name="later").update(kwargs=json.dumps([1]))
        Crontab.objects.update(day_of_month="31", month_of_year="2")
        out = StringIO()
        with pytest.raises(CommandError, match="could not be taken over"):
            call_command("import_beat", stdout=out, stderr=out)
        assert "interval: left out, its args are no JSON" in out.getvalue()
        assert "off: left out, it has no schedule" in out.getvalue()
        assert "later: left out, its kwargs are not what they have to be: [1]" in out.getvalue()
        assert "crontab: left out, This crontab is never due" in out.getvalue()
        assert Schedule.objects.count() == 4

    def test_where_the_project_s_times_have_no_zone(self) -> None:
        with override_settings(USE_TZ=False):
            run()
            assert kept("later").entry.start == LATER.timestamp() - 3600  # read there as the project's own
            assert kept("interval").entry.since == pytest.approx(LAST.timestamp() - 3600)


@pytest.mark.usefixtures("tables", "app")
def test_of_an_older_version() -> None:
    with connection.schema_editor() as editor:
        for column in ("headers", "expire_seconds", "start_time", "priority"):
            editor.remove_field(Entry, Entry._meta.get_field(column))
        editor.remove_field(Crontab, Crontab._meta.get_field("timezone"))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_celery_beat_crontabschedule (minute, hour, day_of_week, day_of_month, month_of_year) "
            "VALUES ('0', '4', '*', '*', '*')"
        )
        cursor.execute(
            "INSERT INTO django_celery_beat_periodictask (name, task, crontab_id, args, kwargs, one_off, enabled, "
            "total_run_count, date_changed, description) VALUES "
            "('old', 'shop.poll', 1, '[]', '{}', FALSE, TRUE, 3, '2020-01-01 00:00:00', '')"
        )
    run()
    assert kept("old").schedule == crontab(0, 4)


@pytest.mark.usefixtures("app")
def test_without_its_tables() -> None:
    with pytest.raises(CommandError, match="no tables of django-celery-beat"):
        run()
