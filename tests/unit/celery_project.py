"""A project that uses Celery in every way, as text, for the tests of `celeriac migrate-from-celery`."""

from pathlib import Path

SETTINGS = """\
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_celery_beat",  # the schedule
    "shop"  # last
]
CELERY_BROKER_URL = env("BROKER", default="amqp://guest@localhost//")
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_ACKS_LATE = True
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERYD_CONCURRENCY = 4
CELERY_TAKS_TIME_LIMIT = 3
CELERY_WORKER_POOL = "gevent"
CELERY_BROKER_USE_SSL = {}
CELERY_OUR_OWN = 2
LOGGING = {"loggers": {"django": {}, "celery": {}, "celery.app.trace": {}, "celery.other": {}}}
if DEBUG:
    CELERY_TASK_ALWAYS_EAGER = True
"""
APP = """\
from celery import Celery
from celery.schedules import crontab

app = Celery("proj", broker="redis://localhost", task_cls="x.Y")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {"a": {"task": "x", "schedule": crontab(), "options": {"expires": 3, "reply_to": 1}}}
app.conf.update(task_default_rate_limit="3/m", result_expires=60)
app.conf["timezone"] = "UTC"
app.control.revoke("x")
app.control.inspect().active()
app.steps


@app.task(bind=True, max_retries=3, rate_limit="3/m", lazy=True, colour=1)
def debug_task(self):
    self.request.id, self.request.stamps, self.request.our_header
    self.update_state(state="X")
    raise self.replace(debug_task.s())
"""
TASKS = """\
from celery import Task, chain, shared_task
from celery.signals import task_prerun, eventlet_pool_started
from celery.exceptions import ChordError, Retry
from kombu import Queue, Connection
import flower


class Base(Task):
    acks_late = True
    rate_limit = "1/s"
    ours = 1

    def run(self):
        self.request.retries


@shared_task
def add(x, y): ...


def view(pool):
    add.apply_async((1, 2), countdown=3, link=add.s(3), chord=1, wrong=2)
    pool.apply_async(print, (1,), callback=print)
    (add.s(1, 2) | add.s(3) | add.s(4)).delay()
    add.chunks([], 3)
"""
PROJECT = {"proj__settings": SETTINGS, "proj__celery": APP, "shop__tasks": TASKS}


def write(folder: Path, **files: str) -> Path:
    """Write files: `a__b` is a/b.py."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
