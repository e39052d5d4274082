"""The shop's task app: reads CELERY_* from Django's settings and finds `tasks.py` in the installed apps."""

import os

from celeriac import Celeriac

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celeriac("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
