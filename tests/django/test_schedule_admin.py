"""Schedules in the admin: the list, the one form, arguments as fields, the preview, what can be done."""

import enum
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from celeriac import registry, states
from celeriac.app import Celeriac
from celeriac.beat import entries
from celeriac.beat.calls import task_id
from celeriac.django import framework
from celeriac.django.admin import last_runs
from celeriac.django.models import Message, Schedule, TaskResult
from celeriac.django.schedule_source import DatabaseSchedule
from celeriac.django.store import DatabaseStore
from celeriac.schedules import crontab
from celeriac.store import Record

LIST = "/admin/celeriac/schedule/"
ADD = f"{LIST}add/"


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@pytest.fixture(autouse=True)
def app() -> Iterator[Celeriac]:
    app: Celeriac = framework.make_default_app()

    @app.task(name="shop.tasks.tidy_up")
    def tidy_up() -> None: ...

    @app.task(name="shop.tasks.report")
    def report(
        day: date,
        kind: Literal["short", "long"],
        limit: int = 10,
        mail: bool = True,
        size: Size = Size.SMALL,
        price: Decimal | None = None,
        extra=None,  # type: ignore[no-untyped-def]
    ) -> None: ...

    @app.task(name="shop.tasks.anything")
    def anything(*args: Any, **kwargs: Any) -> None: ...

    yield app
    app.close()


def made(name: str = "tidy", **fields: Any) -> Schedule:
    row = Schedule(**{"name": name, "task": "shop.tasks.tidy_up", "every": 15, **fields})
    row.save()
    return row


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def page(client: Client, url: str = LIST, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, response
    return response.content.decode()


def send(client: Client, url: str, **fields: Any) -> str:
    """Fill in the form as a browser does that shows it, and return what comes next."""
    given = {
        "name": "tidy", "task": "shop.tasks.tidy_up", "enabled": "on", "kind": "interval", "every": "15",
        "unit": "seconds", "missed": "run_once", "overlap": "allow", "headers": "{}", "call-for": "", **fields,
    }  # fmt: skip
    response = client.post(
        url, {name: value for name, value in given.items() if value is not None}, follow=True
    )
    assert response.status_code == 200
    return response.content.decode()


def errors_in(html: str) -> str:
    return text_of(" ".join(re.findall(r'<ul class="errorlist.*?</ul>', html, re.DOTALL)))


def act(client: Client, action: str, *rows: Schedule) -> str:
    given = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(LIST, given, follow=True).content.decode()


class TestForm:
    def test_an_interval_of_15_seconds(self, boss: Client) -> None:
        send(boss, ADD)
        row = Schedule.objects.get()
        assert (row.name, row.task, row.every, row.unit) == ("tidy", "shop.tasks.tidy_up", 15, "seconds")
        assert (row.args, row.kwargs) == ([], {})
        assert "change" in page(boss, f"{LIST}{row.pk}/history/").lower()

    def test_kinds(self, boss: Client) -> None:
        send(boss, ADD, kind="crontab", minute="30", hour="4", day_of_week="mon", timezone="Asia/Kolkata")
        row = Schedule.objects.get()
        assert row.schedule == crontab(30, 4, "mon", timezone="Asia/Kolkata")
        assert row.every is None
        html = page(boss, f"{LIST}{row.pk}/change/")
        assert "at 04:30 on Mondays" in text_of(html)
        assert "as the code says" not in html

    def test_where_django_has_naive_times(self, boss: Client) -> None:
        with override_settings(USE_TZ=False):
            at = {"clocked_time_0": "2099-01-01", "clocked_time_1": "08:00:00"}
            send(boss, ADD, kind="clocked", every="", **at)
            row = Schedule.objects.get()
            text = text_of(page(boss, f"{LIST}{row.pk}/change/"))
            assert "Thu 2099-01-01 08:00:00 CET" in text
            assert "once, at 2099-01-01 08:00" in text_of(page(boss))

    def test_what_cannot_be(self, boss: Client) -> None:
        html = send(boss, ADD, kind="crontab", day_of_month="30", month_of_year="2")
        assert "never due" in errors_in(html)
        assert "There is no time zone" in errors_in(send(boss, ADD, timezone="Mars/Base"))
        assert "This is an object" in errors_in(send(boss, ADD, headers="[1]"))
        assert not Schedule.objects.exists()

    def test_the_task_is_one_that_is_known(self, boss: Client) -> None:
        assert '<option value="shop.tasks.report">' in page(boss, ADD)
        html = send(boss, ADD, task="shop.tasks.tidy_pu")
        assert "Did you mean “shop.tasks.tidy_up”?" in errors_in(html)
        send(boss, ADD, task="shop.tasks.tidy_pu", elsewhere="on")
        row = Schedule.objects.get()
        assert row.task == "shop.tasks.tidy_pu"
        send(boss, f"{LIST}{row.pk}/change/", task="shop.tasks.tidy_pu", every="20")
        row.refresh_from_db()
        assert row.every == 20

    def test_to_look_at(self, clerk: tuple[Client, User]) -> None:
        client, user = clerk
        row = made(args=[])
        page(client, LIST, 403)
        user.user_permissions.add(Permission.objects.get(codename="view_schedule"))
        html = page(client, f"{LIST}{row.pk}/change/")
        assert "shop.tasks.tidy_up" in html
        assert 'name="_save"' not in html
        assert 'name="_run"' not in html
        assert "Pause all" not in page(client)
        for url in ("pause/", "arguments/"):
            assert client.post(f"{LIST}{url}").status_code == 403


class TestArguments:
    fields: dict[str, Any] = {
        "task": "shop.tasks.report", "call-for": "shop.tasks.report", "call-day": "2026-12-24",
        "call-kind": '"long"', "call-limit": "", "call-mail": "on", "call-size": '"s"', "call-price": "",
        "call-extra": "",
    }  # fmt: skip

    def stored(self) -> tuple[list[Any], dict[str, Any]]:
        row = Schedule.objects.get()
        return row.args, row.kwargs

    def test_fields_from_the_signature(self, boss: Client) -> None:
        answer = json.loads(page(boss, f"{LIST}arguments/?task=shop.tasks.report"))
        html = answer["html"]
        assert answer["unknown"] == ""
        assert '<input type="date" name="call-day"' in html
        assert re.search(r'<select name="call-kind"[^>]*>\s*<option value="&quot;short&quot;">short', html)
        assert 'type="checkbox" name="call-mail"' in html
        assert '<option value="&quot;l&quot;">LARGE' in html
        assert "Empty: 10" in html

    def test_what_is_a_default_is_left_out(self, boss: Client) -> None:
        send(boss, ADD, **self.fields)
        assert self.stored() == (
            [],
            {"day": {"__type__": "date", "__value__": "2026-12-24"}, "kind": "long"},
        )

    def test_they_reach_the_task_in_their_types(self, boss: Client) -> None:
        given = {"call-price": "1.50", "call-mail": None, "call-size": '"l"', "call-extra": '{"a": [1]}'}
        send(boss, ADD, **{**self.fields, **given, "call-limit": "7"})
        assert self.stored()[1]["price"] == {"__type__": "decimal", "__value__": "1.50"}
        row = Schedule.objects.get()
        assert row.entry.kwargs == {
            "day": date(2026, 12, 24), "kind": "long", "limit": 7, "mail": False, "size": "l",
            "price": Decimal("1.50"), "extra": {"a": [1]},
        }  # fmt: skip
        html = page(boss, f"{LIST}{row.pk}/change/")
        assert 'value="2026-12-24"' in html
        assert 'value="1.50"' in html
        assert "{&quot;a&quot;: [1]}" in html

    def test_what_is_wrong_is_said_at_the_field(self, boss: Client) -> None:
        html = send(boss, ADD, **{**self.fields, "call-day": "soon", "call-extra": "{broken"})
        assert "Enter a valid date." in errors_in(html)
        assert "This is not JSON" in errors_in(html)
        assert 'value="soon"' in html
        assert not Schedule.objects.exists()

    def test_plain_words_need_no_quotes(self, boss: Client) -> None:
        send(boss, ADD, **{**self.fields, "call-extra": "north"})
        assert self.stored()[1]["extra"] == "north"

    def test_without_a_script_the_fields_come_once_it_was_sent(self, boss: Client) -> None:
        html = send(boss, ADD, task="shop.tasks.report")
        assert "missing a required argument: &#x27;day&#x27;" in errors_in(html)
        assert 'name="call-for" value="shop.tasks.report"' in html
        assert 'name="call-day"' in html

    def test_json_where_the_signature_takes_anything(self, boss: Client) -> None:
        call = {"task": "shop.tasks.anything", "call-for": "shop.tasks.anything"}
        send(boss, ADD, **call, **{"call-args": "[1]", "call-kwargs": '{"x": 2}'})
        assert self.stored() == ([1], {"x": 2})
        html = send(boss, ADD, **call, **{"call-args": '{"a": 1}', "call-kwargs": "[]"}, name="other")
        assert "A JSON list" in errors_in(html)

    def test_json_of_a_task_that_lives_elsewhere(self, boss: Client) -> None:
        send(
            boss, ADD, task="blog.tasks.post", elsewhere="on", **{"call-kwargs": '{"id": 7}', "call-args": ""}
        )
        assert self.stored() == ([], {"id": 7})

    def test_a_call_that_does_not_fit_any_more_is_shown_as_json(self, boss: Client) -> None:
        row = made(task="shop.tasks.report", kwargs={"gone": 1})
        html = page(boss, f"{LIST}{row.pk}/change/")
        assert "{&quot;gone&quot;: 1}" in html
        html = send(boss, f"{LIST}{row.pk}/change/", task="shop.tasks.report", **{
            "call-for": "shop.tasks.report", "call-args": "[]", "call-kwargs": '{"gone": 1}',
        })  # fmt: skip
        assert "missing a required argument" in errors_in(html)


class TestPreview:
    def ask(self, client: Client, **fields: str) -> dict[str, Any]:
        response = client.get(f"{LIST}preview/", fields)
        assert response.status_code == 200
        found: dict[str, Any] = response.json()
        return found

    def test_words_and_the_next_five(self, boss: Client) -> None:
        found = self.ask(boss, kind="crontab", minute="0", hour="4", timezone="Asia/Kolkata")
        assert found["words"] == "at 04:00 every day, Asia/Kolkata"
        assert found["zone"] == "Asia/Kolkata"
        assert len(found["runs"]) == 5
        run = found["runs"][0]
        assert run["there"].endswith("04:00:00 IST")
        assert datetime.fromisoformat(run["at"]).astimezone(UTC).strftime("%H:%M") == "22:30"
        assert re.search(r"(23|00):30:00 CES?T$", run["here"])

    def test_what_is_wrong(self, boss: Client) -> None:
        assert "never due" in self.ask(boss, kind="crontab", day_of_month="31", month_of_year="2")["problem"]
        assert self.ask(boss, kind="interval")["problem"].startswith("Every: ")
        assert self.ask(boss, kind="interval", every="x", unit="days")["problem"]

    def test_times_that_clocks_skip(self, boss: Client) -> None:
        found = self.ask(boss, kind="crontab", minute="30", hour="2", timezone="Europe/Paris")
        assert 1 <= len(found["warnings"]) <= 2  # in one year there may be two last Sundays of March, nearly
        for warning in found["warnings"]:
            assert warning.startswith("02:30 does not exist on ")
            assert warning.endswith(" in Europe/Paris: the clocks go forward. It runs at 03:00.")
        for fields in ({"hour": "4"}, {"hour": "*"}, {"timezone": "Asia/Kolkata"}, {"month_of_year": "6"}):
            given = {"minute": "30", "hour": "2", "timezone": "Europe/Paris", **fields}
            assert self.ask(boss, kind="crontab", **given)["warnings"] == []

    def test_who_may_not_look(self, clerk: tuple[Client, User]) -> None:
        assert clerk[0].get(f"{LIST}preview/").status_code == 403


class TestList:
    def test_what_is_next_and_what_was_last(self, boss: Client, store: DatabaseStore) -> None:
        slot = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)
        row = made(last_slot=slot, last_run_at=slot, total_run_count=7)
        sent = task_id("tidy", slot.timestamp())
        store.store([Record(sent, states.FAILURE, started=5.0, finished=6.5)])
        text = text_of(page(boss))
        assert re.search(
            r"tidy shop\.tasks\.tidy_up every 15 seconds (in \d+ s|now) ✕ Failed 1\.5 s \d+ d ago ✕ 7", text
        )
        key = TaskResult.objects.get().pk
        assert f"/admin/celeriac/taskresult/{key}/change/" in page(boss)
        assert last_runs.failing(Schedule.objects.all()) == [row.pk]

    def test_the_last_runs(self, boss: Client, store: DatabaseStore) -> None:
        ids = ["oldest", "gone", "newest"]
        row = made(
            last_run_at=datetime(2026, 11, 1, tzinfo=UTC), recent_runs="".join(f"{i}\n" for i in ids[::-1])
        )
        sent = datetime(2026, 11, 1, 12, tzinfo=UTC).timestamp()
        store.store([
            Record("oldest", states.FAILURE, enqueued=sent, started=sent, finished=sent + 1.5),
            Record("newest", states.SUCCESS, started=sent, finished=sent + 2),
        ])  # fmt: skip
        html = page(boss)
        strip = re.findall(
            r"<li>(.*?)</li>", html[html.index('<ol class="celeriac-strip">') :].split("</ol>")[0]
        )
        failed, gone, done = strip
        key = TaskResult.objects.get(task_id="oldest").pk
        assert f'href="/admin/celeriac/taskresult/{key}/change/"' in failed
        assert 'aria-label="Failed, 1.5 s, 2026-11-01 13:00:00 CET"' in failed and ">✕<" in failed
        assert "Nothing is stored" in gone and "href" not in gone
        assert 'title="Done, 2.0 s"' in done and ">✓<" in done
        assert "✓ Done 2.0 s" in text_of(html)
        assert failed in page(boss, f"{LIST}{row.pk}/change/")
        assert last_runs.failing(Schedule.objects.all()) == []

    def test_the_last_runs_where_results_are_elsewhere(self, boss: Client, app: Celeriac) -> None:
        with override_settings(CELERY_RESULT_BACKEND="memory://last-runs"):
            app.store.store([Record("b", states.SUCCESS), Record("a", states.FAILURE)])  # type: ignore[union-attr]
            row = made(last_run_at=datetime(2026, 11, 1, tzinfo=UTC), recent_runs="b\na\n")
            made("other", last_run_at=datetime(2026, 11, 1, tzinfo=UTC), recent_runs="a\n")
            assert page(boss).count("celeriac-pip ") == 2
            html = page(boss, f"{LIST}{row.pk}/change/")
            assert html.count("celeriac-pip ") == 2 and 'aria-label="Failed"' in html

    def test_filters(self, boss: Client, store: DatabaseStore) -> None:
        slot = datetime(2026, 11, 1, tzinfo=UTC)
        made("failing", last_slot=slot, last_run_at=slot)
        made("fine", last_slot=slot, last_run_at=slot, task="shop.tasks.report")
        made("new", enabled=False)
        store.store([Record(task_id("failing", slot.timestamp()), states.FAILURE)])
        for query, names in (
            ("last=failed", ["failing"]),
            ("last=never", ["new"]),
            ("enabled__exact=0", ["new"]),
            ("task=shop.tasks.report", ["fine"]),
            ("q=fail", ["failing"]),
        ):
            html = page(boss, f"{LIST}?{query}")
            table = html[html.index('id="result_list"') :]
            assert [name for name in ("failing", "fine", "new") if f">{name}<" in table] == names, query

    def test_it_is_quick(self, boss: Client) -> None:
        slot = datetime(2026, 11, 1, tzinfo=UTC)
        for number in range(20):
            recent = "".join(f"{number} {run}\n" for run in range(20))
            made(f"s{number}", last_slot=slot, last_run_at=slot, recent_runs=recent)
        page(boss)
        for query in ("", "?last=failed"):
            with CaptureQueriesContext(connection) as queries:
                page(boss, LIST + query)
            assert len(queries) <= 8, [each["sql"] for each in queries]

    def test_the_switch_in_the_row(self, boss: Client) -> None:
        row, other = made(), made("other")
        given = {
            "form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 2, "form-0-id": other.pk, "form-0-enabled": "on",
            "form-1-id": row.pk, "_save": "Save",
        }  # fmt: skip
        boss.post(LIST, given)
        row.refresh_from_db()
        other.refresh_from_db()
        assert (row.enabled, other.enabled) == (False, True)
        assert LogEntry.objects.filter(object_id=str(row.pk)).count() == 1

    def test_one_that_cannot_be_switched_on_says_why(self, boss: Client) -> None:
        over = made(kind="clocked", clocked_time=datetime(2026, 1, 1, tzinfo=UTC), enabled=False)
        given = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": over.pk, "form-0-enabled": "on"}
        html = boss.post(LIST, {**given, "_save": "Save"}).content.decode()
        assert "This time is over" in html
        over.refresh_from_db()
        assert not over.enabled

    def test_pausing_all(self, boss: Client) -> None:
        made()
        assert "Pause all" in page(boss)
        boss.post(f"{LIST}pause/", {"paused": "yes"})
        assert "The whole schedule is paused: nothing is sent." in page(boss)
        assert re.search(r"every 15 seconds paused", text_of(page(boss)))
        assert DatabaseSchedule().read().paused
        boss.post(f"{LIST}pause/", {"paused": "no"})
        assert "nothing is sent" not in page(boss)
        assert not DatabaseSchedule().read().paused
        assert boss.get(f"{LIST}pause/").status_code == 405

    def test_strangers_text_is_no_markup(self, boss: Client) -> None:
        evil = "<script>alert(1)</script>"
        row = made(evil, task=evil, kwargs={evil: evil}, timezone=evil[:60], from_code=evil)
        for url in (LIST, f"{LIST}{row.pk}/change/", f"{LIST}{row.pk}/history/"):
            assert evil not in page(boss, url)
        assert evil not in boss.get(f"{LIST}arguments/", {"task": evil}).json()["html"]


class TestActions:
    def test_run_now(self, boss: Client) -> None:
        row = made(task="shop.tasks.tidy_up")
        html = act(boss, "run_now", row)
        message = Message.objects.select_related("body").get()
        assert message.body.task == "shop.tasks.tidy_up"
        assert f"?q={message.body.task_id}" in html
        assert "Sent by hand." in page(boss, f"{LIST}{row.pk}/history/")

    def test_run_now_from_the_page(self, boss: Client) -> None:
        row = made()
        assert "Save and run now" in page(boss, f"{LIST}{row.pk}/change/")
        assert "The task of “tidy” was sent:" in text_of(
            send(boss, f"{LIST}{row.pk}/change/", every="20", _run="1")
        )
        row.refresh_from_db()
        assert row.every == 20
        assert Message.objects.count() == 1

    def test_the_enter_key_only_saves(self, boss: Client) -> None:
        for row in (made(), made("code", from_code="settings")):
            html = page(boss, f"{LIST}{row.pk}/change/")
            form = html[html.index('id="schedule_form"') :]
            buttons = re.findall(r'<(?:input|button) type="submit"[^>]* name="(\w+)"', form)
            assert buttons[0] == "_save"
            assert "_run" in buttons

    def test_on_and_off(self, boss: Client) -> None:
        row, other = made(), made("other", enabled=False)
        assert "1 schedule is off." in act(boss, "disable", row, other)
        assert not Schedule.objects.filter(enabled=True).exists()
        assert "2 schedules are on again." in act(boss, "enable", row, other)
        assert Schedule.objects.filter(enabled=True).count() == 2
        assert LogEntry.objects.filter(object_id=str(row.pk)).count() == 2

    def test_duplicate(self, boss: Client) -> None:
        slot = datetime(2026, 11, 1, tzinfo=UTC)
        row = made(queue="slow", total_run_count=5, last_run_at=slot, last_slot=slot)
        assert "tidy (copy)" in act(boss, "duplicate", row)
        act(boss, "duplicate", row)
        copy = Schedule.objects.get(name="tidy (copy)")
        assert (copy.queue, copy.every, copy.enabled, copy.total_run_count) == ("slow", 15, False, 0)
        assert copy.last_slot is None
        assert Schedule.objects.filter(name="tidy (copy 2)").exists()

    def test_who_may_only_look_can_do_nothing(self, clerk: tuple[Client, User]) -> None:
        client, user = clerk
        user.user_permissions.add(Permission.objects.get(codename="view_schedule"))
        row = made()
        for action in ("run_now", "disable", "duplicate"):
            act(client, action, row)
        row.refresh_from_db()
        assert row.enabled
        assert not Message.objects.exists()
        assert Schedule.objects.count() == 1


class TestEntriesInCode:
    @pytest.fixture
    def row(self) -> Iterator[Schedule]:
        registry.periodic["weekly"] = {
            "task": "shop.tasks.tidy_up", "schedule": crontab(0, 7, "mon"), "args": (), "kwargs": {},
            "options": {"queue": "slow"}, "missed": "run_once",
        }  # fmt: skip
        fields = {"kind": "crontab", "minute": "0", "hour": "7", "day_of_week": "mon", "queue": "slow"}
        yield made("weekly", from_code="shop/tasks.py:12", every=None, **fields)
        del registry.periodic["weekly"]

    def test_it_is_to_look_at_and_to_pause(self, boss: Client, row: Schedule) -> None:
        assert "from code: shop/tasks.py:12" in text_of(page(boss))
        html = page(boss, f"{LIST}{row.pk}/change/")
        assert "at 07:00 on Mondays" in text_of(html)
        assert 'name="minute"' not in html
        boss.post(f"{LIST}{row.pk}/change/", {"task": "changed", "minute": "5"})
        row.refresh_from_db()
        assert (row.enabled, row.task, row.minute) == (False, "shop.tasks.tidy_up", "0")
        assert row.from_code

    def test_what_no_beat_has_taken_up_yet(self, boss: Client, row: Schedule, app: Celeriac) -> None:
        made("mine")
        app.conf.update(beat_schedule={"<new>": {"task": "shop.tasks.tidy_up", "schedule": 90.0}})
        text = text_of(page(boss))
        assert "In the code there are entries that beat does not know of" in text
        Schedule.objects.filter(pk=row.pk).delete()
        with CaptureQueriesContext(connection) as queries:
            text = text_of(page(boss))
        assert len(queries) <= 8
        told = text[text.index("No beat has run yet.") :]
        assert re.search(
            r"weekly shop\.tasks\.tidy_up from code: @periodic at 07:00 on Mondays (in \d+ (d|h|min|s)|now) "
            r"&lt;new&gt; shop\.tasks\.tidy_up from code: beat_schedule every 90 seconds (in \d+ (s|min)|now)", told
        )  # fmt: skip
        assert list(Schedule.objects.values_list("name", flat=True)) == ["mine"]
        assert "No beat has run yet" not in page(boss, f"{LIST}?q=mine")
        DatabaseSchedule().show(entries.from_code(app, entries.read(app).values()))
        assert "celeriac-unlisted" not in page(boss)

    def test_run_now_goes_by_the_code(self, boss: Client, row: Schedule) -> None:
        act(boss, "run_now", row)
        assert Message.objects.get().queue == "slow"
        del registry.periodic["weekly"]
        assert "There is no such entry" in act(boss, "run_now", row)
        registry.periodic["weekly"] = {}

    def test_take_over(self, boss: Client, row: Schedule) -> None:
        html = send(boss, f"{LIST}{row.pk}/change/", _take_over="1")
        assert 'name="minute"' in html
        row.refresh_from_db()
        assert (row.from_code, row.kind, row.minute, row.enabled) == ("", "crontab", "0", True)
        assert "Taken over from code." in page(boss, f"{LIST}{row.pk}/history/")

    def test_one_that_fields_cannot_say_is_due_as_the_code_says(self, boss: Client, row: Schedule) -> None:
        row.kind, row.code_words = "code", "when the shop opens"
        row.save()
        assert re.search(r"when the shop opens (in \d+ (d|h|min|s)|now)", text_of(page(boss)))
        html = page(boss, f"{LIST}{row.pk}/change/")
        assert len(re.findall(r"<time datetime", html)) == 5
        assert re.search(r"07:00:00 CES?T", html)

    def test_it_cannot_be_deleted(self, boss: Client, row: Schedule) -> None:
        assert boss.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        act(boss, "delete_selected", row)
        assert (
            boss.post(
                LIST, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
            ).status_code
            == 403
        )
        assert Schedule.objects.exists()

    def test_secrets_are_not_shown(self, boss: Client) -> None:
        row = made("mail", kwargs={"password": "hunter2", "to": "ada"}, from_code="settings")
        html = page(boss, f"{LIST}{row.pk}/change/")
        assert "hunter2" not in html
        assert "to=&#x27;ada&#x27;" in html

    def test_what_was_due_before_it_was_taken_over_is_over(self, boss: Client, row: Schedule) -> None:
        epoch = datetime.fromtimestamp(0, UTC)
        Schedule.objects.filter(pk=row.pk).update(counts_from=epoch)
        send(boss, f"{LIST}{row.pk}/change/", _take_over="1")
        row.refresh_from_db()
        assert row.counts_from > datetime(2026, 1, 1, tzinfo=UTC)

    def test_what_fields_cannot_say_is_taken_over_switched_off(self, boss: Client) -> None:
        row = made("sun", kind="code", from_code="settings", code_words="at full moon", every=None)
        assert "at full moon" in text_of(page(boss))
        send(boss, f"{LIST}{row.pk}/change/", _take_over="1")
        row.refresh_from_db()
        assert (row.from_code, row.kind, row.enabled) == ("", "interval", False)
