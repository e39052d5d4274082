"""A project as Celery's guide for Django has it: read, edited, and run by our worker."""

from pathlib import Path

from tests.scenarios.small_project import MANAGE, Project
from tests.servers import RedisServer

CELERY = """\
import os

from celery import Celery
from celery.schedules import crontab

# Set the default Django settings module for the 'celery' program.
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'proj.settings')

app = Celery('proj')
app.config_from_object('django.conf:settings', namespace='CELERY')

# Load task modules from all registered Django apps.
app.autodiscover_tasks()


@app.on_after_configure.connect
def setup_periodic_tasks(sender, **kwargs):
    sender.add_periodic_task(crontab(hour=7, minute=30), debug_task.s(), name='debug')


@app.task(bind=True, ignore_result=True)
def debug_task(self):
    print(f'Request: {self.request!r}')
"""
INIT = """\
# This will make sure the app is always imported when
# Django starts so that shared_task will use this app.
from .celery import app as celery_app

__all__ = ('celery_app',)
"""
SETTINGS = """\
SECRET_KEY = 'not-a-secret'
INSTALLED_APPS = [
    'django.contrib.contenttypes',
    'demoapp',
]
DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'db.sqlite3'}}}}
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
USE_TZ = True

# Celery Configuration Options
CELERY_TIMEZONE = "Australia/Tasmania"
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_TIME_LIMIT = 30 * 60
CELERY_TASK_PUBLISH_TIMEOUT = 60
CELERY_BROKER_CONNECTION_TIMEOUT = 60
CELERY_BROKER_URL = '{url}'
CELERY_RESULT_BACKEND = '{url}'
"""
MODELS = """\
from django.db import models


class Widget(models.Model):
    name = models.CharField(max_length=140)
"""
TASKS = """\
# Create your tasks here

from demoapp.models import Widget

from celery import shared_task
from celery.exceptions import TimeoutError


@shared_task
def add(x, y):
    return x + y


@shared_task
def count_widgets():
    return Widget.objects.count()


@shared_task(bind=True, autoretry_for=(TimeoutError,), retry_kwargs={'countdown': 0}, max_retries=3)
def rename_widget(self, widget_id, name):
    if not self.request.retries:
        raise TimeoutError('not yet')
    w = Widget.objects.get(id=widget_id)
    w.name = name
    w.save()
    return self.request.retries
"""
SENDS = """\
from demoapp.models import Widget
from demoapp.tasks import add, count_widgets, rename_widget
from proj.celery import app, debug_task

widget = Widget.objects.create(name="old")
debug_task.delay()
print(add.delay(2, 3).get(timeout=60), count_widgets.delay().get(timeout=60))
print(rename_widget.delay(widget.id, "new").get(timeout=60), Widget.objects.get().name)
app.close()
"""


def test_a_project_of_celerys_guide_is_moved(tmp_path: Path, redis: RedisServer) -> None:
    project = object.__new__(Project)
    project.folder = tmp_path
    for name, text in {
        "manage.py": MANAGE,
        "proj/__init__.py": INIT,
        "proj/celery.py": CELERY,
        "proj/settings.py": SETTINGS.format(url=redis.url),
        "demoapp/__init__.py": "",
        "demoapp/models.py": MODELS,
        "demoapp/tasks.py": TASKS,
    }.items():
        project.write(name, text)

    looked = project.celeriac("migrate-from-celery", "--check")
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "✕ 0 missing" in looked.stdout
    written = project.celeriac("migrate-from-celery", "--write", "--yes")
    assert (written.returncode, written.stderr) == (0, "")
    assert "3 files edited." in written.stdout

    project.migrate()
    listed = project.celeriac("-A", "proj", "schedule", "list")
    assert listed.stdout.startswith("debug: at 07:30"), listed.stdout + listed.stderr
    with project.worker():
        sent = project.python(SENDS)
        assert sent.stdout == "5 1\n1 new\n", sent.stderr
