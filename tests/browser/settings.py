"""The Django project of the tests, served with its styles and scripts, and with tasks to put into a schedule.

CELERIAC_TEST_SKIN names a package that gives the admin another look: unfold, jazzmin or grappelli.
"""

import os

from tests.django.settings import *  # noqa: F403
from tests.django.settings import INSTALLED_APPS

SKIN = os.environ.get("CELERIAC_TEST_SKIN", "")
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
CELERY_IMPORTS = ["tests.browser.tasks"]
ROOT_URLCONF = "tests.browser.urls"
if SKIN:
    INSTALLED_APPS = [SKIN, *INSTALLED_APPS]
