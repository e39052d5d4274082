"""Brokers by URL scheme: the one place that turns a `broker_url` into a keeper.

Built-in keepers are named here, others' come through the entry point group `celeriac.brokers`, one entry per
scheme. Only the keeper asked for is imported.
"""

from celeriac.broker import Broker
from celeriac.schemes import Keepers

KEEPERS: Keepers[Broker] = Keepers(
    setting="broker_url",
    group="celeriac.brokers",
    built_in={
        "memory": ("celeriac.brokers.memory:MemoryBroker", ""),
        "redis": ("celeriac.brokers.redis:RedisBroker", "redis"),
        "rediss": ("celeriac.brokers.redis:RedisBroker", "redis"),
        "redis+socket": ("celeriac.brokers.redis:RedisBroker", "redis"),
        "valkey": ("celeriac.brokers.redis:RedisBroker", "redis"),
        "django": ("celeriac.django.broker:DatabaseBroker", "django"),
    },
)
