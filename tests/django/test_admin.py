"""The admin's pages: what they show, that nothing on them can be pressed or becomes markup, that they are quick."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from celeriac import registry, states
from celeriac.app import Celeriac
from celeriac.broker import Action, Publication, Settlement
from celeriac.brokers.memory import MemoryBroker
from celeriac.config import Settings
from celeriac.django import framework
from celeriac.django.admin import looks, paging, results
from celeriac.django.broker import DatabaseBroker
from celeriac.django.models import TaskResult
from celeriac.django.store import DatabaseStore
from celeriac.message import protocol, result_format
from celeriac.message.message import new_id
from celeriac.store import Record
from tests.django import databases

TASKS = "/admin/celeriac/taskresult/"
WAITING = "/admin/celeriac/message/"
LETTERS = "/admin/celeriac/deadletter/"
QUEUES = "/admin/celeriac/queue/"

XSS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "</pre></code><iframe src=javascript:alert(1)>",
    "{{ 7|add:7 }}{% now 'Y' %}",
    "javascript:alert(1)",
    "&lt;b&gt;",
)


def record(state: str = states.SUCCESS, **fields: Any) -> Record:
    now = time.time()
    values = {
        "id": new_id(),
        "name": "shop.tasks.send_receipt",
        "args": "(4711,)",
        "kwargs": "{'fmt': 'pdf'}",
        "queue": "celery",
        "worker": "celery@web-1",
        "enqueued": now - 3,
        "started": now - 2,
        "finished": now - 1.5,
        "result": b'{"ok": true}',
    }
    return Record(state=state, **{**values, **fields})


@pytest.fixture(autouse=True)
def app() -> Iterator[Celeriac]:
    app = framework.make_default_app()
    yield app
    app.close()


def page(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, response
    return response.content.decode()


def text_of(html: str) -> str:
    """What is to be read on a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def rows_of(html: str) -> list[str]:
    body = html[html.index('id="result_list"') :] if 'id="result_list"' in html else ""
    body = body[: body.index("</table>")] if body else ""
    return [text_of(row) for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)[1:]]


class TestTaskList:
    def test_columns(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record()])
        html = page(boss, TASKS)
        table = html[html.index('id="result_list"') :]
        headers = [text_of(cell) for cell in re.findall(r"<th scope=\"col\".*?</th>", table, re.DOTALL)]
        assert headers == [
            "State", "Task", "Arguments", "Queue", "Worker", "Waited", "Ran", "Tries", "Finished",
        ]  # fmt: skip
        (row,) = rows_of(html)
        assert row.startswith("✓ Done shop.tasks.send_receipt 4711, fmt=&#x27;pdf&#x27; celery celery@web-1 ")
        assert re.search(r" 1\.0 s 500 ms 1 \d+ s ago$", row)

    def test_a_failure_says_why(self, boss: Client, store: DatabaseStore) -> None:
        result = b'{"exc_type":"ConnectionError","exc_message":["no route"],"exc_module":"builtins"}'
        store.store([record(states.FAILURE, result=result, retries=2, losses=1)])
        (row,) = rows_of(page(boss, TASKS))
        assert "✕ Failed" in row
        assert "ConnectionError: no route" in row
        assert "4 (1 lost)" in row

    @pytest.mark.parametrize(
        ("state", "word"),
        [("RETRY", "Retrying"), ("STARTED", "Running"), ("REVOKED", "Cancelled"), ("PROGRESS", "PROGRESS")],
    )
    def test_every_state_has_a_word(self, boss: Client, store: DatabaseStore, state: str, word: str) -> None:
        store.store([record(state, finished=None)])
        (row,) = rows_of(page(boss, TASKS))
        assert word in row

    def test_the_newest_first(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record(name=f"task_{number}") for number in range(3)])
        assert [re.search(r"task_\d", row)[0] for row in rows_of(page(boss, TASKS))] == [  # type: ignore[index]
            "task_2",
            "task_1",
            "task_0",
        ]

    def test_times_are_the_readers(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record(finished=1_700_000_000.5)])
        html = page(boss, TASKS)
        assert 'datetime="2023-11-14T23:13:20.500+01:00"' in html
        assert 'title="2023-11-14 23:13:20.500 CET"' in html

    def test_where_django_has_naive_times(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record()])
        with override_settings(USE_TZ=False):
            (row,) = rows_of(page(boss, TASKS))
            page(boss, f"{TASKS}{TaskResult.objects.get().pk}/change/")
        assert re.search(r"\d+ s ago$", row)

    def test_nothing_can_be_pressed(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record()])
        html = page(boss, TASKS)
        for word in ("/add/", "delete_selected", 'name="action"', "_selected_action", "addlink", "_save"):
            assert word not in html.partition('id="content"')[2]

    def test_results_kept_elsewhere(self, boss: Client) -> None:
        with override_settings(CELERY_RESULT_BACKEND="memory://"):
            app = framework.make_default_app()
            assert "Tasks are kept by MemoryStore, not in this database." in page(boss, TASKS)
            app.close()

    def test_results_in_another_database(self, boss: Client, tmp_path: Path) -> None:
        databases.add("results", databases.sqlite(tmp_path / "results.sqlite3"))
        try:
            with override_settings(CELERY_RESULT_BACKEND="django-db://results"):
                app = framework.make_default_app()
                assert app.store is not None
                app.store.store([record(name="elsewhere")])
                (row,) = rows_of(page(boss, TASKS))
                assert "elsewhere" in row
                assert len(rows_of(page(boss, f"{TASKS}?q=else&queue=celery"))) == 1
                key = TaskResult.objects.using("results").get().pk
                assert "elsewhere" in page(boss, f"{TASKS}{key}/change/")
                app.close()
        finally:
            databases.remove("results")

    def test_large_results_are_not_read_for_a_list(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record(result=b'"' + b"x" * 2_000_000 + b'"')])
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page(boss, TASKS)
        listing = next(q["sql"] for q in queries if "LIMIT 50" in q["sql"] or "LIMIT 1" in q["sql"])
        assert '"traceback"' not in listing


class TestFilters:
    @pytest.fixture(autouse=True)
    def rows(self, store: DatabaseStore) -> None:
        store.store(
            [
                record(name="shop.a", queue="celery", worker="w1"),
                record(states.FAILURE, name="shop.a", queue="mails", worker="w2"),
                record(states.FAILURE, name="shop.b", queue="celery", worker="w2"),
                record(states.RETRY, name="news.send", queue="mails", worker="w1"),
            ]
        )

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("", 4),
            ("state=FAILURE", 2),
            ("name=shop.a", 2),
            ("queue=mails", 2),
            ("worker=w1", 2),
            ("state=FAILURE&name=shop.a", 1),
            ("state=SUCCESS&name=shop.a", 1),
            ("state=FAILURE&queue=celery&worker=w2", 1),
            ("name=shop.b&queue=mails", 0),
            ("name=unheard-of", 0),
            ("q=shop.a", 2),
            ("q=shop.", 3),
            ("q=SHOP", 3),
            ("q=send", 1),
            ("q=send&state=RETRY", 1),
            ("q=shop&queue=mails", 1),
            ("q=nothing", 0),
        ],
    )
    def test_filters_and_search(self, boss: Client, query: str, count: int) -> None:
        assert len(rows_of(page(boss, f"{TASKS}?{query}"))) == count

    def test_search_by_id(self, boss: Client, store: DatabaseStore) -> None:
        wanted = record(name="found")
        store.store([wanted])
        (row,) = rows_of(page(boss, f"{TASKS}?q={wanted.id}"))
        assert "found" in row
        assert len(rows_of(page(boss, f"{TASKS}?q= {wanted.id} "))) == 1

    def test_an_id_of_which_nothing_is_known(self, boss: Client) -> None:
        said = "Nothing is stored of “does-not-&lt;exist&gt;”. If it is an id: the task was never queued here, still"
        assert said in page(boss, f"{TASKS}?q=does-not-<exist>")
        for query in ("", "q=shop.a", "state=IGNORED", "q=send&queue=unheard-of"):
            assert "Nothing is stored" not in page(boss, f"{TASKS}?{query}")

    def test_values_offered(self, boss: Client) -> None:
        html = page(boss, TASKS)
        side = html[html.index('id="changelist-filter"') :]
        for value in (
            "shop.a",
            "shop.b",
            "news.send",
            "celery",
            "mails",
            "w1",
            "w2",
            "Failed",
            "Retrying",
            "Done",
        ):
            assert value in text_of(side)

    def test_what_is_chosen_is_offered_even_if_it_is_gone(self, boss: Client) -> None:
        html = page(boss, f"{TASKS}?queue=gone")
        assert "gone" in text_of(html[html.index('id="changelist-filter"') :])

    def test_the_page_says_that_it_looked_at_the_newest_only(
        self, boss: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "looked at" not in page(boss, f"{TASKS}?queue=mails")
        monkeypatch.setattr(paging, "WINDOW", 2)
        html = page(boss, f"{TASKS}?queue=mails")
        assert "only the newest 2 were looked at" in html
        assert len(rows_of(html)) == 1

    def test_counting_stops(self, boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(paging, "MOST", 3)
        monkeypatch.setattr(results.TaskResultAdmin, "list_per_page", 2)
        first, last = page(boss, TASKS), page(boss, f"{TASKS}?p=2")
        assert "3+ results" in text_of(first)
        assert (len(rows_of(first)), len(rows_of(last))) == (2, 1)
        assert "Older" not in first
        older = re.search(r'href="(\?[^"]*before=\d+[^"]*)">Older', last)
        assert older is not None
        html = page(boss, TASKS + older[1].replace("&amp;", "&"))
        assert len(rows_of(html)) == 1
        assert "Older" not in html


class TestTaskPage:
    def url(self, row: TaskResult) -> str:
        return f"{TASKS}{row.pk}/change/"

    def test_everything_is_there(self, boss: Client, store: DatabaseStore) -> None:
        trace = 'Traceback (most recent call last):\n  File "shop.py", line 1, in f\nValueError: wrong\n'
        result = b'{"exc_type":"ValueError","exc_message":["wrong"],"exc_module":"builtins"}'
        wanted = record(
            states.FAILURE, result=result, traceback=trace, root_id="root-1", parent_id="parent-1"
        )
        store.store([wanted])
        html = page(boss, self.url(TaskResult.objects.get()))
        text = text_of(html)
        for part in (
            wanted.id,
            "✕ Failed",
            "ValueError: wrong",
            "File &quot;shop.py&quot;",
            "4711",
            "celery@web-1",
        ):
            assert part in text
        assert f"{TASKS}?q=parent-1" in html
        assert f"{TASKS}?q=root-1" in html
        for word in ("_save", "deletelink", "historylink", '<input type="text" name="state"'):
            assert word not in html

    def test_a_retried_task_was_not_started_by_itself(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record(states.SUCCESS, id="again", root_id="again", parent_id="again")])
        assert f"{TASKS}?q=again" not in page(boss, self.url(TaskResult.objects.get()))

    def test_results_are_indented(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record(result=b'{"a":[1,2]}')])
        assert "{\n  &quot;a&quot;: [\n    1," in page(boss, self.url(TaskResult.objects.get()))

    def test_results_of_other_serializers_are_not_read(self, boss: Client, store: DatabaseStore) -> None:
        write = result_format.writer(Settings(result_serializer="pickle", accept_content=["pickle"]))
        store.store([record(result=write({1, 2}))])
        html = page(boss, self.url(TaskResult.objects.get()))
        assert re.search(r"application/x-python-serialize, \d+ bytes", html)

    def test_huge_results_are_cut_and_the_page_says_so(self, boss: Client, store: DatabaseStore) -> None:
        store.store([record(result=b'"' + b"x" * 300_000 + b'"')])
        html = page(boss, self.url(TaskResult.objects.get()))
        assert len(html) < 200_000
        assert "The first 65,536 of 300,002 characters." in html

    @pytest.mark.parametrize("method", ["post", "put", "delete"])
    def test_nothing_can_be_changed(self, boss: Client, store: DatabaseStore, method: str) -> None:
        store.store([record()])
        row = TaskResult.objects.get()
        getattr(boss, method)(self.url(row), {"state": "SUCCESS", "name": "changed"})
        assert boss.post(f"{TASKS}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert boss.post(f"{TASKS}add/", {"name": "x"}).status_code == 403
        assert TaskResult.objects.get().name == row.name

    def test_no_such_task(self, boss: Client) -> None:
        assert boss.get(f"{TASKS}4711/change/").status_code == 302


class TestPermissions:
    @pytest.mark.parametrize("url", [TASKS, WAITING, LETTERS])
    def test_nobody(self, url: str) -> None:
        assert Client().get(url).status_code == 302

    @pytest.mark.parametrize("url", [TASKS, WAITING, LETTERS, QUEUES, f"{TASKS}1/change/"])
    def test_staff_without_permission(self, clerk: tuple[Client, User], url: str) -> None:
        page(clerk[0], url, 403)
        assert "Celeriac" not in page(clerk[0], "/admin/")

    @pytest.mark.parametrize(
        ("codename", "url"),
        [
            ("view_taskresult", TASKS),
            ("view_message", WAITING),
            ("view_deadletter", LETTERS),
            ("view_queue", QUEUES),
        ],
    )
    def test_each_permission_opens_its_list_and_no_other(
        self, clerk: tuple[Client, User], codename: str, url: str
    ) -> None:
        client, user = clerk
        user.user_permissions.add(Permission.objects.get(codename=codename))
        page(client, url)
        for other in {TASKS, WAITING, LETTERS, QUEUES} - {url}:
            page(client, other, 403)

    def test_there_are_no_other_permissions(self) -> None:
        names = Permission.objects.filter(content_type__app_label="celeriac").values_list(
            "codename", flat=True
        )
        letters = {"view_deadletter", "change_deadletter", "delete_deadletter"}
        schedules = {f"{verb}_schedule" for verb in ("add", "change", "delete", "view")}
        assert set(names) == {"view_taskresult", "view_message", "view_queue", *letters, *schedules}


@pytest.mark.parametrize("evil", XSS)
class TestStrangersText:
    """No text of a task's becomes markup, wherever it stands."""

    def clean(self, html: str, evil: str) -> None:
        if "<" in evil:
            assert evil not in html
        assert "onerror=alert(1)>" not in html
        assert "<script>alert" not in html
        assert 'href="javascript:' not in html

    def test_tasks(self, boss: Client, store: DatabaseStore, evil: str) -> None:
        message = evil.replace("\\", "\\\\").replace('"', '\\"')
        store.store(
            [
                record(
                    states.FAILURE,
                    id=evil,
                    name=evil,
                    args=f"({evil!r},)",
                    kwargs=repr({evil: evil}),
                    queue=evil,
                    worker=evil,
                    result=f'{{"exc_type":"{message}","exc_message":["{message}"]}}'.encode(),
                    traceback=f"Traceback\n  File {evil}\n{evil}",
                    root_id=evil,
                    parent_id=evil,
                    group_id=evil,
                ),
                record(evil, result=f'["{message}"]'.encode()),
            ]
        )
        self.clean(page(boss, TASKS), evil)
        for query in ({"q": evil}, {"q": evil[:3]}, {"queue": evil, "name": evil}, {"state": evil}):
            response = boss.get(TASKS, query)
            assert response.status_code == 200
            self.clean(response.content.decode(), evil)
        for row in TaskResult.objects.all():
            self.clean(page(boss, f"{TASKS}{row.pk}/change/"), evil)

    def test_messages_and_dead_letters(
        self, boss: Client, broker: DatabaseBroker, app: Celeriac, evil: str
    ) -> None:
        @app.task(name=evil)
        def evil_task(*args: Any, **kwargs: Any) -> None: ...

        evil_task.apply_async((evil,), {evil: evil}, queue=evil)
        broker.publish([Publication(evil, evil, evil, evil.encode())], 60)
        self.clean(page(boss, WAITING), evil)
        broker.register("me", 3600)
        for delivery in broker.claim("me", [evil], 10, 1):
            self.clean(page(boss, f"{WAITING}{delivery.tag}/change/"), evil)
            broker.settle("me", [Settlement(delivery.tag, Action.DEAD, reason=evil)])
        html = page(boss, LETTERS)
        assert "2 dead letters" in html
        self.clean(html, evil)


class TestWaiting:
    @pytest.fixture
    def send(self, app: Celeriac) -> Any:
        @app.task(name="shop.tasks.pay")
        def pay(*args: Any, **kwargs: Any) -> None: ...

        return pay

    def test_what_waits_and_where(self, boss: Client, broker: DatabaseBroker, send: Any) -> None:
        send.apply_async((1,), countdown=3600, queue="later")
        send.apply_async((2,), queue="now")
        send.apply_async((3,), queue="held")
        broker.register("celery@web-1", 3600)
        broker.claim("celery@web-1", ["held"], 1, 1)
        rows = rows_of(page(boss, WAITING))
        assert [row.split(" shop")[0] for row in rows] == ["● In flight", "… Waiting", "◷ Scheduled"]
        assert "celery@web-1" in rows[0]
        assert "in 1 h" in rows[2] or "in 60 min" in rows[2]
        for query, count in (
            ("state=0", 1),
            ("state=1", 1),
            ("state=2", 1),
            ("queue=now", 1),
            ("state=9", 0),
            ("state=x", 0),
        ):
            assert len(rows_of(page(boss, f"{WAITING}?{query}"))) == count

    def test_who_reads_what_waits(self, boss: Client, broker: DatabaseBroker, send: Any) -> None:
        assert "No worker" not in page(boss, WAITING), "nothing waits"
        for queue in ("now", "later", "never"):
            send.apply_async((1,), queue=queue)
        broker.register("celery@web-1/supervisor", 3600)
        assert "No worker is running (E101)." in page(boss, WAITING)
        broker.register("celery@web-1/1", 60, ["now", "other"])
        assert "No worker reads later, never (E107)." in page(boss, WAITING)
        broker.register("celery@web-2/1", 60, ["later", "never"])
        assert "No worker" not in page(boss, WAITING)

    @pytest.mark.parametrize("compression", ["", "gzip"])
    def test_the_call(self, boss: Client, broker: DatabaseBroker, send: Any, compression: str) -> None:
        arguments = {"fmt": "pdf", "password": "hunter2", "nested": {"api_token": "hunter2"}}
        send.apply_async((4711,), arguments, compression=compression)
        html = page(boss, f"{WAITING}{_only_tag()}/change/")
        assert "4711" in html
        assert "pdf" in html
        assert "hunter2" not in html

    def test_another_broker_is_told(self, boss: Client) -> None:
        with override_settings(CELERY_BROKER_URL="memory://"):
            app = framework.make_default_app()
            assert "Waiting tasks are kept by memory://, not in this database." in page(boss, WAITING)
            app.close()


def _only_tag() -> int:
    from celeriac.django.models import Message

    tag: int = Message.objects.get().pk
    return tag


class TestDeadLetters:
    def fill(self, broker: Any, count: int = 3) -> None:
        payloads = [b"\x80\x04garbage \x00\xff", b'{"no": "task"}'][: count - 1]
        broker.publish([Publication(new_id(), "t", "q", payload) for payload in payloads], 60)
        broker.register("me", 3600)
        for number, delivery in enumerate(broker.claim("me", ["q"], 10, 1)):
            broker.settle("me", [Settlement(delivery.tag, Action.DEAD, reason=f"reason {number}")])

    def test_nothing(self, boss: Client) -> None:
        assert "Nothing was set aside." in page(boss, LETTERS)

    def test_on_the_database(self, boss: Client, broker: DatabaseBroker) -> None:
        self.fill(broker)
        text = text_of(page(boss, LETTERS))
        assert "reason 0" in text
        assert "reason 1" in text
        assert "garbage \\x00\\xff" in text
        assert "2 dead letters" in text

    @pytest.fixture
    def letters(self, broker: DatabaseBroker, app: Celeriac) -> list[Any]:
        """Three dead letters of a task, and one that cannot be read; the newest first."""
        app.send_many((app.signature("shop.pay", (number,), queue="q")) for number in range(3))
        broker.register("me", 3600)
        for delivery in broker.claim("me", ["q"], 10, 1):
            broker.settle("me", [Settlement(delivery.tag, Action.DEAD, reason="why")])
        self.fill(broker, 2)
        assert broker.count_dead_letters() == 4
        return broker.dead_letters()

    def act(self, client: Client, action: str, keys: list[str], status: int = 200, **more: str) -> str:
        response = client.post(LETTERS, {"action": action, "key": keys, **more}, follow=status == 200)
        assert response.status_code == status
        return text_of(response.content.decode())

    def test_some_are_put_back(self, boss: Client, broker: DatabaseBroker, letters: list[Any]) -> None:
        assert "Put back" in page(boss, LETTERS)
        readable = [letter for letter in letters if letter.reason == "why"]
        assert "2 dead letters put back." in self.act(boss, "retry", [each.key for each in readable[:2]])
        assert broker.count_dead_letters() == 2
        runs = [protocol.decode(each.payload).headers for each in broker.claim("me", ["q"], 10, 3)]
        assert [each.argsrepr for each in runs] == ["(1,)", "(2,)"]
        (garbage,) = (letter for letter in letters if letter.reason != "why")
        text = self.act(boss, "retry", [garbage.key, readable[0].key, "unknown"])
        assert "0 dead letters put back. 3 could not be" in text
        assert "Nothing was chosen." in self.act(boss, "retry", [])

    def test_some_are_dropped_after_a_question(
        self, boss: Client, broker: DatabaseBroker, letters: list[Any]
    ) -> None:
        keys = [letter.key for letter in letters[:3]]
        question = self.act(boss, "discard", keys)
        assert "Drop 3 dead letters for good?" in question
        assert broker.count_dead_letters() == 4
        assert "3 dead letters dropped." in self.act(boss, "discard", keys, sure="yes")
        assert [letter.key for letter in broker.dead_letters()] == [letters[3].key]
        self.act(boss, "explode", keys, 400)

    def test_who_may_only_look_can_do_neither(
        self, clerk: tuple[Client, User], broker: DatabaseBroker, letters: list[Any]
    ) -> None:
        client, user = clerk
        user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
        html = page(client, LETTERS)
        assert "checkbox" not in html
        assert "<button" not in html.split('id="content-main"')[1]
        keys = [letter.key for letter in letters]
        self.act(client, "retry", keys, 403)
        self.act(client, "discard", keys, 403, sure="yes")
        assert broker.count_dead_letters() == 4
        user.user_permissions.add(Permission.objects.get(codename="change_deadletter"))
        assert "3 dead letters put back. 1 could not be" in self.act(client, "retry", keys)
        self.act(client, "discard", keys, 403, sure="yes")
        assert Client().post(LETTERS, {"action": "retry", "key": keys}).status_code == 302
        assert Client(enforce_csrf_checks=True).post(LETTERS).status_code == 403
        assert broker.count_dead_letters() == 1

    def test_one_is_changed_and_put_back(
        self, boss: Client, broker: DatabaseBroker, letters: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        letter = next(each for each in letters if each.reason == "why")
        url = f"{LETTERS}{letter.key}/amend/"
        assert f'href="{url}"' in page(boss, LETTERS)
        html = page(boss, url)
        assert 'name="queue" value="q"' in html
        assert ">\n[2]</textarea>" in html
        html = boss.post(url, {"args": "[2", "kwargs": "[]", "queue": "q"}).content.decode()
        assert "Nothing has been put back." in html
        assert "this is not readable as JSON" in html
        assert "Arguments by name are a JSON object" in html
        assert broker.count_dead_letters() == 4
        with caplog.at_level("INFO", "celeriac.django"):
            response = boss.post(
                url, {"args": "[77]", "kwargs": '{"b": "</textarea>"}', "queue": "slow"}, follow=True
            )
        assert "1 dead letter put back, as you have changed it." in response.content.decode()
        assert broker.count_dead_letters() == 3
        (delivery,) = broker.claim("me", ["slow"], 10, 3)
        headers = protocol.decode(delivery.payload).headers
        assert (headers.argsrepr, headers.kwargsrepr) == ("(77,)", "{'b': '</textarea>'}")
        (line,) = [each.getMessage() for each in caplog.records if "changed" in each.getMessage()]
        assert line == f"boss: a dead letter changed and put back into slow (shop.pay[{headers.id}])."
        gone = boss.get(url, follow=True)
        assert "It is gone, or cannot be read." in gone.content.decode()

    def test_secrets_are_not_put_into_the_form(
        self, boss: Client, broker: DatabaseBroker, app: Celeriac
    ) -> None:
        app.send_task("shop.log_in", [1], {"password": "hunter2"}, queue="q")
        broker.register("me", 3600)
        (delivery,) = broker.claim("me", ["q"], 10, 1)
        broker.settle("me", [Settlement(delivery.tag, Action.DEAD, reason="</script>")])
        (letter,) = broker.dead_letters()
        html = page(boss, f"{LETTERS}{letter.key}/amend/")
        assert "hunter2" not in html
        assert "</script>" not in html.split('id="content-main"')[1].split("</main>")[0]
        boss.post(f"{LETTERS}{letter.key}/amend/", {"args": "[2]", "kwargs": "", "queue": "q"})
        (delivery,) = broker.claim("me", ["q"], 10, 2)
        assert b"hunter2" in protocol.decode(delivery.payload).body, "what is left empty stays"

    def test_what_is_not_signed_by_this_project_stays(
        self, boss: Client, broker: DatabaseBroker, app: Celeriac, letters: list[Any]
    ) -> None:
        (unsigned, *_) = (each for each in letters if each.reason == "why")
        with override_settings(CELERY_TASK_SIGNING=True):
            app.send_task("shop.pay", (7,), queue="q")
            (delivery,) = broker.claim("me", ["q"], 10, 3)
            broker.settle("me", [Settlement(delivery.tag, Action.DEAD, reason="signed")])
            signed = broker.dead_letters(1)[0]
            text = self.act(boss, "retry", [unsigned.key, signed.key])
            assert "1 dead letter put back. 1 could not be" in text
            (delivery,) = broker.claim("me", ["q"], 10, 4)
            assert app.codec.decode(delivery.payload, "q").headers.argsrepr == "(7,)"
            html = boss.get(f"{LETTERS}{unsigned.key}/amend/", follow=True).content.decode()
            assert "celeriac deadletter retry --sign" in html
        assert broker.count_dead_letters() == 4

    def test_who_may_not_put_back_may_not_change(
        self, clerk: tuple[Client, User], broker: DatabaseBroker, letters: list[Any]
    ) -> None:
        client, user = clerk
        url = f"{LETTERS}{letters[-1].key}/amend/"
        user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
        assert "amend" not in page(client, LETTERS)
        assert client.get(url).status_code == 403
        assert client.post(url, {"args": "[1]", "queue": "q"}).status_code == 403
        assert Client().get(url).status_code == 302
        assert broker.count_dead_letters() == 4
        user.user_permissions.add(Permission.objects.get(codename="change_deadletter"))
        assert client.get(url).status_code == 200
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(user)
        assert strict.post(url, {"args": "[1]", "queue": "q"}).status_code == 403

    def test_on_another_broker(self, boss: Client) -> None:
        with override_settings(CELERY_BROKER_URL="memory://letters"):
            app = framework.make_default_app()
            self.fill(app.broker)
            assert "reason 1" in page(boss, LETTERS)
            assert isinstance(app.broker, MemoryBroker)
            app.broker.clear()
            app.close()

    def test_a_broker_that_is_down_is_said(self, boss: Client) -> None:
        with override_settings(CELERY_BROKER_URL="redis://127.0.0.1:1/0"):
            app = framework.make_default_app()
            assert "127.0.0.1:1" in page(boss, LETTERS)
            app.close()

    def test_pages(self, boss: Client, broker: DatabaseBroker) -> None:
        broker.publish([Publication(new_id(), "t", "q", b"x%d" % number) for number in range(60)], 60)
        broker.register("me", 3600)
        deliveries = broker.claim("me", ["q"], 100, 1)
        broker.settle("me", [Settlement(d.tag, Action.DEAD, reason="no") for d in deliveries])
        first, second = page(boss, LETTERS), page(boss, f"{LETTERS}?p=2")
        assert (len(rows_of(first)), len(rows_of(second))) == (50, 10)
        page(boss, f"{LETTERS}?p=nonsense")

    def test_long_messages_are_cut(self, boss: Client, broker: DatabaseBroker) -> None:
        broker.publish([Publication(new_id(), "t", "q", b"y" * 500_000)], 60)
        broker.register("me", 3600)
        (delivery,) = broker.claim("me", ["q"], 1, 1)
        broker.settle("me", [Settlement(delivery.tag, Action.DEAD, reason="long")])
        html = page(boss, LETTERS)
        assert len(html) < 60_000
        assert "Only the beginning is shown." in html


class TestSpeed:
    """What makes pages quick at a million rows: few queries, each by an index. `bench.admin_pages` times them."""

    QUERIES = (
        "",
        "state=FAILURE",
        "name=shop.a",
        "queue=rare",
        "state=FAILURE&name=shop.a",
        "state=SUCCESS&name=shop.a&queue=rare&worker=w1",
        "q=shop",
        "q=shop&queue=rare",
    )

    @pytest.mark.parametrize("query", QUERIES)
    def test_few_queries_each_with_an_index(
        self, clerk: tuple[Client, User], store: DatabaseStore, query: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, user = clerk
        user.user_permissions.add(Permission.objects.get(codename="view_taskresult"))
        store.store([record(name=f"shop.{'abc'[n % 3]}", queue=("celery", "rare")[n % 2]) for n in range(60)])
        monkeypatch.setattr(paging, "WINDOW", 20)
        page(client, TASKS)
        with CaptureQueriesContext(connection) as queries:
            page(client, f"{TASKS}?{query}")
        assert len(queries) <= 8
        for statement in (q["sql"] for q in queries if "celeriac_taskresult" in q["sql"]):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
                plan = [row[3] for row in cursor.fetchall()]
            # The list of all is read by number from its end, and stops after a page.
            bounded = "ORDER BY id DESC LIMIT" in statement or (
                "LIMIT" in statement and "WHERE" not in statement
            )
            scans = [line for line in plan if line.startswith("SCAN celeriac") and "INDEX" not in line]
            assert not scans or bounded, (statement, plan)
            assert not [
                line for line in plan if "TEMP B-TREE FOR ORDER BY" in line and "UNION" not in statement
            ], (
                statement,
                plan,
            )


class TestLooks:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (None, "–"), (-1, "–"), (0.0004, "0.4 ms"), (0.0061, "6.1 ms"), (0.012, "12 ms"), (0.9994, "999 ms"),
            (0.9999, "1.0 s"), (1.24, "1.2 s"), (99.4, "99.4 s"), (184.2, "3 min 4 s"), (7500, "2 h 5 min"),
            (200_000, "2 d 7 h"),
        ],
    )  # fmt: skip
    def test_durations(self, seconds: float | None, text: str) -> None:
        assert looks.duration(seconds) == text

    @pytest.mark.parametrize(
        ("args", "kwargs", "text"),
        [
            ("()", "{}", ""),
            ("(1,)", "{}", "1"),
            ("(1, 'a')", "{'b': 2}", "1, 'a', b=2"),
            ("[1, 2]", "", "1, 2"),
            ("()", "{'password': 'x', 'n': 1}", "password='********************', n=1"),
            ("(1, ...", "{'b': <object>}", "(1, ..., {'b': <object>}"),
        ],
    )
    def test_arguments(self, args: str, kwargs: str, text: str) -> None:
        assert looks.arguments(args, kwargs) == text

    @pytest.mark.parametrize(
        ("head", "text"),
        [
            ('{"exc_type":"KeyError","exc_message":["x"]}', "KeyError: x"),
            ('{"exc_type":"KeyError","exc_message":[]}', "KeyError"),
            ('{"exc_type": "KeyError", "exc_message": ["cut off in the mid', "KeyError: cut off in the mid"),
            ('{"exc_type":"E","exc_message":["line\\nline"]}', "E: line line"),
            ("[1, 2]", ""),
            ("null", ""),
            ("", ""),
            ('{"progress": 5}', ""),
        ],
    )
    def test_error_lines(self, head: str, text: str) -> None:
        assert looks.error_line(head) == text


def test_the_section_is_called_celeriac(boss: Client) -> None:
    text = text_of(page(boss, "/admin/"))
    assert re.search(
        r"Celeriac .*Dead letters View Queues and workers View Schedules Add Change Tasks View Waiting tasks View",
        text,
    )
    assert registry.has_app()


class TestQueues:
    """Queues and workers, on whatever broker."""

    def test_nothing(self, boss: Client, broker: DatabaseBroker) -> None:
        text = text_of(page(boss, QUEUES))
        assert "Nothing waits, and nothing is read." in text
        assert "No worker is running. Start one: celeriac worker" in text

    def test_what_waits_and_who_reads_it(self, boss: Client, broker: DatabaseBroker, app: Celeriac) -> None:
        app.send_many(app.signature("shop.pay", (number,), queue="mails") for number in range(3))
        app.send_many([app.signature("shop.pay", (1,), queue="<b>odd</b>", countdown=60)])
        broker.register("mails@web/0-abc", 60, ["mails", "slow"])
        broker.register("mails@web/1-def", 60, ["mails", "slow"])
        broker.claim("mails@web/0-abc", ["mails"], 1, 1)
        html = page(boss, QUEUES)
        assert "<b>odd" not in html
        rows = [text_of(row).split() for row in re.findall("<tr>.*?</tr>", html, re.DOTALL)]
        found = {row[0]: row[1:] for row in rows}
        assert found["mails"][0] == "2"
        assert found["mails"][-3:] == ["0", "1", "1"]
        assert found["slow"] == ["0", "–", "0", "0", "1"]
        assert found["&lt;b&gt;odd&lt;/b&gt;"] == ["0", "–", "1", "0", "✕", "none", "reads", "it"]
        assert found["mails@web"] == ["2", "mails,", "slow"]

    def test_a_broker_that_is_away(self, boss: Client, app: Celeriac) -> None:
        app.conf.broker_url = "redis://127.0.0.1:1/0"
        app.settings_changed(["broker_url"])
        assert "127.0.0.1:1" in text_of(page(boss, QUEUES))

    def test_few_queries(self, boss: Client, broker: DatabaseBroker) -> None:
        page(boss, QUEUES)
        with CaptureQueriesContext(connection) as queries:
            page(boss, QUEUES)
        assert len(queries) <= 8
