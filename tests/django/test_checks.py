"""The system checks: each says what is wrong and how to mend it, and says nothing where all is well."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.test import override_settings

from celeriac.django.checks import check_keepers, check_settings
from tests.django import databases


def ids(messages: list[checks.CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def test_all_is_well() -> None:
    assert check_settings() == []
    assert check_keepers() == []


def test_they_are_registered_under_their_tag() -> None:
    with override_settings(CELERY_TASK_DEFAULT_QEUE="x"), pytest.raises(SystemCheckError) as caught:
        call_command("check", "--tag", "celeriac")
    assert "celeriac.E001" in str(caught.value)
    assert "CELERY_TASK_DEFAULT_QUEUE" in str(caught.value)


class TestSettings:
    def test_a_near_miss_is_an_error(self) -> None:
        with override_settings(CELERY_BROKER_ULR="redis://"):
            (message,) = check_settings()
        assert isinstance(message, checks.Error)
        assert message.id == "celeriac.E001"
        assert message.msg == "CELERY_BROKER_ULR is not a setting. Did you mean CELERY_BROKER_URL?"

    def test_an_unknown_name_is_a_warning(self) -> None:
        with override_settings(CELERY_XYZZY=1):
            (message,) = check_settings()
        assert isinstance(message, checks.Warning)
        assert message.id == "celeriac.W001"
        assert "CELERY_XYZZY" in message.msg

    def test_names_in_the_dict(self) -> None:
        with override_settings(CELERIAC={"TASK_DEFAULT_QEUE": "x", "xyzzy": 1}):
            error, warning = check_settings()
        assert (error.id, warning.id) == ("celeriac.E001", "celeriac.W001")
        assert "In CELERIAC: " in error.msg
        assert "task_default_queue" in error.msg

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("ROUTES", {"shop.tasks.mail": {"qeue": "mails"}}, "Did you mean 'queue'"),
            ("ROUTES", "shop.no_router", "which cannot be imported"),
            ("QUEUES", [5], "neither the name of a queue"),
        ],
    )
    def test_routes_and_queues(self, name: str, value: Any, said: str) -> None:
        with override_settings(**{f"CELERY_TASK_{name}": value}):
            (message,) = check_settings()
        assert message.id == "celeriac.E004"
        assert said in message.msg

    def test_a_value_of_the_wrong_kind(self) -> None:
        with override_settings(CELERY_TASK_PUBLISH_TIMEOUT="soon"):
            assert ids(check_settings()) == ["celeriac.E002"]
            assert check_keepers() == []
        with override_settings(CELERIAC={"task_publish_timeout": "soon"}):
            assert ids(check_settings()) == ["celeriac.E002"]

    def test_two_places_that_contradict_each_other(self) -> None:
        with override_settings(
            CELERIAC={"TASK_DEFAULT_QUEUE": "a", "timezone": "UTC", "task_always_eager": True},
            CELERY_TASK_DEFAULT_QUEUE="b",
            CELERY_TIMEZONE="UTC",
        ):
            (message,) = check_settings()
        assert message.id == "celeriac.W013"
        assert message.msg == (
            "CELERIAC['TASK_DEFAULT_QUEUE'] has no effect: CELERY_TASK_DEFAULT_QUEUE says otherwise, and holds."
        )


class TestSigning:
    """The time until which messages need not be signed."""

    @pytest.mark.parametrize(
        ("days", "signing", "said"),
        [
            (30, True, None),
            (-1, True, "is past"),
            (91, True, "more than 90 days ahead"),
            (30, False, "task_signing is not"),
        ],
    )
    def test_the_way_over(self, days: int, signing: bool, said: str | None) -> None:
        until = datetime.now(UTC) + timedelta(days=days)
        for written in (until, until.isoformat()):
            with override_settings(CELERY_TASK_SIGNING=signing, CELERY_TASK_SIGNING_OPTIONAL_UNTIL=written):
                messages = check_settings()
            assert ids(messages) == ([] if said is None else ["celeriac.W014"])
            assert said is None or said in messages[0].msg


class TestKeepers:
    def test_an_unknown_scheme(self) -> None:
        with override_settings(CELERY_BROKER_URL="redsi://localhost"):
            (message,) = check_keepers()
        assert message.id == "celeriac.E003"
        assert "redis" in message.msg

    def test_an_unknown_database(self) -> None:
        with override_settings(CELERY_BROKER_URL="django://shop", CELERY_RESULT_BACKEND="django-db://shop"):
            assert ids(check_keepers()) == ["celeriac.E003", "celeriac.E003"]

    def test_results_in_a_cache_of_this_process(self) -> None:
        with override_settings(CELERY_RESULT_BACKEND="cache"):
            (message,) = check_keepers()
        assert message.id == "celeriac.W003"

    def test_no_results(self) -> None:
        with override_settings(CELERY_RESULT_BACKEND="disabled"):
            assert check_keepers() == []


class TestSQLite:
    @contextmanager
    def database(self, path: Path | str, **options: Any) -> Iterator[None]:
        entry = databases.sqlite(path) | {"OPTIONS": options}  # type: ignore[arg-type]
        connections.settings["checked"] = connections.configure_settings({"default": entry})["default"]
        try:
            with override_settings(CELERY_BROKER_URL="django://checked"):
                yield
        finally:
            databases.remove("checked")

    def test_as_django_makes_it(self, tmp_path: Path) -> None:
        with self.database(tmp_path / "new.sqlite3"):
            (message,) = check_keepers()
        assert isinstance(message, checks.Warning)
        assert message.id == "celeriac.W002"
        for word in ("IMMEDIATE", "write-ahead log", "NORMAL"):
            assert word in message.msg
        assert message.hint == (
            "Set in its OPTIONS: 'transaction_mode': 'IMMEDIATE', "
            "'init_command': 'PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;'"
        )

    def test_what_the_hint_says_is_enough(self, tmp_path: Path) -> None:
        options = {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        with self.database(tmp_path / "new.sqlite3", **options):
            assert check_keepers() == []

    def test_the_mode_stays_with_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "wal.sqlite3"
        raw = sqlite3.connect(path)
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("CREATE TABLE t (x)")
        raw.close()
        with self.database(path, transaction_mode="immediate"):
            (message,) = check_keepers()
        assert "write-ahead" not in message.msg
        assert "IMMEDIATE" not in message.msg

    def test_nothing_to_say_of_a_database_in_memory(self) -> None:
        with self.database(":memory:"):
            assert check_keepers() == []

    def test_other_databases_are_the_projects_business(self, tmp_path: Path) -> None:
        with self.database(tmp_path / "other.sqlite3"), override_settings(CELERY_BROKER_URL="django://"):
            assert check_keepers() == []
