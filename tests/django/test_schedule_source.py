"""The schedule in the database on each of them, and on one that cannot be used."""

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from celeriac.django import deadline, schedule_source
from celeriac.django.models import Schedule
from celeriac.django.schedule_source import DatabaseSchedule
from celeriac.errors import StoreError
from celeriac.schedule import FromCode, Run
from celeriac.schedules import crontab
from tests.django import databases


class Elsewhere:
    """A router that has our tables in another database."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "elsewhere"

    db_for_write = db_for_read


SERVERS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("postgres", "mariadb")]


@pytest.fixture(params=["sqlite", *SERVERS])
def source(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DatabaseSchedule]:
    monkeypatch.setattr(schedule_source, "_PATIENCE", 60.0)  # the test's server may stall
    if request.param == "sqlite":
        database = databases.sqlite(tmp_path / "db.sqlite3")
    else:
        database = request.getfixturevalue(f"{request.param}_server").django()
    databases.add("elsewhere", database)
    try:
        with override_settings(DATABASE_ROUTERS=[Elsewhere()]):
            databases.empty("elsewhere")
            yield DatabaseSchedule()
    finally:
        databases.remove("elsewhere")


def row() -> Schedule:
    return Schedule.objects.get(name="a")


def test_what_is_kept_and_what_has_changed(source: DatabaseSchedule) -> None:
    Schedule.objects.create(name="a", task="t", every=1, headers={"tenant": "a"})
    Schedule.objects.create(name="b", task="t", kind="solar")
    source.show([FromCode("c", FORM, "shop.py:3")])
    assert source.changed()
    plan = source.read()
    assert not source.changed()
    assert set(plan.entries) == {"a", "b", "c"}
    assert plan.entries["b"].problem and plan.entries["c"].given is None
    assert plan.entries["a"].given is not None
    assert plan.entries["a"].given["options"] == {"headers": {"tenant": "a"}}
    Schedule.objects.filter(name="a").update(every=2)
    assert source.changed()
    again = source.read()
    assert again.entries["a"] is not plan.entries["a"]
    assert again.entries["c"] is plan.entries["c"]
    source.pause(None)
    assert source.changed() and source.read().paused
    source.resume(None)
    assert source.read().since > time.time() - 60


FORM = {
    "task": "t", "schedule": crontab(0, 4), "args": (), "kwargs": {}, "options": {}, "missed": "run_once",
    "missed_limit": None, "overlap": "allow", "one_off": False, "start_time": None, "end_time": None,
}  # fmt: skip


def test_runs_are_written_in_one_statement_that_may_come_twice(source: DatabaseSchedule) -> None:
    Schedule.objects.create(name="a", task="t", every=1, one_off=True, total_run_count=7)
    at = row().counts_from.timestamp() + 1
    for _ in range(2):
        source.note([Run("a", at, at, 3)])
        assert (row().total_run_count, row().fired_count, row().enabled) == (10, 3, False)
    source.note([Run("a", at, at + 1, 1, uncounted=2)])
    assert (row().total_run_count, row().fired_count) == (13, 1)
    assert row().last_run_at.timestamp() == pytest.approx(at + 1)
    source.note([Run("gone", at, at, 1)])


def test_the_ids_of_the_last_tasks_are_kept(source: DatabaseSchedule) -> None:
    Schedule.objects.create(name="a", task="t", every=1)
    ids = [str(uuid.UUID(int=number)) for number in range(30)]
    source.note([Run("a", 1.0, 1.0, 2, sent=tuple(ids[:2]))])
    assert row().recent == [ids[1], ids[0]]
    source.note(
        [Run("a", 1.0, 1.0, 2, sent=tuple(ids[1:2]))]
    )  # once more, as a beat does that was not answered
    assert row().recent == [ids[1], ids[0]]
    source.read()
    stamp = row().stamp
    for number in range(2, 30):
        source.note([Run("a", float(number), 1.0, number + 1, sent=(ids[number],))])
    assert row().recent == ids[:-21:-1]
    source.note([Run("a", 31.0, 1.0, 31, sent=("x" * 500,))])
    assert row().recent == ["x" * 255, *ids[:-14:-1]]
    assert row().stamp == stamp and not source.changed()


def test_what_was_switched_on_again_since_it_ran_stays_on(source: DatabaseSchedule) -> None:
    Schedule.objects.create(name="a", task="t", every=1, one_off=True)
    at = row().counts_from.timestamp() - 1
    source.note([Run("a", at, at, 1)])
    assert row().enabled


def test_names_and_arguments_that_no_database_takes(source: DatabaseSchedule) -> None:
    odd = {**FORM, "args": ("\0", float("nan"), object()), "kwargs": {"x": {1, 2}}, "task": "t" * 300}
    nul = {**FORM, "args": ("\0", "\ud800"), "kwargs": {"\0": 1}, "options": {"headers": {"a": "\0"}}}
    source.show([FromCode("n" * 300, odd, "w" * 300), FromCode("nul\0", nul, "here")])
    source.show([FromCode("n" * 300, odd, "w"), FromCode("nul\0", {**nul, "kwargs": {"x": "é 😀"}}, "here")])
    assert len(source.read().entries) == 2
    assert Schedule.objects.get(task="t").kwargs == {"x": "é 😀"}
    assert Schedule.objects.get(task="t").args == ["'\\x00'", "'\\ud800'"]


def test_tables_that_are_missing_are_told_with_what_to_do(source: DatabaseSchedule) -> None:
    with connections["elsewhere"].cursor() as cursor:
        cursor.execute("ALTER TABLE celeriac_schedule RENAME TO somewhere")
        cursor.execute("DELETE FROM django_migrations WHERE app = 'celeriac'")
    try:
        with pytest.raises(StoreError, match="lacks 1 celeriac migration"):
            source.read()
    finally:
        with connections["elsewhere"].cursor() as cursor:
            cursor.execute("ALTER TABLE somewhere RENAME TO celeriac_schedule")
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES ('celeriac', '0001_initial', '2026-11-22')"
            )


@pytest.mark.postgres
@pytest.mark.parametrize("source", ["postgres"], indirect=True)
def test_a_lock_costs_beat_seconds_and_not_its_life(
    source: DatabaseSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_source, "_PATIENCE", 2.0)
    monkeypatch.setattr(deadline, "_GRACE", 30.0)  # a server that stalls says later that it has cancelled
    Schedule.objects.create(name="a", task="t", every=1)
    locked, done = threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic("elsewhere"), connections["elsewhere"].cursor() as cursor:
            cursor.execute("LOCK TABLE celeriac_schedule IN ACCESS EXCLUSIVE MODE")
            locked.set()
            done.wait(120)
        connections["elsewhere"].close()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert locked.wait(60)
        with pytest.raises(StoreError, match="cannot be used: not done within"):
            source.changed()
    finally:
        done.set()
        thread.join()
    assert set(source.read().entries) == {"a"}
