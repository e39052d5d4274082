"""System checks of the broker and the result store: where the URLs lead, and how a database is set up.

They read settings and a few bytes of a SQLite file, and open no connection.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.db import connections

from celeriac import brokers, stores
from celeriac.config import Settings
from celeriac.django.cache_store import CacheStore
from celeriac.django.checks.declared import found
from celeriac.django.checks.project import resolved
from celeriac.errors import ImproperlyConfigured

_LOCAL_CACHES = ("LocMemCache", "DummyCache")
_WANTED = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}


def check_keepers(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[checks.CheckMessage]:
    """Broker and result store: whether the URLs lead somewhere, and whether the database is set up for the work."""
    try:
        keepers, messages = opened(resolved().settings)
    except ImproperlyConfigured:
        return []  # said by check_settings
    for keeper in keepers:
        if isinstance(keeper, CacheStore):
            messages += _check_cache(keeper.alias)
    for alias in aliases_of(keepers):
        messages += _check_sqlite(alias)
    return messages


def opened(conf: Settings) -> tuple[list[Any], list[checks.CheckMessage]]:
    """Return the broker and the result store, as far as there are any, and what is wrong with their URLs."""
    keepers: list[Any] = []
    messages = []
    for _, url, known in urls(conf):
        try:
            keepers.append(known.open(url, conf))
        except ImproperlyConfigured as error:
            messages.append(found("E003", str(error)))
    return keepers, messages


def urls(conf: Settings) -> list[tuple[str, str, Any]]:
    """Return the settings that name broker and result store, the URLs there, and who opens them."""
    both = (
        ("broker_url", conf.broker_url, brokers.KEEPERS),
        ("result_backend", conf.result_backend, stores.KEEPERS),
    )
    return [(name, url, known) for name, url, known in both if url and not url.startswith("disabled")]


def aliases_of(keepers: Iterable[Any]) -> list[str]:
    """Return the names of the databases that hold our tables, each once."""
    ours = (
        keeper
        for keeper in keepers
        if type(keeper).__module__.startswith("celeriac.django.") and not isinstance(keeper, CacheStore)
    )
    return list(dict.fromkeys(keeper.alias for keeper in ours))


def _check_cache(alias: str) -> list[checks.CheckMessage]:
    backend = settings.CACHES[alias]["BACKEND"].rpartition(".")[2]
    if backend not in _LOCAL_CACHES:
        return []
    return [
        found(
            "W003",
            f"result_backend is the cache {alias!r}, which is a {backend}: results that a worker keeps there are "
            "not to be seen in other processes.",
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
        found(
            "W002",
            f"DATABASES[{alias!r}] keeps Celeriac's messages or results on SQLite, and {'; '.join(lacking)}.",
            f"Set in its OPTIONS: {', '.join(f'{name!r}: {value!r}' for name, value in _WANTED.items())}",
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
