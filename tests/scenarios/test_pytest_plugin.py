"""The pytest plugin, in runs of pytest of its own: its fixtures, and those under Celery's names."""

import importlib.metadata
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)
TASKS = """
    from celeriac import Celeriac, current_app, shared_task

    app = Celeriac("shop", broker="redis://localhost:1/0", backend="redis://localhost:1/0")

    @shared_task(name="shop.add")
    def add(a, b):
        return a + b
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with an app and a task; what is installed beside us is not loaded."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    pytester.makepyfile(shop=TASKS)
    pytester.makeini(
        "[pytest]\naddopts = -p celeriac.testing.plugin -W error --strict-markers\npythonpath = ."
    )
    return pytester


def run(inner: pytest.Pytester, *words: str) -> pytest.RunResult:
    return inner.runpytest_subprocess(*words, timeout=300)


def test_it_is_a_plugin_of_the_package() -> None:
    entry = importlib.metadata.entry_points(group="pytest11", name="celeriac")
    assert {point.value for point in entry} == {"celeriac.testing.plugin"}


def test_queue(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        from datetime import timedelta
        from shop import add

        def test_sent(queue):
            result = add.apply_async([1, 2], countdown=60)
            queue.assert_enqueued(add, args=[1, 2], countdown=60)
            assert queue.drain() == []
            queue.run_due(timedelta(minutes=1, seconds=1))
            assert result.get(timeout=0) == 3

        def test_nothing_is_left_of_another_test(queue):
            queue.assert_nothing_enqueued()

        def test_told(queue):
            add.delay(3, b=4)
            queue.assert_enqueued(add, args=[1, 2])
    """)
    done = run(inner)
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines([
        "E*AssertionError: shop.add with args=[[]1, 2] was not enqueued.",
        "E*Enqueued:",
        "E*shop.add(3, b=4) on queue 'celery'",
    ])  # fmt: skip


def test_worker_and_another_app(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        import threading
        import pytest
        from celeriac import Celeriac
        from shop import add

        other = Celeriac("other", broker="redis://localhost:1/1", backend="redis://localhost:1/1")

        @other.task
        def where():
            return threading.current_thread().name

        @pytest.fixture
        def celeriac_app():
            return other

        def test_it(celeriac_worker):
            assert where.delay().get(timeout=100) == "celeriac-testing-worker"

        def test_with_queue(queue, celeriac_worker):
            assert where.delay().get(timeout=100)
            queue.assert_enqueued(where)
    """)
    run(inner).assert_outcomes(passed=2)


def test_it_does_nothing_unless_it_is_asked(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        import sys, threading

        def test_it():
            assert not {"django", "hiredis", "asyncio", "celery", "celeriac.worker"} & set(sys.modules)
            assert threading.active_count() == 1
    """)
    run(inner, "-p", "no:unraisableexception", "-p", "no:faulthandler").assert_outcomes(passed=1)


# -- the fixtures under Celery's names

CELERYS = """
    import pytest
    from celeriac import current_app, shared_task

    @shared_task(name="known.mul")
    def mul(x, y):
        return x * y

    @pytest.fixture(scope="session")
    def celery_config():
        return {"task_default_queue": "tests"}

    def test_app_and_worker(celery_app, celery_worker):
        @celery_app.task
        def add(x, y):
            return x + y

        celery_worker.reload()
        assert add.delay(4, 4).get(timeout=100) == 8
        assert mul.delay(4, 4).get(timeout=100) == 16
        assert current_app() is celery_app
        assert celery_app.conf.task_default_queue == "tests"

    @pytest.mark.celery(task_default_queue="marked", result_backend=None)
    def test_marker(celery_app):
        assert celery_app.conf.task_default_queue == "marked"
        assert celery_app.store is None

    def test_queue_is_for_it(queue, celery_app):
        mul.delay(1, 2)
        queue.assert_enqueued(mul, queue="tests")

    def test_nothing_is_left(celery_app):
        assert celery_app.broker.depths() == {}
"""


def test_celerys_fixtures(inner: pytest.Pytester) -> None:
    inner.makepyfile(CELERYS)
    run(inner).assert_outcomes(passed=4)


def test_celerys_fixtures_of_a_session(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        extra="from celeriac import shared_task\n\n@shared_task(name='extra.one')\ndef one():\n    return 1\n"
    )
    inner.makepyfile("""
        import pytest
        from celeriac import Task, current_app

        class Two(Task):
            name = "two"

            def run(self):
                return 2

        @pytest.fixture(scope="session")
        def celery_includes():
            return ["extra"]

        @pytest.fixture(scope="session")
        def celery_class_tasks():
            return [Two]

        @pytest.fixture(scope="session")
        def celery_parameters():
            return {"main": "mine"}

        @pytest.fixture(scope="session")
        def celery_worker_parameters():
            return {"queues": "celery,more", "perform_ping_check": False, "shutdown_timeout": 100}

        seen = []

        def test_it(celery_session_app, celery_session_worker):
            assert celery_session_app.main == "mine"
            seen.append(celery_session_worker)
            assert celery_session_app.send_task("extra.one").get(timeout=100) == 1
            assert celery_session_app.send_task("two", queue="more").get(timeout=100) == 2

        def test_it_is_the_same(celery_session_worker, celery_enable_logging, celery_worker_pool):
            assert seen == [celery_session_worker]
    """)
    run(inner).assert_outcomes(passed=2)


def test_the_trap(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        import pytest
        from shop import add

        @pytest.fixture(scope="session")
        def use_celery_app_trap():
            return True

        def test_the_current_app_is_not_to_be_used(celery_app):
            with pytest.raises(RuntimeError, match="depends_on_current_app"):
                add.delay(1, 2)

        def test_unless_it_is_said(celery_app, depends_on_current_app):
            add.delay(1, 2)
            assert celery_app.broker.depths()["celery"].ready == 1
    """)
    run(inner).assert_outcomes(passed=2)


def test_celerys_own_plugin_comes_first(inner: pytest.Pytester) -> None:
    pytest.importorskip("celery")
    inner.makepyfile("""
        import celery

        def test_it(celery_app, queue):
            assert isinstance(celery_app, celery.Celery)

        from shop import app
    """)
    run(inner, "-p", "celery.contrib.pytest", "-W", "default").assert_outcomes(passed=1)


# -- in a Django project

SETTINGS = """
    SECRET_KEY = "only for tests"
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "celeriac.django"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    USE_TZ = True
"""


def test_in_a_django_project(inner: pytest.Pytester) -> None:
    pytest.importorskip("pytest_django")
    inner.makepyfile(site_settings=SETTINGS)
    Path(inner.path, "shop.py").write_text(
        "from celeriac import shared_task\n"
        "from django.contrib.auth.models import User\n\n"
        "@shared_task(name='shop.greet')\ndef greet(name):\n    return 'hello ' + name\n\n"
        "@shared_task(name='shop.count')\ndef count():\n    return User.objects.count()\n\n"
        "@shared_task(name='shop.acount')\nasync def acount():\n    return await User.objects.acount()\n"
    )
    inner.makepyfile("""
        import pytest
        from asgiref.sync import sync_to_async
        from django.contrib.auth.models import User
        from django.db import transaction
        from django.test import TestCase, override_settings
        from shop import acount, count, greet

        def sign_up(name):
            with transaction.atomic():
                User.objects.create(username=name)
                greet.delay(name)

        def test_it(db, queue):
            sign_up("ada")
            queue.assert_enqueued(greet, args=["ada"], times=1)
            (run,) = queue.drain()
            assert run.get() == "hello ada"

        def test_nothing_is_left_of_it(db, queue):
            queue.assert_nothing_enqueued()
            assert User.objects.count() == 0

        def test_captured(django_capture_on_commit_callbacks, db, queue):
            with django_capture_on_commit_callbacks(execute=True) as callbacks:
                sign_up("ada")
                transaction.on_commit(lambda: greet.delay("bob"))
            assert len(callbacks) == 3
            queue.assert_enqueued(greet, times=2)

        def test_drained_tasks_see_the_test_s_rows(db, queue):
            sign_up("ada")
            results = [count.delay(), acount.delay()]
            queue.drain()
            assert [result.get() for result in results] == [1, 1]

        def test_settings(db, settings):
            settings.CELERY_TASK_ALWAYS_EAGER = True
            assert greet.delay("ada").get() == "hello ada"

        @override_settings(CELERY_TASK_ALWAYS_EAGER=True)
        def test_overridden(db):
            User.objects.create(username="ada")
            assert (count.delay().get(), acount.delay().get()) == (1, 1)

        def test_they_are_as_they_were(db, queue):
            greet.delay("ada")
            queue.assert_enqueued(greet)

        @pytest.mark.django_db(transaction=True)
        def test_a_worker(celeriac_worker):
            User.objects.create(username="ada")
            assert count.delay().get(timeout=100) == 1
            assert acount.delay().get(timeout=100) == 1

        class InTestCase(TestCase):
            @pytest.fixture(autouse=True)
            def _queue(self, queue):
                self.queue = queue

            def test_it(self):
                sign_up("ada")
                self.queue.assert_enqueued(greet)
                assert User.objects.count() == 1

            async def test_in_a_coroutine(self):
                await sync_to_async(sign_up)("ada")
                self.queue.assert_enqueued(greet)
                with pytest.raises(AssertionError, match="Nothing should have been"):
                    self.queue.assert_nothing_enqueued()
                await sync_to_async(self.queue.drain)()
    """)
    run(inner, "-p", "pytest_django.plugin", "--ds", "site_settings").assert_outcomes(passed=10)
