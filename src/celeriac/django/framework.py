"""What Django does for an app: the `Framework` that `celeriac.hooks` describes, and the hooks around tasks.

`install` is called once, when Django is ready. Nothing here imports a tasks module by itself.
"""

import importlib.util
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, connections
from django.urls import get_resolver, reverse
from django.utils.functional import Promise

from celeriac import config, registry
from celeriac.broker import Broker
from celeriac.django import around
from celeriac.django.broker import DatabaseBroker
from celeriac.django.installed import APP, missing_migrations
from celeriac.django.outbox import Outbox
from celeriac.hooks import Hooks, T
from celeriac.message import serializers

logger = logging.getLogger("celeriac")


class DjangoFramework:
    """Django, for `celeriac.app`."""

    def __init__(self) -> None:
        self._loaded_site = False

    def settings(self) -> dict[str, Any]:
        """Return our defaults for a Django project, with its CELERIAC dict over them."""
        defaults: dict[str, Any] = {
            "broker_url": f"django://{DEFAULT_DB_ALIAS}",
            "result_backend": "django-db",
            "timezone": settings.TIME_ZONE,
        }
        own = resolve_project_dict()
        return defaults | {name: getattr(own.settings, name) for name in own.sources}

    def sources(self) -> dict[str, str]:
        return {"timezone": "TIME_ZONE"} | {
            name: f"CELERIAC[{written!r}]"
            for written in project_dict()
            if (name := config.canonical(written.lower(), None)) is not None
        }

    def task_modules(self, related_name: str) -> list[str]:
        found = []
        for app in apps.get_app_configs():
            name = f"{app.name}.{related_name}" if related_name else app.name
            try:
                exists = importlib.util.find_spec(name) is not None
            except ModuleNotFoundError:
                exists = False
            if exists:
                found.append(name)
        return found

    def signing_keys(self) -> Sequence[str | bytes]:
        return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]

    def finds_tasks(self) -> bool:
        functions = _own_tasks()
        return functions is not None and functions.is_wanted()

    def find_task(self, name: str) -> Any:
        try:
            return _own_tasks().find(name) if self.finds_tasks() else None
        except Exception:
            logger.exception("TASKS cannot be read, so that %s is not looked for among Django's tasks.", name)
            return None

    def load_site(self) -> None:
        """Import the URLs, with the views and what these import, as Celery's worker does with the system checks."""
        if self._loaded_site or not getattr(settings, "ROOT_URLCONF", None):
            return
        self._loaded_site = True
        try:
            _ = get_resolver().url_patterns
        except Exception:
            text = "ROOT_URLCONF %s does not import: tasks of modules that only it leads to stay unknown."
            logger.exception(text, settings.ROOT_URLCONF)

    def is_debugging(self) -> bool:
        return bool(settings.DEBUG)

    def pages(self) -> dict[str, str]:
        try:
            return {"admin": reverse("admin:app_list", args=[APP])}
        except Exception:  # no admin; or URLs that do not import, which the web server tells
            return {}

    def defer(self, broker: Broker, publish: Callable[[], None]) -> bool:
        if isinstance(broker, DatabaseBroker) and len(connections.settings) == 1:
            return False  # on the only database there is, it is part of whatever transaction is open
        inside = {c.alias: c for c in connections.all(initialized_only=True) if c.in_atomic_block}
        if not inside or (isinstance(broker, DatabaseBroker) and broker.alias in inside):
            return False
        followed = inside.get(DEFAULT_DB_ALIAS) or next(iter(inside.values()))
        followed.on_commit(publish)
        return True

    def uncommitted(self, broker: Broker) -> Callable[[], bool] | None:
        if isinstance(broker, DatabaseBroker) and connections[broker.alias].in_atomic_block:
            alias = broker.alias
            return lambda: connections[alias].in_atomic_block
        return None

    def outbox(self, broker: Broker, timeout: float) -> Outbox | None:
        if isinstance(broker, DatabaseBroker) and len(connections.settings) == 1:
            return None
        return Outbox(broker, timeout)

    def run_coroutine(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run it so that what it does with the ORM happens on this thread: inside its transaction, that is."""
        return async_to_sync(function)(*args)

    def before_fork(self) -> None:
        self.leave_thread()
        connection: Any
        for connection in connections.all(initialized_only=True):
            # A pool is the whole process's; the child would use the same sockets, and lack the pool's threads.
            if connection.alias in getattr(connection, "_connection_pools", ()):
                connection.close_pool()

    def leave_thread(self) -> None:
        connections.close_all()
        caches.close_all()

    def install_hooks(self, hooks: Hooks) -> None:
        """Let each task of this worker begin and end as a request does. Not for eager ones, which are part of one."""
        around.install(hooks)

    def schedule(self) -> Any:
        """Return the schedule in the database, None for a project without one."""
        if connections.settings[DEFAULT_DB_ALIAS]["ENGINE"] == "django.db.backends.dummy":
            return None
        from celeriac.django.schedule_source import DatabaseSchedule  # noqa: PLC0415 - it needs the models

        return DatabaseSchedule()

    def check(self) -> None:
        config.refuse([f"In CELERIAC: {text}" for text in resolve_project_dict().errors])
        if registry.has_app():
            app = registry.current_app()
            aliases = {keeper.alias for keeper in (app.broker, app.store) if hasattr(keeper, "alias")}
            if app.outbox is not None:
                aliases.add(DEFAULT_DB_ALIAS)
        else:
            aliases = {DEFAULT_DB_ALIAS}
        for alias in sorted(aliases):
            lacking = missing_migrations(alias)
            if lacking is not None:
                raise lacking


def _own_tasks() -> Any:
    """Return what knows of Django's own tasks; None where the project does not have them."""
    if not getattr(settings, "TASKS", None):
        return None
    try:
        from celeriac.django.tasks_backend import functions  # noqa: PLC0415 - for projects that use them
    except ImportError:
        return None
    return functions


def project_dict() -> dict[str, Any]:
    """Return the project's CELERIAC setting: settings by their names without a prefix, in either case."""
    return dict(getattr(settings, "CELERIAC", None) or {})


def resolve_project_dict() -> config.Resolved:
    """Return what follows from the CELERIAC setting alone; raises ImproperlyConfigured."""
    return config.resolve({name.lower(): value for name, value in project_dict().items()})


def _reread(*, setting: str, **_: Any) -> None:
    """Have the apps heed a setting that a test overrides, and again when the test ends."""
    name = "timezone" if setting == "TIME_ZONE" else config.canonical(setting, "CELERY")
    names = [known for known in config.ROWS if known == name or setting == "CELERIAC"]
    for app in registry.apps() if names or setting.startswith("SECRET_KEY") else ():
        app.reread_settings(names)


_installed: list[bool] = []


def install() -> None:
    """Make this process's apps Django's."""
    registry.set_framework(DjangoFramework())
    registry.set_default_factory(make_default_app)
    if not _installed:
        serializers.register_type(Promise, None, str)
        setting_changed.connect(_reread, dispatch_uid="celeriac")
        _installed.append(True)


def make_default_app() -> Any:
    """Return the app of a project that makes none itself, as Celery's guide would have made it."""
    from celeriac.app import Celeriac  # noqa: PLC0415 - a project with a celery.py imports it from there

    # "shop" of "shop.urls"; a project without pages may have no ROOT_URLCONF.
    urls = getattr(settings, "ROOT_URLCONF", None) or "celeriac"
    app = Celeriac(urls.partition(".")[0])
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()
    return app
