"""System checks under the tag `celeriac`: what is wrong with the settings, and how to mend it.

Run by `manage.py check`, `runserver` and `migrate`. They read settings and a few bytes of a SQLite file, open no
connection, make no app and import no task.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db import connections

from celeriac import brokers, config, registry, stores
from celeriac.django.framework import DjangoFramework, resolve_project_dict
from celeriac.errors import ImproperlyConfigured, UnknownOption
from celeriac.routing import Router

TAG = "celeriac"
_LOCAL_CACHES = ("LocMemCache", "DummyCache")
_WANTED = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_settings, TAG)
    checks.register(check_keepers, TAG)


def resolved() -> config.Resolved:
    """Return the project's settings without making an app of ours for it; raises ImproperlyConfigured."""
    if registry.has_app():
        found: config.Resolved = registry.current_app().resolved
        return found
    given = {name: getattr(settings, name) for name in dir(settings) if name.startswith("CELERY_")}
    return config.resolve(given, namespace="CELERY", defaults=DjangoFramework().settings())


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[checks.CheckMessage]:
    """Names that are no settings, and values that are of the wrong kind, routes and queues among them."""
    try:
        found = resolved()
        own = resolve_project_dict()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="celeriac.E002")]
    in_dict = (
        [f"In CELERIAC: {text}" for text in own.errors],
        [f"In CELERIAC: {text}" for text in own.warnings],
    )
    wrong = []
    try:
        Router(found.settings)
    except (ImproperlyConfigured, UnknownOption) as error:
        wrong = [checks.Error(str(error), id="celeriac.E004")]
    return [
        *wrong,
        *(checks.Error(text, id="celeriac.E001") for text in (*found.errors, *in_dict[0])),
        *(checks.Warning(text, id="celeriac.W001") for text in (*found.warnings, *in_dict[1])),
    ]


def check_keepers(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[checks.CheckMessage]:
    """Broker and result store: whether the URLs lead somewhere, and whether the database is set up for the work."""
    try:
        conf = resolved().settings
    except ImproperlyConfigured:
        return []  # said by check_settings
    messages: list[checks.CheckMessage] = []
    aliases: list[str] = []
    for url, openers in ((conf.broker_url, brokers.KEEPERS), (conf.result_backend, stores.KEEPERS)):
        if url is None or url.startswith("disabled"):
            continue
        try:
            keeper: Any = openers.open(url, conf)
        except ImproperlyConfigured as error:
            messages.append(checks.Error(str(error), id="celeriac.E003"))
            continue
        if type(keeper).__module__ == "celeriac.django.cache_store":
            messages += _check_cache(keeper.alias)
        elif type(keeper).__module__.startswith("celeriac.django."):
            aliases.append(keeper.alias)
    for alias in dict.fromkeys(aliases):
        messages += _check_sqlite(alias)
    return messages


def _check_cache(alias: str) -> list[checks.CheckMessage]:
    backend = settings.CACHES[alias]["BACKEND"].rpartition(".")[2]
    if backend not in _LOCAL_CACHES:
        return []
    return [
        checks.Warning(
            f"result_backend is the cache {alias!r}, which is a {backend}: results that a worker keeps there are "
            "not to be seen in other processes.",
            hint="Set CELERY_RESULT_BACKEND = 'django-db', or use a cache that processes share.",
            id="celeriac.W003",
        )
    ]


def _check_sqlite(alias: str) -> list[checks.CheckMessage]:
    connection = connections[alias]
    if connection.vendor != "sqlite" or connection.is_in_memory_db():  # type: ignore[attr-defined]
        return []
    given = connection.settings_dict["OPTIONS"]
    lacking = [text for holds, text in _NEEDS if not holds(given, Path(connection.settings_dict["NAME"]))]
    if not lacking:
        return []
    return [
        checks.Warning(
            f"DATABASES[{alias!r}] keeps Celeriac's messages or results on SQLite, and {'; '.join(lacking)}.",
            hint=f"Set in its OPTIONS: {', '.join(f'{name!r}: {value!r}' for name, value in _WANTED.items())}",
            id="celeriac.W002",
        )
    ]


def _pragma(options: dict[str, Any], name: str) -> str:
    found = re.search(rf"{name}\s*=\s*['\"]?(\w+)", options.get("init_command") or "", re.IGNORECASE)
    return found[1].lower() if found else ""


def _is_immediate(options: dict[str, Any], path: Path) -> bool:
    return str(options.get("transaction_mode")).upper() in ("IMMEDIATE", "EXCLUSIVE")


def _is_wal(options: dict[str, Any], path: Path) -> bool:
    if _pragma(options, "journal_mode"):
        return _pragma(options, "journal_mode") == "wal"
    # The mode stays with the file: bytes 18 and 19 are 2 in one with a write-ahead log.
    try:
        with path.open("rb") as file:
            return file.read(20)[18:20] == b"\2\2"
    except OSError:
        return False


def _is_normal(options: dict[str, Any], path: Path) -> bool:
    return _pragma(options, "synchronous") in ("normal", "1", "off", "0")


_NEEDS: tuple[tuple[Callable[[dict[str, Any], Path], bool], str], ...] = (
    (
        _is_immediate,
        "transactions do not begin IMMEDIATE, so that delay() in atomic() may fail with 'database is locked'",
    ),
    (_is_wal, "there is no write-ahead log, so that readers and writers block each other"),
    (_is_normal, "each commit waits for the disk twice over (synchronous is not NORMAL)"),
)
