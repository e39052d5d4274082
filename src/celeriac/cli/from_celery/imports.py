"""Where what a project imports from Celery, or installs beside it, is found here: part of the one table of names.

Read by `verdicts` and by the reference page, which has these after the modules and names themselves.
"""

_CANVAS = "chains, groups and chords come later"
_PARTS = "the worker is made of other parts"

#: By their dotted names. What lies below a module that is named is looked up below ours.
IMPORTS = {
    "celery.Celery": "celeriac.Celery",
    "celery.Task": "celeriac.Task",
    "celery.app.base.Celery": "celeriac.Celery",
    "celery.app.shared_task": "celeriac.shared_task",
    "celery.app.task.Task": "celeriac.Task",
    "celery.shared_task": "celeriac.shared_task",
    "celery.Signature": "celeriac.Signature",
    "celery.canvas.Signature": "celeriac.Signature",
    "celery.signature": "celeriac.signature",
    "celery.canvas.signature": "celeriac.signature",
    "celery.current_app": "celeriac.current_app",
    "celery._state.current_app": "celeriac.current_app",
    "celery._state.get_current_app": "celeriac.current_app",
    "celery.contrib.django.task.DjangoTask": "celeriac.Task",
    "celery.contrib.pytest": "celeriac.testing.plugin",
    "celery.exceptions": "celeriac.errors",
    "celery.exceptions.AlwaysEagerIgnored": "celeriac.app.AlwaysEagerIgnored",
    "celery.exceptions.BackendError": "celeriac.errors.StoreError",
    "celery.exceptions.CeleryError": "celeriac.errors.CeleriacError",
    "celery.exceptions.DuplicateTaskNameWarning": "celeriac.naming.DuplicateTaskNameWarning",
    "celery.exceptions.InvalidTaskError": "celeriac.errors.MessageError",
    "celery.exceptions.OperationalError": "celeriac.errors.BrokerDown",
    "celery.exceptions.TimeoutError": "celeriac.errors.TaskTimeout",
    "celery.result.AsyncResult": "celeriac.AsyncResult",
    "celery.result.EagerResult": "celeriac.result.EagerResult",
    "celery.result.GroupResult": "celeriac.GroupResult",
    "celery.result.ResultSet": "celeriac.ResultSet",
    "celery.result.allow_join_result": "celeriac.result.allow_join_result",
    "celery.schedules": "celeriac.schedules",
    "celery.signals": "celeriac.signals",
    "celery.states": "celeriac.states",
    "celery.utils.log.get_task_logger": "celeriac.log.get_task_logger",
    "kombu.exceptions.ContentDisallowed": "celeriac.errors.ContentDisallowed",
    "kombu.exceptions.EncodeError": "celeriac.errors.EncodeError",
    "kombu.exceptions.OperationalError": "celeriac.errors.BrokerDown",
    "kombu.serialization.register": "celeriac.serialization.register",
    "kombu.utils.json.register_type": "celeriac.serialization.register_type",
}

#: What is not used in the same way.
IMPORTS_DIFFER = {
    "celery.current_app": "is a function: `current_app()`",
    "celery._state.current_app": "is a function: `current_app()`",
}

#: What stays as it is: it does not need Celery, and is understood.
IMPORTS_KEPT = {
    "kombu.Exchange kombu.Queue kombu.entity.Exchange kombu.entity.Queue": "understood in `task_queues` and in options",
}

#: Modules and names that are not here, what lies below them included, and why. The longest that fits counts.
IMPORTS_ABSENT = {
    "celery.canvas celery.chain celery.chord celery.chunks celery.group celery.maybe_signature celery.subtask "
    "celery.xmap celery.xstarmap": _CANVAS,
    "celery._state celery.current_task celery.app.current_task celery.app.app_or_default": "`celeriac.current_app()`, "
    "and its `current_task`",
    "celery.app.control": "`app.control`, of which part comes later",
    "celery.app.defaults celery.app.utils": "`app.conf` has all settings",
    "celery.app.log celery.utils.log": "`celeriac.log.get_task_logger`, and the signals around logging",
    "celery.app.registry celery.registry": "`app.tasks`",
    "celery.backends": "results are kept by Celeriac's own stores, see `result_backend`",
    "celery.beat": "there is one beat, which reads code and database: `celeriac beat`",
    "celery.bin celery.apps celery.bootsteps celery.concurrency celery.loaders celery.worker": _PARTS,
    "celery.contrib.abortable": "revoke it: `result.revoke(terminate=True)`",
    "celery.contrib.testing": "`celeriac.testing.worker` runs one in a thread",
    "celery.decorators celery.task celery.five": "taken out of Celery 5 as well: `shared_task`",
    "celery.events": "events come later",
    "celery.result": "results are read through `AsyncResult`",
    "celery.security": "messages are signed with `task_signing`",
    "celery.utils.uuid celery.utils.gen_unique_id celery.uuid": "`str(uuid.uuid4())`; or leave `task_id` out, and take "
    "the handle's `id`",
    "celery": "a part of Celery's inside",
    "djcelery": "taken out of Celery itself long ago: `celeriac.django`",
    "django_celery_beat": "the schedule is Celeriac's, in tables of its own: `celeriac.django.models.Schedule`",
    "django_celery_results": "results are Celeriac's, in a table of its own: `celeriac.django.models.TaskResult`",
    "flower": "the dashboard comes in a later release; the Django admin lists tasks and results",
    "kombu": "messages do not pass kombu here",
}

#: Loggers by their names; what is not named is part of the first one.
LOGGERS = {
    "celery": "celeriac",
    "celery.app.trace": "celeriac.worker.task",
    "celery.beat": "celeriac.beat",
    "celery.redirected": "celeriac.redirected",
    "celery.task": "celeriac.task",
    "celery.worker": "celeriac.worker",
    "celery.worker.strategy": "celeriac.worker.task",
}

#: Entries of INSTALLED_APPS.
APPS_HERE = {
    "django_celery_beat": "Celeriac's beat has a schedule in the database. `manage.py import_beat` takes over its "
    "entries; remove it afterwards",
    "django_celery_results": "Celeriac has results in the database. `manage.py import_results` takes over its own; "
    "remove it afterwards",
}
APPS_ABSENT = {
    "kombu.transport.django": "taken out of kombu long ago: messages are in the database without it",
    "djcelery": "taken out of Celery itself long ago; `celeriac.django` is there instead",
}

#: Packages by the names that pip knows.
PACKAGES_HERE = {
    "celery": "celeriac[django,redis], or celeriac[django] with the database as broker",
    "django-celery-beat": "part of celeriac; `manage.py import_beat` takes its entries over",
    "django-celery-results": "part of celeriac",
    "pytest-celery": "celeriac has its fixtures: a plugin of pytest that is there once it is installed",
}
PACKAGES_ABSENT = {
    "flower": "the dashboard comes in a later release; the Django admin lists tasks and results",
}
#: Of another package that has celery in its name.
PACKAGE_UNKNOWN = "made for Celery, so it does nothing for Celeriac: look for what you use of it"
