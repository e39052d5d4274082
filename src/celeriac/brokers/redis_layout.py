"""How messages lie in Redis: names of keys and what the transport options change of them.

Ready messages lie in kombu's lists, so that Celery's clients find them and ours find theirs; everything else is
under `celeriac:`. What each of our keys holds is told at the top of `redis_lua/common.lua`.
"""

from bisect import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from celeriac.errors import ImproperlyConfigured
from celeriac.redis_client.connection import pack
from celeriac.redis_client.scripts import Script, load

_FOLDER = Path(__file__).with_name("redis_lua")
_RECORD = Path(__file__).parent.with_name("redis_client") / "record.lua"
_SCRIPTS = (
    "adopt claim command commands depths discard due elect expired finish fire heads held now once promote publish "
    "purge readers register renew resign restore revive revoke revoked settle unlock unregister"
).split()
_MANY = 10_000


class Layout:
    """The names of the keys under one set of `broker_transport_options`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.prefix = str(options.get("global_keyprefix") or "")
        self.sep = str(options.get("sep", "\x06\x16"))
        self.steps = _steps(options.get("priority_steps", (0, 3, 6, 9)))
        #: Whether Celery's workers read the same queues: then lower numbers first, and nothing in our own schedule.
        self.mixed = bool(options.get("mixed_fleet", False))
        self.visibility_timeout = float(options.get("visibility_timeout", 3600))
        self.unacked = self.prefix + str(options.get("unacked_key", "unacked"))
        self.unacked_index = self.prefix + str(options.get("unacked_index_key", "unacked_index"))
        self.unacked_mutex = self.prefix + str(options.get("unacked_mutex_key", "unacked_mutex"))
        self.unacked_mutex_expire = float(options.get("unacked_mutex_expire", 300))
        own = f"{self.prefix}celeriac:"
        self.queues = own + "queues"
        self.dead = own + "dead"
        self.letters = own + "letters"
        self.scheduled = own + "scheduled:"
        self.nudge = own + "nudge:"
        self.entries = own + "entries"
        self.inflight = own + "inflight:"
        self._own = own
        #: The step of each of the ten priorities.
        self.step_of = [self.step(priority) for priority in range(10)]
        self._lists: dict[tuple[str, int], bytes] = {}
        self._readings: dict[tuple[str, ...], tuple[str | bytes | int, ...]] = {}

    def scripts(self) -> dict[str, Script]:
        """Return the broker's scripts for these names."""
        names = (
            "leases seqs reads tags lists queues dead deaths letters revoked commands entries once".split()
        )
        texts = {name.upper(): self._own + name for name in names}
        texts |= {"INFLIGHT": self.inflight, "SCHEDULED": self.scheduled, "NUDGE": self.nudge}
        texts["OFFICES"] = self._own + "office:"
        texts |= {
            "PREFIX": self.prefix,
            "SEP": self.sep,
            "STEPS": "".join(f"{step:02}" for step in self.steps),
        }
        shared = _RECORD.read_bytes() + (_FOLDER / "common.lua").read_bytes()
        return load(_FOLDER, _SCRIPTS, {name: text.encode() for name, text in texts.items()}, shared)

    def step(self, priority: int) -> int:
        """Return the priority step that `priority` belongs to, as kombu counts it."""
        return self.steps[bisect(self.steps, max(min(priority, 9), 0)) - 1]

    def list_key(self, queue: str, priority: int) -> bytes:
        """Return the key of the list that messages of `priority` in `queue` wait in."""
        key = self._lists.get((queue, priority))
        if key is None:
            if len(self._lists) > _MANY:
                self._lists.clear()
            key = self._lists[queue, priority] = self._name(queue, self.step(priority))
        return key

    def _name(self, queue: str, step: int) -> bytes:
        return (f"{self.prefix}{queue}{self.sep}{step}" if step else self.prefix + queue).encode()

    def list_keys(self, queue: str) -> list[bytes]:
        """Return the keys of all lists of `queue`."""
        return [self._name(queue, step) for step in self.steps]

    def reading(self, queues: tuple[str, ...]) -> tuple[str | bytes | int, ...]:
        """Return what claim.lua is to know of `queues`: their names, and their lists in the order of reading."""
        known = self._readings.get(queues)
        if known is None:
            if len(self._readings) > _MANY:
                self._readings.clear()
            lists = [
                argument
                for step in (self.steps if self.mixed else self.steps[::-1])
                for place, queue in enumerate(queues)
                for argument in (self._name(queue, step), place, f"{step:02}{queue}")
            ]
            known = self._readings[queues] = (len(queues), *queues, *lists)
        return known

    def declare(self, queue: str) -> bytes:
        """Return DECLARE_COUNT commands, packed, that make `queue` known to Celery's clients and to us."""
        member = f"{queue}{self.sep}{self.sep}{queue}"
        return (
            pack(("SADD", self.binding(queue), member))
            + pack(("SADD", f"{self.prefix}_kombu.binding_permanent.{queue}", member))
            + pack(("SADD", self.queues, queue))
        )

    def binding(self, exchange: str) -> str:
        """Return the key of kombu's table of what is bound to `exchange`."""
        return f"{self.prefix}_kombu.binding.{exchange}"


#: How many commands `Layout.declare` returns.
DECLARE_COUNT = 3


def _steps(given: Sequence[int]) -> list[int]:
    try:
        steps = sorted({int(step) for step in given})
    except (TypeError, ValueError):
        steps = []
    if not steps or steps[0] < 0 or steps[-1] > 99:
        raise ImproperlyConfigured(
            f"The transport option priority_steps is {given!r}, not numbers from 0 to 99."
        )
    return steps
