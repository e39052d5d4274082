"""`celeriac migrate-from-celery`: what it finds in projects of every kind, hostile ones too."""

import os
from pathlib import Path

import pytest

from celeriac.cli.from_celery.looking import look
from celeriac.cli.from_celery.verdicts import KINDS
from tests.unit.celery_project import PROJECT, write


def said(root: Path) -> dict[str, str]:
    """Return the marks: kind and name to state."""
    return {f"{each.kind}: {each.name}": each.state for each in look(root).verdicts()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path, **PROJECT)


class TestLooking:
    def test_imports(self, project: Path) -> None:
        found = said(project)
        expected = {
            "celery.Celery": "renamed",
            "celery.schedules.crontab": "renamed",
            "celery.Task": "renamed",
            "celery.chain": "missing",
            "celery.signals.task_prerun": "renamed",
            "celery.signals.eventlet_pool_started": "missing",
            "celery.exceptions.ChordError": "missing",
            "celery.exceptions.Retry": "renamed",
            "kombu.Queue": "same",
            "kombu.Connection": "missing",
            "flower": "missing",
        }
        assert {name: found[f"import: {name}"] for name in expected} == expected

    def test_settings(self, project: Path) -> None:
        found = said(project)
        expected = {
            "CELERY_BROKER_URL": "missing",
            "CELERY_RESULT_BACKEND": "same",
            "CELERY_TASK_SERIALIZER": "same",
            "CELERY_TASK_ACKS_LATE": "renamed",
            "CELERY_BEAT_SCHEDULER": "renamed",
            "CELERYD_CONCURRENCY": "same",
            "CELERY_TAKS_TIME_LIMIT": "missing",
            "CELERY_WORKER_POOL": "missing",
            "CELERY_BROKER_USE_SSL": "missing",
            "CELERY_OUR_OWN": "renamed",
            "CELERY_TASK_ALWAYS_EAGER": "renamed",
            "broker_url": "same",
            "beat_schedule": "same",
            "task_default_rate_limit": "missing",
            "result_expires": "same",
            "timezone": "same",
        }
        assert {name: found.get(f"setting: {name}") for name in expected} == expected

    def test_tasks_calls_and_the_app(self, project: Path) -> None:
        found = said(project)
        expected = {
            "INSTALLED_APPS: django_celery_beat": "renamed",
            "logger: celery": "renamed",
            "logger: celery.app.trace": "renamed",
            "logger: celery.other": "renamed",
            "task option: max_retries": "same",
            "task option: lazy": "renamed",
            "task option: rate_limit": "missing",
            "task option: colour": "missing",
            "task option: acks_late": "renamed",
            "call option: countdown": "same",
            "call option: expires": "same",
            "call option: reply_to": "missing",
            "call option: link": "renamed",
            "call option: chord": "missing",
            "call option: wrong": "missing",
            "in a task: self.request.id": "same",
            "in a task: self.request.retries": "same",
            "in a task: self.request.stamps": "missing",
            "in a task: self.update_state": "same",
            "in a task: self.replace": "missing",
            "in a task: add.chunks": "missing",
            "app: app.autodiscover_tasks": "same",
            "app: app.control.revoke": "same",
            "app: app.control.inspect": "missing",
            "app: app.steps": "missing",
            "app: task_cls": "renamed",
            "workflow: a | b": "missing",
        }
        assert {name: found.get(name) for name in expected} == expected
        assert (
            not {"call option: callback", "task option: ours", "in a task: self.request.our_header"}
            & found.keys()
        )

    def test_places(self, project: Path) -> None:
        places = {each.name: where for each, where in look(project).places.items()}
        assert places["rate_limit"] == [("proj/celery.py", 15), ("shop/tasks.py", 10)]
        assert places["a | b"] == [("shop/tasks.py", 24)]

    def test_a_module_of_lower_case_settings(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            celeryconfig="broker_url = 'redis://'\ntask_cls = 'x.Y'\nBROKER_POOL_LIMIT = 3\nname = 1\n",
        )
        write(tmp_path, conf__queue="worker_direct = True\n")
        write(
            tmp_path, app="from celery import Celery\napp = Celery()\napp.config_from_object('conf.queue')\n"
        )
        found = said(tmp_path)
        assert found["setting: broker_url"] == "same"
        assert found["setting: task_cls"] == "missing"
        assert found["setting: BROKER_POOL_LIMIT"] == "renamed"
        assert found["setting: worker_direct"] == "missing"
        assert "setting: name" not in found

    def test_a_namespace_of_ones_own(self, tmp_path: Path) -> None:
        write(tmp_path, app="app.config_from_object('django.conf:settings', namespace='JOBS')\n# celery\n")
        write(tmp_path, settings="JOBS_TASK_SERIALIZER = 'json'\nOTHER_TASK_SERIALIZER = 1  # CELERY\n")
        assert said(tmp_path) == {"setting: JOBS_TASK_SERIALIZER": "same"}

    @pytest.mark.parametrize(
        ("line", "state"),
        [
            ("CELERY_BROKER_URL = 'redis://a;redis://b'", "missing"),
            ("CELERY_BROKER_URL = f'amqp://{host}'", "missing"),
            ("CELERY_BROKER_URL = HOST", "same"),
            ("CELERY_RESULT_BACKEND = 'rpc://'", "missing"),
            ("CELERY_RESULT_BACKEND = 'db+postgresql://x'", "missing"),
            ("CELERY_RESULT_BACKEND = 'django-cache'", "same"),
            ("CELERY_BEAT_SCHEDULER = 'redbeat.RedBeatScheduler'", "missing"),
            ("CELERY_MONGODB_BACKEND_SETTINGS = {}", "missing"),
            ("CELERY_REDIS_HOST = 'x'", "missing"),
            ("CELERY_SEND_EVENTS = True", "missing"),
            ("CELERY_SEND_EVENTS = False", "renamed"),
            ("from celeriac import shared_task\n@shared_task(rate_limit=None)\ndef f(): ...", "renamed"),
            ("CELERY_DISABLE_RATE_LIMITS = True", "renamed"),
        ],
    )
    def test_values(self, line: str, state: str, tmp_path: Path) -> None:
        write(tmp_path, settings=line)
        assert list(said(tmp_path).values()) == [state]

    def test_beside_the_code(self, tmp_path: Path) -> None:
        (tmp_path / "requirements").mkdir()
        (tmp_path / "requirements/base.txt").write_text("Celery[redis]==5.4\nDjango\nflower\n# via celery\n")
        (tmp_path / "pyproject.toml").write_text('dependencies = ["celery-once>=1", "django_celery_beat"]\n')
        (tmp_path / "Procfile").write_text(
            "worker: celery -A proj worker -l info -P gevent --without-gossip -D\nf: celery -A proj flower\n"
        )
        (tmp_path / "Dockerfile").write_text(
            '# celery worker\nCMD ["celery", "-A", "proj", \\\n  "beat", "-S", "django"]\n'
        )
        (tmp_path / "start").write_text("watchfiles celery.__main__.main --args '-A proj worker -O fair'\n")
        (tmp_path / "notes.txt").write_text("celery\n")
        assert said(tmp_path) == {
            "command: celery flower": "missing",
            "command: celery beat": "renamed",
            "command: celery worker": "renamed",
            "flag: -D/--detach": "missing",
            "flag: -P/--pool": "missing",
            "flag: --without-gossip": "renamed",
            "flag: --scheduler": "renamed",
            "flag: -O/--optimization": "renamed",
            "flag: -A/--app": "same",
            "flag: -l/--loglevel": "same",
            "package: celery-once": "missing",
            "package: flower": "missing",
            "package: celery": "renamed",
            "package: django-celery-beat": "renamed",
        }

    def test_what_has_been_changed_is_read_as_before(self, project: Path) -> None:
        before = said(project)
        for change in look(project).changes:
            change.path.write_bytes(change.after)
        after = said(project)
        same = [name for name in before if not name.startswith("import:")]
        assert {name: after.get(name) for name in same} == {name: before[name] for name in same}
        assert [name for name in after if name.startswith("import:") and after[name] == "renamed"] == []


class TestHostile:
    @pytest.mark.parametrize(
        "raw",
        [
            b"from celery import (\n",
            b"# celery\n\0",
            b"# -*- coding: klingon -*-\nimport celery\n",
            b"# celery \xff\xfe\n",
            b"x = " + b"(" * 4000 + b")" * 4000 + b"  # celery\n",
        ],
    )
    def test_what_cannot_be_read_is_told_and_nothing_else_lost(self, raw: bytes, tmp_path: Path) -> None:
        write(tmp_path, good="from celery import shared_task\n")
        (tmp_path / "bad.py").write_bytes(raw)
        assert said(tmp_path) == {"file: not read": "missing", "import: celery.shared_task": "renamed"}

    def test_other_peoples_code_is_passed_over(self, tmp_path: Path) -> None:
        text = "from celery import chord\n"
        for folder in (".venv", "node_modules/x", "a/site-packages", "__pycache__", "my-env", ".git"):
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / "tasks.py").write_text(text)
        (tmp_path / "my-env/pyvenv.cfg").touch()
        (tmp_path / "loop").symlink_to(tmp_path)
        (tmp_path / "broken.py").symlink_to(tmp_path / "nothing.py")
        os.mkfifo(tmp_path / "pipe.py")
        os.mkfifo(tmp_path / "requirements.txt")
        assert said(tmp_path) == {}

    def test_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_text("import flower\n")
        assert list(look(tmp_path).places.values()) == [[("\ufffd.py", 1)]]

    def test_star_imports_want_to_be_written_out(self, tmp_path: Path) -> None:
        write(tmp_path, a="from celery import *\nfrom celery.schedules import *\n")
        assert said(tmp_path) == {"import: celery.*": "missing", "import: celery.schedules.*": "missing"}
        assert look(tmp_path).changes == []

    def test_a_project_without_celery_is_left_alone(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            settings='INSTALLED_APPS = ["django.contrib.auth"]\n',
            app="from flask import current_app\n",
        )
        report = look(tmp_path)
        assert (report.places, report.changes) == ({}, [])

    def test_every_kind_has_its_place(self, project: Path) -> None:
        assert {each.kind for each in look(project).places} <= set(KINDS)
