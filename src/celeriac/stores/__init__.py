"""Result stores by the scheme of `result_backend`, as `celeriac.brokers` does it for brokers.

A name without `://` is its own scheme: `django-db`, `cache`, `disabled`.
"""

from celeriac.schemes import Keepers
from celeriac.store import ResultStore

KEEPERS: Keepers[ResultStore] = Keepers(
    setting="result_backend",
    group="celeriac.stores",
    built_in={
        "memory": ("celeriac.stores.memory:MemoryStore", ""),
        "cache+memory": ("celeriac.stores.memory:MemoryStore", ""),
        "redis": ("celeriac.stores.redis:RedisStore", "redis"),
        "rediss": ("celeriac.stores.redis:RedisStore", "redis"),
        "redis+socket": ("celeriac.stores.redis:RedisStore", "redis"),
        "valkey": ("celeriac.stores.redis:RedisStore", "redis"),
        "django-db": ("celeriac.django.store:DatabaseStore", "django"),
        "cache": ("celeriac.django.cache_store:CacheStore", "django"),
        "django-cache": ("celeriac.django.cache_store:CacheStore", "django"),
    },
)
