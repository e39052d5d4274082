"""Where what a project imports from Celery, or installs beside it, is found here: part of the one table of names.

Read by `verdicts` and by the reference page.
"""

#: By their dotted names; what lies below a module that is named is below ours.
IMPORTS = {
    "celery.Celery": "celeriac.Celery",
    "celery.Task": "celeriac.Task",
    "celery.app.task.Task": "celeriac.Task",
    "celery.shared_task": "celeriac.shared_task",
    "celery.Signature": "celeriac.Signature",
    "celery.signature": "celeriac.signature",
    "celery.current_app": "celeriac.current_app",
    "celery.contrib.django.task.DjangoTask": "celeriac.Task",
    "celery.contrib.pytest": "celeriac.testing.plugin",
    "celery.exceptions": "celeriac.errors",
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
