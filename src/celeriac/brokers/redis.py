"""The broker on Redis (or Valkey): kombu's lists for what is ready, keys of our own for the rest.

Every step is one atomic command or script, and a message lies in exactly one key at any time: a list of
its queue, the queue's schedule, the hash of what a consumer holds, or the dead letters. The
scripts are in `redis_lua`, the names of keys in `redis_layout`, sockets in `celeriac.redis_client`. It never reads
a message, except what Celery's own workers left behind (`redis_sweep`).
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from celeriac.broker import (
    COMMAND_SECONDS,
    ONCE_SECONDS,
    Broker,
    DeadLetter,
    Delivery,
    Fired,
    Firing,
    Publication,
    QueueDepth,
    Settlement,
)
from celeriac.brokers import redis_sweep
from celeriac.brokers import redis_values as values
from celeriac.brokers.redis_layout import DECLARE_COUNT, Layout
from celeriac.brokers.redis_wait import TRACKING, Waiter
from celeriac.config import Settings
from celeriac.errors import BrokerDown, BrokerError, LeaseLost
from celeriac.redis_client import address
from celeriac.redis_client.client import Client
from celeriac.redis_client.connection import Connection, Lost, ServerError, pack
from celeriac.redis_client.failures import FAILURES, Failure, explain, is_outage
from celeriac.redis_client.scripts import Argument
from celeriac.redis_client.store import KeepsOnRedis
from celeriac.store import ResultStore

#: How long the server may take for a consumer's or a supervisor's step.
_PATIENCE = 5.0
#: How long a sender tries again where the server refuses connections or loads its data: restarts are that quick.
_RESTART = 1.0
#: A claim hands out no more bytes than this, so that its reply comes in time; one message always.
_CLAIM_BYTES = 4 * 1024 * 1024
_ADVICE = (
    "Is Redis running?  redis-cli ping · docker run -p 6379:6379 redis · "
    "or drop CELERY_BROKER_URL to use the database."
)


class RedisBroker(Broker):
    """Messages on a Redis server, 6.2 or later."""

    schemes = ("redis", "rediss", "redis+socket", "valkey")

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        where = address.parse(url)
        self.safe_url = where.safe_url
        self.max_message_bytes = settings.worker_max_message_bytes
        self._place = where.place
        self._layout = Layout(settings.broker_transport_options)
        self._scripts = self._layout.scripts()
        self._client = Client(where, settings.broker_connection_timeout)
        self._waiting = Client(where, settings.broker_connection_timeout, TRACKING)
        self._waiter = Waiter(self._waiting, self._layout, self._scripts["due"])
        self._turns: Counter[str] = Counter()
        # What each consumer was handed through this object and has not settled; see `_settle_done`.
        self._held: dict[str, set[int]] = {}

    # -- producers

    def publish(self, publications: Sequence[Publication], timeout: float) -> None:
        if not publications:
            return
        begun = False
        start = time.monotonic()
        try:
            for portion in values.portions(publications):
                self._publish_portion(portion, start, timeout)
                begun = True
        except FAILURES as failure:
            raise self._publish_failure(failure, publications, begun) from None

    def _publish_portion(self, publications: Sequence[Publication], start: float, timeout: float) -> None:
        patience = min(_RESTART, timeout / 2)
        while True:
            try:
                connection = self._client.connection(timeout, patience)
                spent = time.monotonic() - start
                # The same number each time unless time was spent: to change a socket's timeout is a system call.
                return self._push(
                    connection, publications, timeout if spent < 0.005 else max(0.01, timeout - spent)
                )
            except ServerError as error:
                if error.kind != "LOADING" or time.monotonic() - start > patience:
                    raise
            time.sleep(0.1)  # it has just been started and will be there in a moment

    def _push(self, connection: Connection, publications: Sequence[Publication], timeout: float) -> None:
        first = publications[0]
        alone = len(publications) == 1 and (first.due is None or self._layout.mixed)
        if alone and first.queue in connection.declared:
            command = (b"LPUSH", self._layout.list_key(first.queue, first.priority), first.payload)
            connection.exchange(pack(command), 1, timeout)
            return
        queues = [publication.queue for publication in publications]
        declaration, count = self._declaration(connection, queues)
        groups = values.by_target(publications, self._layout)
        (queue, step, due), payloads = next(iter(groups.items()))
        if len(groups) == 1 and due is None:
            push = pack((b"LPUSH", self._layout.list_key(queue, step), *payloads))
            connection.exchange(declaration + push, count + 1, timeout)
        else:
            args = [
                argument
                for target, group in groups.items()
                for argument in (*values.target_arguments(target), len(group), *group)
            ]
            self._scripts["publish"].run_after(connection, declaration, count, args, timeout)
        connection.declared.update(queues)

    def _declaration(self, connection: Connection, queues: Iterable[str]) -> tuple[bytes, int]:
        """Return the commands, and how many, that declare what was not yet declared on this connection."""
        unknown = set(queues).difference(connection.declared)
        if not unknown:
            return b"", 0
        return b"".join(map(self._layout.declare, sorted(unknown))), DECLARE_COUNT * len(unknown)

    def publish_once(
        self, publications: Mapping[str, Publication], timeout: float, done: Collection[str] = ()
    ) -> None:
        queues = [publication.queue for publication in publications.values()]
        args = values.once_arguments(publications, ONCE_SECONDS, done, self._layout)
        self._run_declared("once", args, queues, timeout)

    # -- consumers

    def register(self, consumer: str, lease: float, queues: Sequence[str] = ()) -> None:
        self._held[consumer] = set()
        self._run("register", consumer, lease, *queues)

    def claim(self, consumer: str, queues: Sequence[str], limit: int, seq: int) -> list[Delivery]:
        if not queues or limit < 1:
            return []
        self._turns[consumer] += 1
        turn = self._turns[consumer] % len(queues)
        order = (*queues[turn:], *queues[:turn])
        limits: tuple[Argument, ...] = (consumer, seq, limit, self.max_message_bytes, _CLAIM_BYTES)
        reply = self._run_declared("claim", (*limits, *self._layout.reading(order)), queues)
        if not reply:
            return []
        if reply == -1:
            raise self._lease_lost(consumer)
        deliveries = values.claimed(reply, order)
        self._remember(consumer, deliveries)
        return deliveries

    def held(self, consumer: str, seq: int) -> list[Delivery]:
        reply = self._run("held", consumer, seq, self.max_message_bytes)
        if reply == -1:
            raise self._lease_lost(consumer)
        deliveries = values.held(reply)
        if seq >= 0:  # else a supervisor looks, who does not know what its child settles
            self._held[consumer] = {delivery.tag for delivery in deliveries}
        return deliveries

    def _remember(self, consumer: str, deliveries: Sequence[Delivery]) -> None:
        self._held.setdefault(consumer, set()).update([delivery.tag for delivery in deliveries])

    def settle(
        self, consumer: str, settlements: Sequence[Settlement], store: ResultStore | None = None
    ) -> set[int]:
        if not settlements:
            return set()
        keeper = store if store is not None and isinstance(store, KeepsOnRedis) else None
        for settlement in settlements:
            if settlement.action or settlement.publish or settlement.frees:
                return self._settle_all(consumer, settlements, keeper)
        return self._settle_done(consumer, settlements, keeper)

    def _settle_done(
        self, consumer: str, settlements: Sequence[Settlement], keeper: KeepsOnRedis | None
    ) -> set[int]:
        """Settle what is only done, the short way: all at once, where all or none must be held.

        That is so for distinct tags which this object handed out and did not settle: messages leave a consumer by its
        own settlements or, all together, with its lease. (What a supervisor puts back in its name was never run.)
        """
        tags = [settlement.tag for settlement in settlements]
        distinct = set(tags)
        held = self._held.get(consumer)
        if held is None or len(distinct) != len(tags) or not held.issuperset(distinct):
            return self._settle_all(consumer, settlements, keeper)
        del self._held[consumer]  # should no answer come, it is not sure any more
        if keeper and any(settlement.record for settlement in settlements):
            args = values.finish_arguments(settlements)
            accepted = bool(self._run("finish", consumer, keeper.seconds, *args))
        else:
            command = pack((b"HDEL", self._layout.inflight + consumer, *tags))
            accepted = self._exchange(command, 1)[0] > 0
        held -= distinct
        self._held[consumer] = held
        return set() if accepted else distinct

    def _settle_all(
        self, consumer: str, settlements: Sequence[Settlement], keeper: KeepsOnRedis | None
    ) -> set[int]:
        args: list[Argument] = [consumer, keeper.seconds if keeper else ""]
        args += values.settlement_arguments(settlements, self._layout, keeper)
        published = [publication.queue for settlement in settlements for publication in settlement.publish]
        held = self._held.pop(consumer, set())  # as above
        reply = self._run_declared("settle", args, published)
        held.difference_update([settlement.tag for settlement in settlements])
        self._held[consumer] = held
        return {int(tag) for tag in reply}

    def shares(self, store: ResultStore) -> bool:
        return isinstance(store, KeepsOnRedis) and store.place == self._place and store.format.plain

    def unregister(self, consumer: str) -> None:
        self._run("unregister", consumer)
        self._held.pop(consumer, None)
        del self._turns[consumer]

    def wait(self, queues: Sequence[str], timeout: float, interrupt: int) -> None:
        try:
            self._waiter.wait(queues, timeout, interrupt, _PATIENCE)
        except FAILURES as failure:
            raise self._failure(failure) from None

    # -- supervisors

    def renew(self, consumers: Sequence[str], lease: float) -> set[str]:
        return {name.decode() for name in self._run("renew", lease, *consumers)} if consumers else set()

    def expired(self) -> list[str]:
        return [name.decode() for name in self._run("expired")]

    def adopt(self, dead: str, by: str, *, expired_only: bool = True) -> list[Delivery]:
        reply = self._run("adopt", dead, by, int(expired_only), self.max_message_bytes)
        if reply == -1:
            raise self._lease_lost(by)
        deliveries = values.held(reply)
        self._remember(by, deliveries)
        return deliveries

    def maintain(self) -> None:
        self._run("promote")
        try:
            redis_sweep.sweep(self._client.connection(_PATIENCE), self._layout, self._scripts, _PATIENCE)
        except FAILURES as failure:
            raise self._failure(failure) from None

    # -- steering

    def revoke(self, ids: Collection[str], seconds: float) -> None:
        if ids:
            self._run("revoke", seconds, *map(values.bytes_of, ids))

    def revoked(self, ids: Collection[str]) -> set[str]:
        by_bytes = {values.bytes_of(each): each for each in ids}
        return {by_bytes[each] for each in self._run("revoked", *by_bytes)} if by_bytes else set()

    def command(self, payload: bytes) -> None:
        self._run("command", payload, COMMAND_SECONDS)

    def commands(self) -> dict[str, bytes]:
        flat = self._run("commands", COMMAND_SECONDS)
        return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}

    # -- schedules

    def now(self) -> float:
        return float(self._run("now"))

    def fire(self, firings: Sequence[Firing]) -> set[str]:
        if not firings:
            return set()
        queues = [publication.queue for firing in firings for publication in firing.publications]
        accepted = set(self._run_declared("fire", values.firing_arguments(firings, self._layout), queues))
        return {firing.entry for firing in firings if values.bytes_of(firing.entry) in accepted}

    def fired(self, entries: Collection[str]) -> dict[str, Fired]:
        if not entries:
            return {}
        command = pack(("HMGET", self._layout.entries, *map(values.bytes_of, entries)))
        texts = self._exchange(command, 1)[0]
        return {
            entry: values.fired(text) for entry, text in zip(entries, texts, strict=True) if text is not None
        }

    def unschedule(self, entries: Collection[str]) -> None:
        if entries:
            self._exchange(pack(("HDEL", self._layout.entries, *map(values.bytes_of, entries))), 1)

    def elect(self, office: str, candidate: str, seconds: float) -> str:
        holder: bytes = self._run("elect", office, candidate, seconds)
        return holder.decode()

    def resign(self, office: str, candidate: str) -> None:
        self._run("resign", office, candidate)

    # -- looking

    def depths(self) -> dict[str, QueueDepth]:
        return {queue.decode(): QueueDepth(*counts) for queue, *counts in self._run("depths")}

    def heads(self) -> list[tuple[str, bytes]]:
        return [(queue.decode(), payload) for queue, payload in self._run("heads")]

    def readers(self) -> dict[str, tuple[str, ...]] | None:
        # Celery's workers have no lease. They block on a list as long as they have room for more, hold messages in
        # `unacked` when they have not, and listen for remote control by a pattern unless told not to.
        look = (("INFO", "clients"), ("PUBSUB", "NUMPAT"), ("EXISTS", self._layout.unacked))
        clients, patterns, unacked = self._exchange(b"".join(map(pack, look)), len(look))
        if patterns or unacked or values.info(clients).get("blocked_clients", "0") != "0":
            return None
        return {name.decode(): tuple(q.decode() for q in queues) for name, *queues in self._run("readers")}

    def dead_letters(self, limit: int = 100, offset: int = 0) -> list[DeadLetter]:
        keys = self._exchange(pack(("ZREVRANGE", self._layout.dead, offset, offset + limit - 1)), 1)[0]
        if not keys or limit < 1:
            return []
        texts = self._exchange(pack(("HMGET", self._layout.letters, *keys)), 1)[0]
        return [values.letter(key, text) for key, text in zip(keys, texts, strict=True) if text is not None]

    def count_dead_letters(self) -> int:
        return int(self._exchange(pack(("ZCARD", self._layout.dead)), 1)[0])

    def revive(self, publications: Mapping[str, Publication]) -> int:
        queues = [publication.queue for publication in publications.values()]
        args = values.revival_arguments(publications, self._layout)
        return int(self._run_declared("revive", args, queues)) if publications else 0

    def discard(self, keys: Collection[str]) -> int:
        return int(self._run("discard", *keys)) if keys else 0

    def purge(self, queues: Iterable[str]) -> int:
        return int(self._run("purge", *queues))

    def check(self) -> list[str]:
        memory, persistence = self._exchange(pack(("INFO", "memory")) + pack(("INFO", "persistence")), 2)
        warnings = []
        policy = values.info(memory).get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            warnings.append(
                f"{self.safe_url} has maxmemory-policy {policy} and will throw tasks away when its memory is full; "
                "set maxmemory-policy noeviction."
            )
        if values.info(persistence).get("aof_enabled", "1") == "0":
            warnings.append(
                f"{self.safe_url} does not log what it accepts (appendonly no), so tasks are lost when it "
                "stops; set appendonly yes, and appendfsync always if no power loss may take any."
            )
        return warnings

    def close(self) -> None:
        self._client.close()
        self._waiting.close()

    # -- within

    def _run(self, name: str, *args: Argument) -> Any:
        try:
            return self._scripts[name].run(self._client.connection(_PATIENCE), args, _PATIENCE)
        except FAILURES as failure:
            raise self._failure(failure) from None

    def _run_declared(
        self, name: str, args: Iterable[Argument], queues: Sequence[str], patience: float = _PATIENCE
    ) -> Any:
        """Run a script and, in the same write, declare those of `queues` that are new to this connection."""
        try:
            connection = self._client.connection(patience)
            declaration, count = self._declaration(connection, queues)
            reply = self._scripts[name].run_after(connection, declaration, count, args, patience)[-1]
        except FAILURES as failure:
            raise self._failure(failure) from None
        if count:
            connection.declared.update(queues)
        return reply

    def _exchange(self, data: bytes, replies: int) -> list[Any]:
        try:
            return self._client.connection(_PATIENCE).exchange(data, replies, _PATIENCE)
        except FAILURES as failure:
            raise self._failure(failure) from None

    def _failure(self, failure: Failure) -> BrokerError:
        text = explain(failure, self.safe_url)
        if not is_outage(failure):
            return BrokerError(text)
        return BrokerDown(
            text if isinstance(failure, ServerError) else f"{text} Is Redis running?  redis-cli ping"
        )

    def _publish_failure(
        self, failure: Failure, publications: Sequence[Publication], begun: bool
    ) -> BrokerError:
        """Return the error that says what became of `publications`; `begun` if a portion of them was accepted."""
        first = publications[0]
        maybe = begun or isinstance(failure, Lost)
        if len(publications) == 1:
            fate = f"may have been queued (id {first.id})" if maybe else "was NOT queued"
            subject = f"The task {first.task} {fate}."
        elif maybe:
            some = f"Some or all of {len(publications)} tasks"
            subject = f"{some} may have been queued (the first has the id {first.id})."
        else:
            subject = f"None of {len(publications)} tasks was queued."
        text = f"{explain(failure, self.safe_url)} {subject}"
        if not is_outage(failure) and not maybe:
            return BrokerError(text)
        advice = "" if isinstance(failure, ServerError) or maybe else f" {_ADVICE}"
        return BrokerDown(text + advice, maybe_queued=maybe, task_id=first.id)

    def _lease_lost(self, consumer: str) -> LeaseLost:
        self._held.pop(consumer, None)
        return LeaseLost(f"The lease of {consumer} was taken over.")
