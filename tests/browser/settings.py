"""The Django project of the tests, served with its styles and scripts, and with tasks to put into a schedule."""

from tests.django.settings import *  # noqa: F403

DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
CELERY_IMPORTS = ["tests.browser.tasks"]
