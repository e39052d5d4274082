"""Settings of the scenarios' project. What differs from test to test comes in SCENARIO, as JSON.

SCENARIO holds `database`, an entry of DATABASES, and `settings`, Celeriac's by their CELERY_ names.
"""

import json
import os

_scenario = json.loads(os.environ["SCENARIO"])

SECRET_KEY, *SECRET_KEY_FALLBACKS = os.environ.get("SCENARIO_SECRETS", "only-for-tests").split()
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["celeriac.django", "jobs"]
TASKS = {"default": {"BACKEND": "celeriac.django.tasks_backend.CeleriacBackend", "QUEUES": []}}
DATABASES = {"default": _scenario["database"]}

if _scenario["database"]["ENGINE"].endswith("mysql"):
    from importlib.util import find_spec

    if find_spec("MySQLdb") is None:
        import pymysql

        pymysql.install_as_MySQLdb()

globals().update(_scenario["settings"])
