"""A web process that takes orders as fast as it can, each in one transaction with its task, until it is killed.

Argument: what the orders' keys begin with.
"""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")

import django

django.setup()

from django.db import connection, transaction

from celeriac import registry

app = registry.current_app()
app.load_tasks()
task = app.tasks["jobs.tasks.work"]

number = 0
while True:
    key = f"{sys.argv[1]}-{number}"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (%s)", [key])
        task.delay(key)
        if number % 5 == 4:
            transaction.set_rollback(True)  # it was called off
    number += 1
