"""Celery's clients and ours at the same Redis keys: kombu 5.7 and Celery 5.7 themselves on the other side."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from celery import Celery

from celeriac.broker import Action, Publication, QueueDepth, Settlement
from celeriac.brokers.redis import RedisBroker
from celeriac.config import Settings
from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties, new_id
from celeriac.redis_client.connection import pack
from celeriac.store import Record
from celeriac.stores.redis import RedisStore
from tests.celery_close import close_celery
from tests.servers import RedisServer

pytestmark = [
    pytest.mark.redis,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # Celery on redis-py 8
]

SURE = 60.0
OPTIONS: list[dict[str, Any]] = [
    {},
    {"global_keyprefix": "shop:"},
    {"sep": ":", "priority_steps": list(range(10))},
]


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.flush()
    return redis_server


MakeBroker = Callable[..., RedisBroker]


@pytest.fixture
def make_broker(server: RedisServer) -> Iterator[MakeBroker]:
    """Open a broker; keyword arguments are transport options."""
    brokers = []

    def make(**options: Any) -> RedisBroker:
        brokers.append(
            RedisBroker(
                server.url, Settings(broker_transport_options=options, broker_connection_timeout=SURE)
            )
        )
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.close()


@pytest.fixture
def celery(server: RedisServer) -> Iterator[Celery]:
    app = Celery("other", broker=server.url, backend=server.url, set_as_current=False)
    yield app
    close_celery(app)


def encoded(number: int = 0, priority: int = 0) -> bytes:
    task_id = new_id()
    message = Message(
        Headers("t", task_id, root_id=task_id),
        Properties(correlation_id=task_id, priority=priority),
        b"[[%d],{},{}]" % number,
    )
    return protocol.encode(message, "q")


def ours(number: int = 0, priority: int = 0, due: float | None = None) -> Publication:
    return Publication(str(number), "t", "q", encoded(number, priority), priority, due)


def kombu_publish(connection: Any, number: int, priority: int = 0) -> None:
    queue = kombu.Queue("q", kombu.Exchange("q"), routing_key="q")
    connection.Producer().publish(
        [[number], {}, {}],
        exchange="",
        routing_key="q",
        priority=priority,
        declare=[queue],
        headers={"task": "t", "id": f"id-{number}"},
    )


def command(broker: RedisBroker, *words: str | bytes | float) -> Any:
    return broker._exchange(pack(words), 1)[0]


def contents(broker: RedisBroker) -> dict[bytes, Any]:
    """Return what lies at kombu's keys: how long a list is, what is in a set."""
    seen = {}
    for key in command(broker, "KEYS", "*"):
        if b"celeriac:" in key:
            continue
        kind = command(broker, "TYPE", key)
        seen[key] = (
            command(broker, "LLEN", key) if kind == b"list" else (kind, command(broker, "SMEMBERS", key))
        )
    return seen


def claim(broker: RedisBroker, consumer: str, seq: int, limit: int = 100, queue: str = "q") -> list[int]:
    """Claim and settle; return the first arguments."""
    deliveries = broker.claim(consumer, [queue], limit, seq)
    assert broker.settle(consumer, [Settlement(delivery.tag) for delivery in deliveries]) == set()
    return [json.loads(protocol.decode(delivery.payload).body)[0][0] for delivery in deliveries]


@pytest.mark.parametrize("options", OPTIONS)
def test_both_make_the_same_keys(
    make_broker: MakeBroker, server: RedisServer, options: dict[str, Any]
) -> None:
    broker = make_broker(**options)
    with kombu.Connection(server.url, transport_options=options) as connection:
        for priority in range(10):
            kombu_publish(connection, priority, priority)
    theirs = contents(broker)
    server.flush()
    broker = make_broker(**options)
    broker.publish([ours(priority, priority) for priority in range(10)], SURE)
    assert contents(broker) == theirs
    assert sum(count for count in theirs.values() if isinstance(count, int)) == 10


@pytest.mark.parametrize("options", OPTIONS)
def test_kombu_publishes_we_claim_higher_first(
    make_broker: MakeBroker, server: RedisServer, options: dict[str, Any]
) -> None:
    with kombu.Connection(server.url, transport_options=options) as connection:
        for number, priority in enumerate((0, 9, 3, 9)):
            kombu_publish(connection, number, priority)
    broker = make_broker(**options)
    broker.register("c", 3600)
    assert claim(broker, "c", 1) == [1, 3, 2, 0]


def test_in_a_mixed_fleet_lower_first_as_celery(make_broker: MakeBroker, server: RedisServer) -> None:
    with kombu.Connection(server.url) as connection:
        for number, priority in enumerate((0, 9, 3, 9)):
            kombu_publish(connection, number, priority)
    broker = make_broker(mixed_fleet=True)
    broker.register("c", 3600)
    assert claim(broker, "c", 1) == [0, 2, 1, 3]


@pytest.mark.parametrize("options", OPTIONS)
def test_we_publish_kombu_consumes(
    make_broker: MakeBroker, server: RedisServer, options: dict[str, Any]
) -> None:
    broker = make_broker(**options)
    broker.publish([ours(1, 9), ours(2, 0), ours(3, 0), ours(4, 3)], SURE)
    seen = []
    with kombu.Connection(server.url, transport_options=options) as connection:
        queue = kombu.Queue("q", kombu.Exchange("q"), routing_key="q")(connection.default_channel)
        while (message := queue.get(accept=["json"])) is not None:
            assert message.headers["task"] == "t"
            assert message.headers["id"] == message.properties["correlation_id"]
            seen.append(message.payload[0][0])
            message.ack()
    assert seen == [2, 3, 4, 1]
    assert broker.depths() == {}


def test_a_named_exchange_leads_to_our_queue(make_broker: MakeBroker, server: RedisServer) -> None:
    """What we declare suffices for a Celery client that addresses the exchange by name."""
    broker = make_broker()
    broker.publish([ours(1)], SURE)
    with kombu.Connection(server.url) as connection:
        connection.Producer().publish(
            [[2], {}, {}], exchange="q", routing_key="q", headers={"task": "t", "id": "2"}
        )
    broker.register("c", 3600)
    assert claim(broker, "c", 1) == [1, 2]


def test_who_claims_declares_too(make_broker: MakeBroker, server: RedisServer) -> None:
    broker = make_broker()
    broker.register("c", 3600)
    assert broker.claim("c", ["q"], 1, 1) == []
    with kombu.Connection(server.url) as connection:
        connection.Producer().publish(
            [[2], {}, {}], exchange="q", routing_key="q", headers={"task": "t", "id": "2"}
        )
    assert broker.depths() == {"q": QueueDepth(ready=1)}


def test_celery_sends_we_read(make_broker: MakeBroker, celery: Celery) -> None:
    result = celery.send_task(
        "shop.add", (1, 2), {"c": 3}, queue="q", countdown=3600, headers={"x-tenant": "7"}
    )
    broker = make_broker()
    broker.register("c", 3600)
    (delivery,) = broker.claim("c", ["q"], 10, 1)
    message = protocol.decode(delivery.payload)
    assert (message.headers.task, message.headers.id) == ("shop.add", result.id)
    assert protocol.custom_headers(message)["x-tenant"] == "7"
    assert message.headers.eta is not None
    assert json.loads(message.body)[:2] == [[1, 2], {"c": 3}]
    due = time.time() + 3600
    assert broker.settle("c", [Settlement(delivery.tag, Action.SCHEDULE, due=due)]) == set()
    assert broker.depths() == {"q": QueueDepth(scheduled=1)}


def test_scheduled_messages_in_a_mixed_fleet(make_broker: MakeBroker) -> None:
    """Celery's workers know no schedule in the broker, so what has an eta lies ready and they wait for it."""
    mixed, alone = make_broker(mixed_fleet=True), make_broker()
    mixed.publish([ours(1, due=time.time() + 3600)], SURE)
    assert mixed.depths() == {"q": QueueDepth(ready=1)}
    mixed.publish([ours(2, due=time.time() + 3600), ours(3)], SURE)
    alone.publish([ours(4, due=time.time() + 3600)], SURE)
    assert mixed.depths() == {"q": QueueDepth(ready=3, scheduled=1)}
    mixed.register("c", 3600)
    (delivery, *_) = mixed.claim("c", ["q"], 10, 1)
    retry = ours(5, due=time.time() + 3600)
    assert mixed.settle("c", [Settlement(delivery.tag, publish=(retry,))]) == set()
    assert mixed.depths() == {"q": QueueDepth(ready=1, scheduled=1, in_flight=2)}


def test_due_messages_of_a_queue_that_only_celery_reads(make_broker: MakeBroker) -> None:
    broker = make_broker()
    due = time.time() + 0.1
    broker.publish([ours(1, due=due)], SURE)
    while time.time() < due + 0.01:
        broker.maintain()
    broker.maintain()
    assert broker.depths() == {"q": QueueDepth(ready=1)}


# -- what dead Celery workers leave behind


class Unacked:
    """Messages that a Celery worker took and never acknowledged, as kombu leaves them."""

    def __init__(self, server: RedisServer, broker: RedisBroker, **options: Any) -> None:
        self.broker = broker
        self.keys = (broker._layout.unacked, broker._layout.unacked_index)
        self._connection = kombu.Connection(server.url, transport_options=options)
        self._server = server

    def take(self) -> bytes:
        """Take the next message as a worker does that dies right after; return its tag."""
        channel = self._connection.default_channel
        queue = kombu.Queue("q", kombu.Exchange("q"), routing_key="q")(channel)
        message = queue.get(accept=["json"])
        assert message is not None
        # It must not give the message back when it is closed: it is dead.
        channel.qos._delivered.clear()
        return str(message.delivery_tag).encode()

    def age(self, tag: bytes, seconds: float) -> None:
        command(self.broker, "ZADD", self.keys[1], "XX", time.time() - seconds, tag)

    def left(self) -> tuple[int, int]:
        return command(self.broker, "HLEN", self.keys[0]), command(self.broker, "ZCARD", self.keys[1])

    def put(self, tag: str, text: bytes, age: float = 4000) -> None:
        command(self.broker, "HSET", self.keys[0], tag, text)
        command(self.broker, "ZADD", self.keys[1], time.time() - age, tag)

    def close(self) -> None:
        pools = [self._connection.default_channel.pool] if self._connection.connected else []
        self._connection.release()
        for pool in pools:
            pool.disconnect()


MakeUnacked = Callable[..., Unacked]


@pytest.fixture
def make_unacked(server: RedisServer, make_broker: MakeBroker) -> Iterator[MakeUnacked]:
    made = []

    def make(**options: Any) -> Unacked:
        made.append(Unacked(server, make_broker(**options), **options))
        return made[-1]

    yield make
    for unacked in made:
        unacked.close()


@pytest.mark.parametrize("options", OPTIONS)
def test_sweep(make_unacked: MakeUnacked, options: dict[str, Any]) -> None:
    unacked = make_unacked(**options)
    broker = unacked.broker
    broker.publish([ours(1, 3), ours(2, 3)], SURE)
    tag = unacked.take()
    broker.maintain()
    assert unacked.left() == (1, 1), "it is young: its worker may live"
    unacked.age(tag, 3700)
    broker.maintain()
    assert unacked.left() == (0, 0)
    broker.register("c", 3600)
    first, second = broker.claim("c", ["q"], 10, 1)
    message = json.loads(first.payload)
    assert message["headers"]["redelivered"] is True
    assert message["properties"]["delivery_info"]["redelivered"] is True
    assert json.loads(protocol.decode(first.payload).body)[0] == [1]
    assert json.loads(protocol.decode(second.payload).body)[0] == [2]
    assert command(broker, "EXISTS", broker._layout.unacked_mutex) == 0


def test_sweep_after_the_visibility_timeout_that_is_set(make_unacked: MakeUnacked) -> None:
    unacked = make_unacked(visibility_timeout=20)
    unacked.broker.publish([ours(1)], SURE)
    unacked.age(unacked.take(), 30)
    unacked.broker.maintain()
    assert unacked.left() == (0, 0)
    assert unacked.broker.depths() == {"q": QueueDepth(ready=1)}


def test_sweep_leaves_it_to_who_has_the_lock(make_unacked: MakeUnacked) -> None:
    unacked = make_unacked()
    unacked.put("tag", b"[]")
    command(unacked.broker, "SET", "unacked_mutex", "another's")
    unacked.broker.maintain()
    assert unacked.left() == (1, 1)
    assert command(unacked.broker, "GET", "unacked_mutex") == b"another's"


def envelope(**properties: Any) -> dict[str, Any]:
    return {"body": "", "headers": {}, "properties": {"delivery_info": {}, **properties}}


def test_sweep_goes_through_bindings(make_unacked: MakeUnacked) -> None:
    unacked = make_unacked()
    broker = unacked.broker
    sep = "\x06\x16"
    command(broker, "SADD", "_kombu.binding.named", f"key{sep}{sep}q")
    command(
        broker,
        "SADD",
        "_kombu.binding.topic",
        f"a.*{sep}^a$({sep}other",
        f"b.*{sep}^b\\..+$" + sep + "q",
    )
    unacked.put("one", json.dumps([envelope(priority=9), "named", "key"]).encode())
    unacked.put("two", json.dumps([envelope(), "topic", "b.c"]).encode())
    broker.maintain()
    assert unacked.left() == (0, 0)
    assert broker.count_dead_letters() == 0
    assert command(broker, "LLEN", f"q{sep}9") == 1
    assert command(broker, "LLEN", "q") == 1


@pytest.mark.parametrize(
    ("text", "queue", "reason"),
    [
        (b"\xff garbage", "", "unreadable"),
        (b"[1, 2]", "", "unreadable"),
        (b"[{}, null, null]", "", "unreadable"),
        (json.dumps([envelope(), "", 5]).encode(), "", "unreadable"),
        (
            json.dumps([envelope(), "nowhere", "key"]).encode(),
            "key",
            "nothing is bound to exchange 'nowhere'",
        ),
    ],
)
def test_what_cannot_be_restored_is_a_dead_letter(
    make_unacked: MakeUnacked, text: bytes, queue: str, reason: str
) -> None:
    unacked = make_unacked()
    unacked.put("tag", text)
    unacked.broker.maintain()
    assert unacked.left() == (0, 0)
    (letter,) = unacked.broker.dead_letters()
    assert letter.queue == queue
    assert reason in letter.reason
    assert letter.payload


def test_sweep_forgets_index_entries_of_acknowledged_messages(make_unacked: MakeUnacked) -> None:
    unacked = make_unacked()
    command(unacked.broker, "ZADD", "unacked_index", time.time() - 4000, "acknowledged")
    unacked.broker.maintain()
    assert unacked.left() == (0, 0)


def test_sweep_of_many(make_unacked: MakeUnacked) -> None:
    unacked = make_unacked()
    for number in range(250):
        unacked.put(str(number), json.dumps([envelope(), "", "q"]).encode())
    for _ in range(3):
        unacked.broker.maintain()
    assert unacked.left() == (0, 0)
    assert (
        unacked.broker.depths() == {"q": QueueDepth(ready=250)} or command(unacked.broker, "LLEN", "q") == 250
    )


def test_celerys_own_sweep_leaves_ours_alone(make_broker: MakeBroker, server: RedisServer) -> None:
    broker = make_broker()
    broker.publish([ours(1)], SURE)
    broker.register("c", 3600)
    (delivery,) = broker.claim("c", ["q"], 1, 1)
    with kombu.Connection(server.url, transport_options={"visibility_timeout": 0}) as connection:
        connection.default_channel.qos.restore_visible()
    assert broker.depths() == {"q": QueueDepth(in_flight=1)}
    assert broker.settle("c", [Settlement(delivery.tag)]) == set()


# -- results


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    store = RedisStore(server.url, Settings(broker_connection_timeout=SURE))
    yield store
    store.close()


def test_celery_reads_our_results(store: RedisStore, celery: Celery) -> None:
    good, bad = new_id(), new_id()
    error = b'{"exc_type":"ValueError","exc_message":["no"],"exc_module":"builtins"}'
    store.store(
        [
            Record(good, "SUCCESS", b'{"n":1}', finished=time.time(), name="t", args="(1,)"),
            Record(bad, "FAILURE", error, traceback="Traceback ...", finished=time.time()),
        ]
    )
    assert celery.AsyncResult(good).get(timeout=SURE) == {"n": 1}
    failed = celery.AsyncResult(bad)
    with pytest.raises(ValueError, match="no"):
        failed.get(timeout=SURE)
    assert (failed.state, failed.traceback) == ("FAILURE", "Traceback ...")


def test_a_celery_client_is_told(store: RedisStore, celery: Celery) -> None:
    task_id = new_id()
    result = celery.AsyncResult(task_id)
    assert result.state == "PENDING"
    result.backend.result_consumer.consume_from(task_id)
    store.store([Record(task_id, "SUCCESS", b"42")])
    assert result.get(timeout=SURE) == 42


def test_we_read_celerys_results(store: RedisStore, celery: Celery) -> None:
    good, bad, going = new_id(), new_id(), new_id()
    celery.backend.store_result(good, [1, 2], "SUCCESS")
    celery.backend.store_result(bad, ValueError("no"), "FAILURE", traceback="Traceback ...")
    celery.backend.store_result(going, {"done": 5}, "PROGRESS")
    records = store.fetch([good, bad, going, "unknown"])
    assert set(records) == {good, bad, going}
    assert (records[good].state, records[good].result) == ("SUCCESS", b"[1, 2]")
    assert json.loads(records[bad].result)["exc_type"] == "ValueError"
    assert records[bad].traceback == "Traceback ..."
    assert (records[going].state, records[going].ready) == ("PROGRESS", False)


def test_a_success_of_celerys_is_not_overwritten(
    store: RedisStore, make_broker: MakeBroker, celery: Celery
) -> None:
    task_id = new_id()
    celery.backend.store_result(task_id, 1, "SUCCESS")
    store.store([Record(task_id, "FAILURE")])
    broker = make_broker()
    broker.publish([ours(1), ours(2), ours(3)], SURE)
    broker.register("c", 3600)
    first, second, third = broker.claim("c", ["q"], 3, 1)
    assert broker.settle("c", [Settlement(first.tag, record=Record(task_id, "RETRY"))], store) == set()
    ends = [
        Settlement(second.tag, Action.PUT_BACK, record=Record(task_id, "FAILURE")),
        Settlement(third.tag, record=Record("other", "FAILURE")),
    ]
    assert broker.settle("c", ends, store) == set()
    assert store.fetch(["other"])["other"].state == "FAILURE"
    assert store.fetch([task_id])[task_id].state == "SUCCESS"


def test_results_expire_as_set(server: RedisServer, make_broker: MakeBroker) -> None:
    broker = make_broker()
    for expires, seconds in ((720.2, 721), (None, None)):
        store = RedisStore(server.url, Settings(result_expires=expires))
        stored, settled = new_id(), new_id()
        begun = time.time()
        store.store([Record(stored, "SUCCESS")])
        broker.publish([ours(1)], SURE)
        broker.register("c", 3600)
        (delivery,) = broker.claim("c", ["q"], 1, 1)
        assert (
            broker.settle("c", [Settlement(delivery.tag, record=Record(settled, "SUCCESS"))], store) == set()
        )
        broker.publish([ours(1), ours(2)], SURE)
        more = broker.claim("c", ["q"], 2, 2)
        with_more = [(more[0], Record(new_id(), "SUCCESS")), (more[1], Record(new_id(), "FAILURE"))]
        ends = [Settlement(d.tag, publish=(ours(3),), record=record) for d, record in with_more]
        assert broker.settle("c", ends, store) == set()
        broker.purge(["q"])
        for task_id in (stored, settled, *(record.id for _, record in with_more)):
            left = command(broker, "PTTL", f"celery-task-meta-{task_id}")
            if seconds is None:
                assert left == -1
            else:
                # To the second, by the server's clock.
                assert left <= seconds * 1000 <= left + (time.time() - begun) * 1000 + 1010
        store.close()
