"""The system checks of tasks and schedule, of production and of tables."""

import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.test import override_settings

from celeriac import registry, signals
from celeriac.app import Celeriac
from celeriac.django.checks import check_django_tasks, check_production, check_tables, check_times, check_work
from celeriac.django.checks.declared import FINDINGS
from celeriac.django.models import Schedule
from celeriac.naming import DuplicateTaskNameWarning
from celeriac.schedules import crontab
from tests.django import databases


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("checked", broker="memory://", task_default_queue="celery")

    @app.task(name="shop.tasks.mail")
    def mail(order: int, copy: bool = False) -> None: ...

    yield app
    app.close()
    registry.duplicates.clear()


def only(messages: list[checks.CheckMessage], number: str) -> str:
    """The text of the only message, which has this number and a hint."""
    (message,) = messages
    assert message.id == f"celeriac.{number}"
    assert message.hint
    return str(message.msg)


class TestSchedule:
    def entry(self, app: Celeriac, **entry: Any) -> list[checks.CheckMessage]:
        app.conf.beat_schedule = {
            "nightly": {"task": "shop.tasks.mail", "schedule": 30.0, "args": (1,), **entry}
        }
        return check_work()

    def test_all_is_well(self, app: Celeriac) -> None:
        assert self.entry(app) == []
        assert self.entry(app, args=(), kwargs={"order": 4, "copy": True}) == []

    def test_an_unknown_task(self, app: Celeriac) -> None:
        text = only(self.entry(app, task="shop.tasks.mial"), "W004")
        assert text == (
            "The entry 'nightly' of the schedule sends 'shop.tasks.mial', which is no task of this project. "
            "Did you mean 'shop.tasks.mail'?"
        )

    def test_arguments_that_do_not_fit(self, app: Celeriac) -> None:
        text = only(self.entry(app, args=()), "W005")
        assert "missing a required argument: 'order'" in text
        assert "shop.tasks.mail(order" in text

    def test_an_entry_that_cannot_be_read(self, app: Celeriac) -> None:
        assert "'schedule'" in only(self.entry(app, shedule=3), "E005")
        assert "Did you mean 'queue'?" in only(self.entry(app, options={"qeue": "x"}), "E005")

    def test_clocks_of_another_zone(self, app: Celeriac) -> None:
        app.conf.timezone = "Asia/Kolkata"
        (message,) = self.entry(app, schedule=crontab(hour=4))
        assert isinstance(message, checks.Info)
        assert message.id == "celeriac.I001"
        assert "Asia/Kolkata" in message.msg
        assert "Europe/Paris" in message.msg
        assert self.entry(app, schedule=crontab(hour=4, timezone="Asia/Kolkata")) == []
        assert self.entry(app, schedule=30) == []


class TestTasks:
    def test_two_of_one_name(self, app: Celeriac) -> None:
        def other() -> None: ...

        with pytest.warns(DuplicateTaskNameWarning):
            app.task(name="shop.tasks.mail")(other)
        text = only(check_work(), "W006")
        assert "other is a task named 'shop.tasks.mail', as " in text

    def test_a_shared_one_and_one_of_the_app(self, app: Celeriac) -> None:
        other = Celeriac("other", broker="memory://", set_as_current=False)
        registry.shared_tasks["shop.tasks.mail"] = other.task(name="shop.tasks.mail")(lambda: None)
        try:
            assert "never run" in only(check_work(), "W006")
        finally:
            del registry.shared_tasks["shop.tasks.mail"]
            other.close()

    def test_a_module_that_does_not_import(
        self, app: Celeriac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "broken_jobs.py").write_text("import notthere\n")
        monkeypatch.syspath_prepend(tmp_path)
        app.conf.imports = ["broken_jobs"]
        text = only(check_work(), "W007")
        assert "broken_jobs.py, line 1: import notthere" in text

    def test_a_receiver_that_raises(self, app: Celeriac) -> None:
        def broken(**_: Any) -> None:
            raise LookupError("no such plugin")

        signals.import_modules.connect(broken)
        try:
            assert only(check_work(), "W007") == "Loading the tasks failed: LookupError: no such plugin"
            assert check_tables(databases=["default"]) == []
        finally:
            signals.import_modules.disconnect(broken)

    def test_limits_that_contradict_each_other(self, app: Celeriac) -> None:
        app.task(name="shop.tasks.report", time_limit=60, soft_time_limit=90)(lambda: None)
        text = only(check_work(), "W009")
        assert text == "The soft time limit of shop.tasks.report is 90 s, the hard one 60 s."
        app.task(name="shop.tasks.plain")(lambda: None)
        app.conf.task_time_limit, app.conf.task_soft_time_limit = 10, 10
        assert [message.msg.split(" is ")[0] for message in check_work()] == [
            "task_soft_time_limit",
            "The soft time limit of shop.tasks.report",
        ]

    def test_without_an_app_none_is_left_behind(self) -> None:
        assert not registry.has_app()
        check_work()
        assert not registry.has_app()


class TestQueues:
    def test_it_cannot_be_known_where_none_are_declared(self, app: Celeriac) -> None:
        app.task(name="shop.tasks.slow", queue="slow")(lambda: None)
        assert check_work() == []

    def test_one_that_is_not_declared(self, app: Celeriac) -> None:
        app.conf.task_queues = ["celery", "mails"]
        app.conf.task_routes = {"shop.tasks.mail": {"queue": "mials"}}
        app.task(name="shop.tasks.other", queue="celery")(lambda: None)
        assert only(check_work(), "W008") == (
            "The queue 'mials' is not in task_queues, and what is sent there is: shop.tasks.mail. Did you mean 'mails'?"
        )

    def test_of_an_entry_of_the_schedule(self, app: Celeriac) -> None:
        app.conf.task_queues = ["celery"]
        options = {"queue": "nights"}
        app.conf.beat_schedule = {
            "n": {"task": "shop.tasks.mail", "schedule": 9, "args": (1,), "options": options}
        }
        assert "the entry 'n' of the schedule. It has: celery." in only(check_work(), "W008")

    def test_where_no_others_may_be(self, app: Celeriac) -> None:
        app.conf.task_create_missing_queues = False
        app.task(name="shop.tasks.slow", queue="slow")(lambda: None)
        assert "shop.tasks.slow" in only(check_work(), "E006")

    def test_functions_that_route_are_not_called(self, app: Celeriac) -> None:
        app.conf.task_queues = ["celery"]
        app.conf.task_routes = lambda *args, **kwargs: 1 / 0
        assert check_work() == []


class TestTimes:
    def test_all_is_well(self) -> None:
        assert check_times() == []

    def test_no_such_zone(self) -> None:
        with override_settings(CELERY_TIMEZONE="Europe/Pari"):
            assert "Did you mean 'Europe/Paris'?" in only(check_times(), "E007")

    def test_naive_times_of_another_zone(self) -> None:
        with override_settings(USE_TZ=False, CELERY_TIMEZONE="UTC"):
            assert "naive" in only(check_times(), "W010")
        with override_settings(USE_TZ=False, CELERY_TIMEZONE="Europe/Brussels"):
            assert check_times() == []


class TestProduction:
    def test_all_is_well(self) -> None:
        assert check_production() == []

    @pytest.mark.parametrize(
        ("number", "settings", "said"),
        [
            ("W020", {"BROKER_URL": "memory://"}, "broker_url"),
            ("W020", {"RESULT_BACKEND": "memory://"}, "result_backend"),
            ("W021", {"TASK_ALWAYS_EAGER": True}, "no task goes to a worker"),
            ("W022", {"BROKER_URL": "redis://user@queue.internal/0"}, "redis://user@queue.internal/0"),
            ("W022", {"RESULT_BACKEND": "valkey://10.0.0.7"}, "result_backend"),
            ("W023", {"ACCEPT_CONTENT": ["json", "pickle"]}, "accept_content and result_accept_content"),
            (
                "W023",
                {
                    "RESULT_ACCEPT_CONTENT": ["application/x-python-serialize"],
                },
                "by result_accept_content",
            ),
            (
                "W023",
                {
                    "ACCEPT_CONTENT": ["json", "pickle"],
                    "TASK_SIGNING": True,
                    "TASK_SIGNING_OPTIONAL_UNTIL": "2026-12-31T00:00:00Z",
                },
                "by accept_content and",
            ),
            ("W024", {"RESULT_EXPIRES": None}, "result_expires"),
        ],
    )
    def test_what_must_not_stay(self, number: str, settings: dict[str, Any], said: str) -> None:
        with override_settings(**{f"CELERY_{name}": value for name, value in settings.items()}):
            assert said in only(check_production(), number)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://",
            "redis://127.0.0.2:6380/1",
            "redis://:secret@queue.internal/0",
            "rediss://queue.internal",
            "redis+socket:///run/redis.sock",
        ],
    )
    def test_redis_that_is_not_open(self, url: str) -> None:
        with override_settings(CELERY_BROKER_URL=url):
            assert check_production() == []

    def test_they_are_asked_for(self) -> None:
        with override_settings(CELERY_TASK_ALWAYS_EAGER=True):
            call_command("check", "--tag", "celeriac", "--fail-level", "WARNING", stdout=StringIO())
            with pytest.raises(SystemCheckError, match=r"celeriac\.W021"):
                call_command("check", "--tag", "celeriac", "--deploy", "--fail-level", "WARNING")


class TestTables:
    def test_all_is_well(self) -> None:
        assert check_tables(databases=["default"]) == []
        assert check_tables() == []

    def test_a_migration_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = databases.sqlite(tmp_path / "bare.sqlite3")
        connections.settings["bare"] = connections.configure_settings({"default": entry})["default"]
        try:
            with override_settings(CELERY_BROKER_URL="django://bare"):
                assert check_tables(databases=["default"]) == []
                text = only(check_tables(databases=["default", "bare"]), "E008")
                monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
                assert check_tables(databases=["bare"]) == []
        finally:
            databases.remove("bare")
        assert text.endswith("Run:  python manage.py migrate --database bare")


@pytest.mark.parametrize(("given", "numbers"), [("disabled", ["celeriac.W011"]), ("django-db", [])])
def test_results_of_djangos_own_tasks(given: str, numbers: list[str]) -> None:
    with override_settings(CELERY_RESULT_BACKEND=given):
        assert [message.id for message in check_django_tasks()] == numbers
        with override_settings(TASKS={}):
            assert check_django_tasks() == []


class TestSchedulesInTheDatabase:
    def test_what_is_wrong_with_them(self, app: Celeriac) -> None:
        for name, fields in {
            "fine": {"every": 5, "args": [1]},
            "unknown": {"every": 5, "task": "shop.tasks.gone"},
            "misfit": {"every": 5},
            "never": {"kind": "crontab", "day_of_month": "31", "month_of_year": "2"},
            "off": {"every": 5, "enabled": False},
        }.items():
            Schedule(**{"name": name, "task": "shop.tasks.mail", **fields}).save()
        found = {message.id: message.msg for message in check_tables(databases=["default"])}
        assert sorted(found) == ["celeriac.W004", "celeriac.W005", "celeriac.W012"]
        assert "'unknown'" in found["celeriac.W004"]
        assert "'misfit'" in found["celeriac.W005"]
        assert "The schedule 'never' in the database" in found["celeriac.W012"]
        assert check_work() == []
        assert check_tables() == []


def test_each_number_is_told_by_a_test() -> None:
    folder = Path(__file__).parent
    told = "".join((folder / name).read_text() for name in ("test_checks.py", "test_checks_work.py"))
    assert [number for number in FINDINGS if number not in told] == []
