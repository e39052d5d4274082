"""What Django does for an app: settings, tasks modules, checks before a worker starts, hooks around tasks, forks."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import AppConfig
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy

from celeriac import registry
from celeriac.app import Celeriac
from celeriac.broker import Publication
from celeriac.context import Request
from celeriac.django import around, framework
from celeriac.django.broker import DatabaseBroker
from celeriac.django.framework import DjangoFramework
from celeriac.django.store import DatabaseStore
from celeriac.errors import BadSignature, ImproperlyConfigured, NotInstalled
from celeriac.hooks import Hooks
from celeriac.message import serializers
from celeriac.message.message import Headers, Message, Properties, new_id
from celeriac.store import Record
from celeriac.worker.options import WorkerOptions
from tests.django import databases

REQUEST = Request(Message(Headers("t", "id"), Properties(), b""), "q", "w")


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = framework.make_default_app()
    yield app
    app.close()


class TestSettings:
    def test_the_database_is_broker_and_store(self, app: Celeriac) -> None:
        assert isinstance(app.broker, DatabaseBroker)
        assert isinstance(app.store, DatabaseStore)
        assert app.conf.timezone == "Europe/Paris"
        assert app.main == "tests"

    def test_what_holds_where_nothing_is_set(self, app: Celeriac) -> None:
        conf = app.conf
        assert (conf.broker_url, conf.result_backend) == ("django://default", "django-db")
        assert conf.result_expires == 7 * 86_400
        assert conf.task_publish_on_commit
        assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
        assert conf.task_default_queue == "celery"
        assert WorkerOptions().loglevel == "INFO"

    def test_celery_settings_hold(self) -> None:
        with override_settings(CELERY_BROKER_URL="memory://", CELERY_RESULT_BACKEND="memory://"):
            app = framework.make_default_app()
            assert app.conf.broker_url == app.conf.result_backend == "memory://"
            app.close()

    def test_a_setting_that_a_test_overrides_holds_for_as_long(self, app: Celeriac) -> None:
        @app.task
        def twice(n: int) -> int:
            return 2 * n

        app.conf.update(task_default_queue="kept")
        with override_settings(CELERY_TASK_ALWAYS_EAGER=True, CELERY_TIMEZONE="Asia/Tokyo"):
            assert twice.delay(4).get() == 8
            assert app.conf.timezone == "Asia/Tokyo"
        with override_settings(TIME_ZONE="Africa/Cairo"):
            assert app.conf.timezone == "Africa/Cairo"
        assert not app.conf.task_always_eager
        assert (app.conf.timezone, app.conf.task_default_queue) == ("Europe/Paris", "kept")

    def test_so_do_broker_store_and_routes(self, app: Celeriac) -> None:
        task = app.task(lambda: None, name="shop.nothing")
        before = app.broker
        with override_settings(
            CELERIAC={"broker_url": "memory://overridden", "task_routes": {"shop.*": "mails"}}
        ):
            task.delay()
            assert app.broker.depths()["mails"].ready == 1
            app.broker.purge("mails")
        assert isinstance(app.broker, DatabaseBroker) and app.broker is not before
        assert app.conf.task_routes is None

    def test_so_do_the_keys_of_signatures(self, app: Celeriac) -> None:
        def is_ours(payload: bytes) -> bool:
            try:
                return app.codec.decode(payload, "celery").headers.task == "t"
            except BadSignature:
                return False

        unsigned = app.publication("t", (), {}, {}).payload
        with override_settings(CELERY_TASK_SIGNING=True):
            ours = app.publication("t", (), {}, {}).payload
            assert (is_ours(ours), is_ours(unsigned)) == (True, False)
            with override_settings(SECRET_KEY="another"):
                assert not is_ours(ours)
                theirs = app.publication("t", (), {}, {}).payload
                with override_settings(SECRET_KEY_FALLBACKS=["only for tests"]):
                    assert is_ours(ours) and is_ours(theirs)
            assert (is_ours(ours), is_ours(theirs)) == (True, False)
        assert is_ours(unsigned) and is_ours(theirs), "nothing is looked at"

    def test_a_setting_that_is_overridden_with_nonsense_is_told(self, app: Celeriac) -> None:
        assert app.conf.worker_concurrency is None
        with (
            pytest.raises(ImproperlyConfigured, match="CELERY_WORKER_CONCURRENCY = 'many'"),
            override_settings(CELERY_WORKER_CONCURRENCY="many"),
        ):
            pass
        assert app.conf.worker_concurrency is None

    @pytest.mark.parametrize("name", ["task_default_queue", "TASK_DEFAULT_QUEUE"])
    def test_the_dict_holds(self, name: str) -> None:
        with override_settings(CELERIAC={name: "shop"}):
            app = framework.make_default_app()
            assert app.conf.task_default_queue == "shop"
            sources = app.resolved.sources
            assert (sources["task_default_queue"], sources["timezone"]) == (
                f"CELERIAC[{name!r}]",
                "TIME_ZONE",
            )
            assert sources["broker_url"] == "default of the framework"
            app.close()

    def test_celery_settings_hold_over_the_dict(self) -> None:
        with override_settings(
            CELERIAC={"task_default_queue": "dict"}, CELERY_TASK_DEFAULT_QUEUE="celery-setting"
        ):
            app = framework.make_default_app()
            assert app.conf.task_default_queue == "celery-setting"
            app.close()

    def test_the_app_is_made_when_it_is_needed(self) -> None:
        assert not registry.has_app()
        app = registry.current_app()
        assert registry.current_app() is app
        app.close()


class TestModules:
    def test_only_those_that_exist(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, text in {"with_tasks/tasks.py": "raise RuntimeError", "without/other.py": ""}.items():
            path = tmp_path / name
            path.parent.mkdir()
            (path.parent / "__init__.py").touch()
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        with override_settings(INSTALLED_APPS=["with_tasks", "without", "celeriac.django"]):
            assert DjangoFramework().task_modules("tasks") == ["with_tasks.tasks"]
            assert DjangoFramework().task_modules("other") == ["without.other"]


class TestCheck:
    def test_all_is_well(self, app: Celeriac) -> None:
        DjangoFramework().check()

    def test_a_migration_is_missing(self, tmp_path: Path) -> None:
        connections.settings["bare"] = connections.configure_settings(
            {"default": databases.sqlite(tmp_path / "bare.sqlite3")}
        )["default"]
        try:
            with override_settings(CELERY_BROKER_URL="django://bare"):
                app = framework.make_default_app()
                with pytest.raises(NotInstalled) as caught:
                    DjangoFramework().check()
                app.close()
            assert str(caught.value) == (
                "The database lacks 1 celeriac migration. Run:  python manage.py migrate --database bare"
            )
        finally:
            databases.remove("bare")

    @pytest.mark.parametrize("module", [None, "tests.django.no_migrations_yet"])
    def test_a_project_that_has_our_migrations_switched_off(self, app: Celeriac, module: str | None) -> None:
        with override_settings(MIGRATION_MODULES={"celeriac": module}), connection.cursor() as cursor:
            cursor.execute("UPDATE django_migrations SET app = 'other' WHERE app = 'celeriac'")
            try:
                DjangoFramework().check()
            finally:
                cursor.execute("UPDATE django_migrations SET app = 'celeriac' WHERE app = 'other'")

    def test_other_brokers_need_no_table(self) -> None:
        with override_settings(CELERY_BROKER_URL="memory://", CELERY_RESULT_BACKEND="memory://"):
            app = framework.make_default_app()
            DjangoFramework().check()
            app.close()


class TestHooks:
    @pytest.fixture
    def hooks(self) -> Hooks:
        hooks = Hooks()
        connection.ensure_connection()
        DjangoFramework().install_hooks(hooks)
        for hook in hooks.before_task:
            hook(REQUEST)
        return hooks

    def after(self, hooks: Hooks) -> None:
        for hook in hooks.after_task:
            hook(REQUEST)

    def test_language_and_time_zone_are_the_projects_again(self, hooks: Hooks) -> None:
        translation.activate("fr")
        timezone.activate("Asia/Tokyo")
        self.after(hooks)
        assert translation.get_language() == "en-us"
        assert str(timezone.get_current_timezone()) == "Europe/Paris"

    def test_a_connection_that_the_task_opened_is_seen(
        self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection.close()
        around._here.known.clear()
        connection.ensure_connection()
        monkeypatch.setattr(around, "KEEP", -1.0)
        self.after(hooks)
        assert connection.connection is None

    def test_nothing_is_done_for_a_task_that_used_nothing(
        self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            translation, "deactivate", lambda: pytest.fail("a language that nobody activated")
        )
        self.after(hooks)

    def test_a_good_connection_is_kept(self, hooks: Hooks) -> None:
        connection.ensure_connection()
        mine = connection.connection
        self.after(hooks)
        for hook in hooks.before_task:
            hook(REQUEST)
        assert connection.connection is mine

    def test_a_transaction_left_open_is_ended(self, hooks: Hooks) -> None:
        connection.ensure_connection()
        connection.set_autocommit(False)
        self.after(hooks)
        assert connection.connection is None

    def test_a_broken_connection_is_closed(self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
        connection.ensure_connection()
        connection.errors_occurred = True
        monkeypatch.setattr(connection, "is_usable", lambda: False)
        self.after(hooks)
        assert connection.connection is None

    def test_an_old_connection_is_closed(self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
        connection.ensure_connection()
        monkeypatch.setattr(around, "KEEP", -1.0)
        self.after(hooks)
        assert connection.connection is None

    def test_logged_queries_are_forgotten(self, hooks: Hooks) -> None:
        with override_settings(DEBUG=True):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            assert connection.queries_log
            self.after(hooks)
            assert not connection.queries_log


class TestFork:
    def test_before_fork_closes_connections(self) -> None:
        connection.ensure_connection()
        DjangoFramework().before_fork()
        assert connection.connection is None

    def test_a_child_uses_none_of_its_parents_connections(self, broker: DatabaseBroker) -> None:
        broker.publish([Publication(new_id(), "t", "celery", b"from the parent")], 60)
        store = DatabaseStore("django-db")
        parents = connection.connection
        with warnings.catch_warnings():
            # Other tests' threads may still be ending; the child touches nothing of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            status = 1
            try:
                broker.publish([Publication(new_id(), "t", "celery", b"from the child")], 60)
                store.store([Record("1", "SUCCESS")])
                status = 2 if connection.connection is parents else 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert broker.depths()["celery"].ready == 2
        assert store.fetch(["1"])


def test_lazy_strings_can_be_sent() -> None:
    assert serializers.json_dumps({"title": gettext_lazy("Yes")}) == b'{"title":"Yes"}'


def test_installing_twice_is_installing_once() -> None:
    count = len(serializers._plain_types)
    framework.install()
    assert len(serializers._plain_types) == count


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "celeriac", check=True, dry_run=True, verbosity=0)


def test_the_short_name_of_the_app_is_the_app() -> None:
    config = AppConfig.create("celeriac")
    assert (config.name, config.label) == ("celeriac.django", "celeriac")


def test_setting_up_opens_no_connection() -> None:
    code = (
        "import django; django.setup(); from django.db import connections; "
        "assert not any(c.connection for c in connections.all(initialized_only=True))"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.django.settings"},
        timeout=300,
    )
