"""The queues that `task_queues` declares, and how queues are named: by text, or by objects such as kombu's.

Asked by `celeriac.routing` for the queue of a call, and by a worker for those that it reads. Queues need not be
declared anywhere, unless `task_create_missing_queues` is off. There are no exchanges here: what is declared of them
only tells which queue an exchange and a routing key lead to.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from celeriac.arguments import caller_place
from celeriac.config import Settings
from celeriac.errors import CallError, ImproperlyConfigured, QueueNotFound


class Binding(Struct, frozen=True):
    """What leads to a queue: a routing key at an exchange, a pattern if the exchange is of type `topic`."""

    exchange: str
    type: str
    routing_key: str

    def matches(self, exchange: str, routing_key: str) -> bool:
        """Return whether what is sent to `exchange` with `routing_key` comes this way."""
        if self.exchange != exchange:
            return False
        if self.type == "fanout":
            return True
        if self.type == "topic":
            return _topic(self.routing_key).fullmatch(routing_key) is not None
        return self.routing_key == routing_key


class Queues:
    """The declared queues under some settings. Raises ImproperlyConfigured for what declares none."""

    def __init__(self, conf: Settings) -> None:
        self.default = conf.task_default_queue
        self.exchange = conf.task_default_exchange or self.default
        self.routing_key = conf.task_default_routing_key or self.default
        self._type = conf.task_default_exchange_type
        self._create_missing = conf.task_create_missing_queues
        #: Names as declared, and what leads to each queue.
        self.declared: dict[str, tuple[Binding, ...]] = {}
        self._aliases: dict[str, str] = {}
        for name, queue in _listed(conf.task_queues):
            self._declare(name, queue)
        if not self.declared:
            self.declared[self.default] = (Binding(self.exchange, self._type, self.routing_key),)

    def name(self, queue: Any) -> str:
        """Return the name of a queue that is given by name, alias or as an object.

        Raises QueueNotFound for a name that is not declared where queues must be.
        """
        if not isinstance(queue, str):
            return name_of(queue)
        name = self._aliases.get(queue, queue)
        if not self._create_missing and name not in self.declared:
            raise QueueNotFound(self._not_found(name))
        return name

    def bound(self, exchange: Any, routing_key: Any) -> str | None:
        """Return the queue that an exchange (or the default one) and a routing key lead to, None if to none.

        Raises QueueNotFound where they lead to several: a task is in one queue.
        """
        at = self.exchange if exchange is None else name_of(exchange)
        key = self.routing_key if routing_key is None else str(routing_key)
        found = [
            name for name, ways in self.declared.items() if any(binding.matches(at, key) for binding in ways)
        ]
        if len(found) > 1:
            raise QueueNotFound(
                f"Exchange {at!r} with routing key {key!r} leads to several queues: {', '.join(found)}. A task is in "
                f"one queue: name it, queue=...{caller_place()}"
            )
        return found[0] if found else None

    def to_read(self, selected: Iterable[str], excluded: Iterable[str]) -> tuple[str, ...]:
        """Return the queues of a worker: those `selected`, else all that are declared, but not those `excluded`.

        Raises QueueNotFound as `name` does, ImproperlyConfigured if none is left.
        """
        names = list(dict.fromkeys(self.name(queue) for queue in selected or self.declared))
        without = {self._aliases.get(queue, queue) for queue in excluded}
        left = tuple(name for name in names if name not in without)
        if not left:
            raise ImproperlyConfigured(
                f"-X {','.join(excluded)} leaves no queue to read; without it they are: {', '.join(names)}."
            )
        return left

    def _declare(self, name: str, queue: Any) -> None:
        """Note a queue that is declared by its name alone, a dict of options, or an object such as kombu.Queue."""
        if queue is None:
            ways: list[tuple[Any, Any, Any]] = [(None, None, None)]
        elif isinstance(queue, Mapping):
            key = queue.get("routing_key") or queue.get("binding_key") or name
            ways = [(queue.get("exchange"), queue.get("exchange_type"), key)]
        else:
            ways = [
                (way.exchange, None, way.routing_key) for way in getattr(queue, "bindings", None) or (queue,)
            ]
            if getattr(queue, "alias", None):
                self._aliases[queue.alias] = name
        self.declared[name] = tuple(self._binding(*way) for way in ways)

    def _binding(self, exchange: Any, kind: str | None, key: str | None) -> Binding:
        at = name_of(exchange) if exchange else ""
        kind = kind or getattr(exchange, "type", None) if at else self._type
        return Binding(at or self.exchange, kind or self._type, key or self.routing_key)

    def _not_found(self, queue: str) -> str:
        near = difflib.get_close_matches(queue, self.declared, 1, cutoff=0.6)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(self.declared)}."
        return f"Queue {queue!r} is not in task_queues, and task_create_missing_queues is off. {hint}{caller_place()}"


def name_of(queue: Any) -> str:
    """Return the name of a queue or exchange, given as such or as an object that has one; raises CallError."""
    name = queue if isinstance(queue, str) else getattr(queue, "name", None)
    if not isinstance(name, str):
        raise CallError(
            f"queue must be a name, or an object that has one such as kombu.Queue, not {queue!r}.{caller_place()}"
        )
    return name


def _listed(source: Any) -> Sequence[tuple[str, Any]]:
    """Return name and declaration of each queue in `task_queues`."""
    if source is None:
        return ()
    if isinstance(source, Mapping):
        return [(str(name), queue) for name, queue in source.items()]
    if isinstance(source, str) or not isinstance(source, Iterable):
        source = [source]
    listed = []
    for queue in source:
        name = queue if isinstance(queue, str) else getattr(queue, "name", None)
        if not isinstance(name, str):
            raise ImproperlyConfigured(
                f"task_queues: {queue!r} is neither the name of a queue nor an object that has one."
            )
        listed.append((name, None if isinstance(queue, str) else queue))
    return listed


def _topic(pattern: str) -> re.Pattern[str]:
    """Return a topic as AMQP has them, `*` for one word and `#` for any number of words, as an expression."""
    words = [{"*": r"[^.]+", "#": r".*"}.get(word, re.escape(word)) for word in pattern.split(".")]
    return re.compile(r"\.".join(words).replace(r"\..*", r"(\..*)?").replace(r".*\.", r"(.*\.)?"))
