"""What a worker looks at before it starts: settings, broker and store, tasks, the framework's tables.

Called by the worker command. Each check raises the error of its own number; the warnings are returned.
"""

from celeriac import config
from celeriac.app import Celeriac
from celeriac.cli import no_tasks
from celeriac.cli.banner import task_names
from celeriac.errors import BrokerError, NoTasksFound, NotInstalled
from celeriac.message import result_format
from celeriac.routing import Router

_TOLD = 5  # warnings of one kind, the rest are counted


def prepare(app: Celeriac, *, tasks_may_come: bool = False) -> list[str]:
    """Load the app's tasks and raise what would keep a worker from working; return the warnings.

    That there is no task is one of those, unless `tasks_may_come`: then it is a warning.
    """
    config.refuse(app.resolved.errors)
    keepers = (app.broker, app.store)  # raises UnknownScheme or NotInstalled
    modules = app.load_tasks()
    Router(app.conf)  # raises ImproperlyConfigured, UnknownOption
    result_format.writer(app.conf)  # raises ImproperlyConfigured
    names = task_names(app)
    if not names and app.framework is not None:
        app.framework.load_site()
        names = task_names(app)
    found = names or (app.framework is not None and app.framework.finds_tasks())
    lacking = [] if found else [no_tasks.explain(modules)]
    if lacking and not tasks_may_come:
        raise NoTasksFound(lacking[0])
    if app.framework is not None:
        app.framework.check()
    elif any(hasattr(keeper, "alias") for keeper in keepers):
        raise NotInstalled('celeriac is not in INSTALLED_APPS; add "celeriac.django".')
    return [*lacking, *app.resolved.warnings, *_ignored_options(app, names)]


def broker_warnings(app: Celeriac) -> list[str]:
    """Return what the broker says of its server; nothing while it cannot be reached, as the worker waits for it."""
    try:
        return app.broker.check()
    except BrokerError:
        return []


def _ignored_options(app: Celeriac, names: list[str]) -> list[str]:
    tasks = app.tasks
    found = [(name, tasks[name].ignored_options) for name in names if tasks[name].ignored_options]
    told = [
        f"{name}: {', '.join(options)} {_have(len(options))} no effect in this release."
        for name, options in found
    ]
    rest = len(told) - _TOLD
    return (
        told
        if rest <= 1
        else [*told[:_TOLD], f"{rest} more tasks have options without effect in this release."]
    )


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
