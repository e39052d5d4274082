"""The result store in one of Django's caches: `cache`, or `cache://ALIAS` of CACHES.

The entries are those that Celery and django-celery-results make, so both read each other's. What a cache forgets, it
forgets: with few MAX_ENTRIES that is soon. A cache has no transactions, so that of two workers that store one
task's record at the very same time the later one wins, whatever its state.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, TypeVar

from django.core.cache import BaseCache, InvalidCacheBackendError, caches

from celeriac.config import Settings
from celeriac.errors import ImproperlyConfigured, StoreError
from celeriac.message.result_format import ResultFormat
from celeriac.store import Record, ResultStore, beside_successes

T = TypeVar("T")

PREFIX = "celery-task-meta-"
# What every cache takes for a key (memcached takes least).
_PLAIN_ID = re.compile(r"[\x21-\x7e]{1,200}").fullmatch


class CacheStore(ResultStore):
    """Records as JSON in a cache, shared as far as the cache is."""

    schemes: ClassVar[tuple[str, ...]] = ("cache", "django-cache")

    def __init__(self, url: str = "cache", settings: Any = None) -> None:
        self.alias = url.partition("://")[2].strip("/") or "default"
        self._expires: float | None = None if settings is None else settings.result_expires
        self._format = ResultFormat(settings or Settings())
        try:
            self._cache()
        except InvalidCacheBackendError as error:
            raise ImproperlyConfigured(f"result_backend is {url!r}: {error}") from None

    def _cache(self) -> BaseCache:
        cache: BaseCache = caches[self.alias]
        return cache

    def _call(self, function: Callable[..., T], *parameters: Any) -> T:
        """Call the cache; whatever its driver raises becomes a StoreError."""
        try:
            return function(*parameters)
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(f"Cannot reach the cache {self.alias!r}: {text}") from error

    def store(self, records: Sequence[Record]) -> None:
        if not records:
            return
        kept = beside_successes(records, self.fetch)
        entries = {_key(record.id): self._entry(record) for record in kept}
        if entries:
            failed = self._call(self._cache().set_many, entries, self._expires)
            if failed:
                raise StoreError(
                    f"The cache {self.alias!r} did not keep {len(failed)} of {len(entries)} results."
                )

    def _entry(self, record: Record) -> str | bytes:
        data = self._format.encode(record)
        return data.decode() if self._format.plain else data

    def _read(self, keys: Sequence[str]) -> dict[str, Record]:
        if not keys:
            return {}
        found = self._call(self._cache().get_many, keys)
        return {key: self._decode(value) for key, value in found.items() if value is not None}

    def _decode(self, value: Any) -> Record:
        if not isinstance(value, str | bytes):
            raise StoreError(f"A cached result is {type(value).__name__}, not JSON.")
        return self._format.decode(value.encode() if isinstance(value, str) else value)

    def fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        keys = {_key(task_id): task_id for task_id in ids}
        return {keys[key]: record for key, record in self._read(list(keys)).items()}

    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        return self.wait_any([task_id], timeout).get(task_id)

    def forget(self, ids: Collection[str]) -> None:
        if ids:
            self._call(self._cache().delete_many, [_key(task_id) for task_id in ids])

    def close(self) -> None:
        self._call(self._cache().close)


def _key(task_id: str) -> str:
    if _PLAIN_ID(task_id):
        return PREFIX + task_id
    return PREFIX + hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()
