"""`manage.py import_results`: what Celery's own backend has written into the tables of django-celery-results."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client, modify_settings, override_settings

from celeriac import AsyncResult, registry, states
from celeriac.django import result_import
from celeriac.django.models import TaskResult
from tests.django import databases

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from celery import Celery as RealCelery
    from celery.app.task import Context

DONE = datetime(2026, 11, 20, 4, 30, 0, 250_000, tzinfo=UTC)
THEIRS = "django_celery_results"


@pytest.fixture(scope="module")
def package(default_database: None) -> Iterator[None]:
    """The package as a project has it, with the tables that its migrations make."""
    with modify_settings(INSTALLED_APPS={"append": THEIRS}):
        # Its own pages are none of ours, and are not among the URLs that other tests have had read.
        for model in [each for each in admin.site._registry if each._meta.app_label == THEIRS]:
            admin.site.unregister(model)
        call_command("migrate", THEIRS, verbosity=0)
        try:
            yield
        finally:
            call_command("migrate", THEIRS, "zero", verbosity=0)


@pytest.fixture
def rows(package: None) -> Iterator[Any]:
    """Their model."""
    from django_celery_results.models import GroupResult
    from django_celery_results.models import TaskResult as Theirs

    yield Theirs.objects
    Theirs.objects.all().delete()
    GroupResult.objects.all().delete()


def stored(task_id: str, result: Any, state: str, traceback: str | None = None, **more: Any) -> None:
    """Have Celery's backend store a result, as its worker does."""
    from django_celery_results.models import TaskResult as Theirs

    serializer, children = more.pop("serializer", "json"), more.pop("children", ())
    app = RealCelery("theirs", set_as_current=False, broker="memory://", backend="django-db")
    app.conf.update(
        result_serializer=serializer, result_extended=True, accept_content=["json", "pickle", "yaml"]
    )
    request = Context(
        id=task_id, task="shop.tasks.add", argsrepr="(1, 2)", kwargsrepr="{'x': 3}", hostname="celery@web-1", **more
    )  # fmt: skip
    request.children.extend(children)
    app.backend.store_result(task_id, result, state, traceback, request)
    Theirs.objects.filter(task_id=task_id).update(
        date_created=DONE, date_started=DONE - timedelta(seconds=2), date_done=DONE
    )
    app.close()


def run(**options: Any) -> str:
    out = StringIO()
    call_command("import_results", stdout=out, stderr=out, **options)
    return out.getvalue()


def test_what_celery_has_stored(rows: Any, boss: Client) -> None:
    child = registry.current_app().AsyncResult("child")
    stored("done", {"total": 4.5, "when": DONE}, states.SUCCESS, children=[child], meta={"tenant": "a"})
    stored(
        "failed", ValueError("no such order", 7), states.FAILURE, "Traceback ...\nValueError: no such order"
    )
    stored("going", None, states.STARTED)
    stored("far", {"done": 7}, "PROGRESS")
    assert run(dry_run=True) == "Nothing was changed. It would be: 4 taken over.\n"
    assert not TaskResult.objects.exists()
    assert run() == "4 taken over.\n"

    done = AsyncResult("done")
    assert (done.state, done.result) == (states.SUCCESS, {"total": 4.5, "when": DONE})
    assert (done.name, done.worker, done.date_done) == ("shop.tasks.add", "celery@web-1", DONE)
    assert [each.id for each in done.children] == ["child"]
    row = TaskResult.objects.get(task_id="done")
    assert (row.args, row.kwargs, row.started_at) == ("(1, 2)", "{'x': 3}", DONE - timedelta(seconds=2))
    assert row.details == '{"meta":{"tenant":"a"}}'
    failed = AsyncResult("failed")
    assert isinstance(failed.result, ValueError) and failed.result.args == ("no such order", 7)
    assert "no such order" in failed.traceback
    assert AsyncResult("far").info == {"done": 7}
    html = boss.get("/admin/celeriac/taskresult/").content.decode()
    assert "ValueError: no such order, 7" in html


def test_again_takes_only_what_is_new(rows: Any) -> None:
    stored("done", 1, states.SUCCESS)
    stored("going", None, states.STARTED)
    run()
    before = list(TaskResult.objects.values())
    assert run() == "2 there already.\n"
    assert list(TaskResult.objects.values()) == before
    stored("going", 2, states.SUCCESS)
    stored("done", 3, states.SUCCESS)
    stored("new", 4, states.SUCCESS)
    assert run() == "1 taken over, 1 updated, 1 there already.\n"
    assert [AsyncResult(each).result for each in ("done", "going", "new")] == [1, 2, 4]


def test_other_formats_are_kept_and_nothing_pickled_is_opened(rows: Any) -> None:
    stored("pickled", {1, 2}, states.SUCCESS, serializer="pickle")
    stored(
        "failed",
        KeyError("k"),
        states.FAILURE,
        "Traceback\n  File\nshop.Refused: card 7",
        serializer="pickle",
    )
    stored("written", [1, 2], states.SUCCESS, serializer="yaml")
    assert run() == "3 taken over.\n"
    with override_settings(CELERY_ACCEPT_CONTENT=["json", "pickle", "yaml"]):
        assert AsyncResult("pickled").result == {1, 2}
        assert AsyncResult("written").result == [1, 2]
    assert '"exc_type": "Refused", "exc_message": ["card 7"], "exc_module": "shop"' in (
        TaskResult.objects.get(task_id="failed").result
    )


def test_in_batches_with_what_cannot_be_taken_told(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_celery_results.models import GroupResult

    monkeypatch.setattr(result_import, "BATCH", 2)
    for number in range(5):
        stored(str(number), number, states.SUCCESS)
    rows.filter(task_id="3").update(result="{broken")
    rows.filter(task_id="4").update(date_done=DONE - timedelta(days=30))
    GroupResult.objects.create(group_id="g", content_type="application/json", content_encoding="utf-8")
    out = StringIO()
    with (
        override_settings(CELERY_RESULT_EXPIRES=86400),
        pytest.raises(CommandError, match="stay where they are"),
    ):
        call_command("import_results", stdout=out, stderr=out)
    told = out.getvalue()
    assert told.startswith("2 of 5\n3: left out, its result cannot be read: Expecting property name")
    assert "4 of 5\n4 taken over, 1 left out.\n" in told
    assert "of them are older than result_expires, 1 days: the next clean-up deletes them" in told
    assert "1 results of groups stay behind" in told


def test_a_table_of_an_older_version(rows: Any) -> None:
    stored("done", 1, states.SUCCESS)
    with connection.schema_editor() as editor:
        for index in ("django_cele_date_cr_f04a50_idx", "django_cele_worker_d54dd8_idx"):
            editor.execute(f"DROP INDEX {index}")
    with connection.cursor() as cursor:
        for column in ("date_created", "worker", "date_started"):
            cursor.execute(f"ALTER TABLE django_celery_results_taskresult RENAME {column} TO gone_{column}")
    try:
        assert run() == "1 taken over.\n"
    finally:
        with connection.cursor() as cursor:
            for column in ("date_created", "worker", "date_started"):
                cursor.execute(
                    f"ALTER TABLE django_celery_results_taskresult RENAME gone_{column} TO {column}"
                )
            for index, column in (
                ("django_cele_date_cr_f04a50_idx", "date_created"), ("django_cele_worker_d54dd8_idx", "worker"),
            ):  # fmt: skip
                cursor.execute(f"CREATE INDEX {index} ON django_celery_results_taskresult ({column})")
    assert AsyncResult("done").result == 1


def test_where_there_is_nothing_to_take_or_nowhere_to_put_it(tmp_path: Path) -> None:
    entry = {"default": databases.sqlite(tmp_path / "bare.sqlite3")}
    connections.settings["bare"] = connections.configure_settings(entry)["default"]
    try:
        with pytest.raises(CommandError, match="'bare' has no tables of django-celery-results"):
            run(database="bare")
    finally:
        databases.remove("bare")
    with (
        override_settings(CELERY_RESULT_BACKEND="disabled"),
        pytest.raises(CommandError, match="No results are kept"),
    ):
        run()
