"""What the Redis keepers do when the server is away, new, slow, full, or not one that we can use."""

import gc
import itertools
import os
import re
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from celeriac.broker import Action, Publication, QueueDepth, Settlement
from celeriac.brokers import redis
from celeriac.brokers.redis import RedisBroker
from celeriac.config import Settings
from celeriac.errors import BrokerDown, BrokerError, LeaseLost, StoreError
from celeriac.redis_client.connection import pack
from celeriac.store import Record
from celeriac.stores.redis import RedisStore
from tests.proxy import Proxy
from tests.scenarios.journal import until
from tests.servers import RedisServer, ServerMissing, free_port

pytestmark = pytest.mark.redis

#: What is to come comes within this time, also where the server stalls. Waits that somebody is to end take far longer.
SURE = 60.0
FOREVER = 600.0
PATIENT = Settings(broker_connection_timeout=SURE)


@contextmanager
def server_with(**options: str) -> Iterator[RedisServer]:
    try:
        server = RedisServer(**options)
    except ServerMissing:
        if os.environ.get("CI"):
            raise
        pytest.skip("redis-server is not installed")
    with server:
        yield server


@contextmanager
def opened(url: str, settings: Settings = PATIENT) -> Iterator[RedisBroker]:
    broker = RedisBroker(url, settings)
    try:
        yield broker
    finally:
        broker.close()


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[RedisBroker]:
    redis_server.flush()
    with opened(redis_server.url) as broker:
        yield broker


def publications(*payloads: bytes) -> list[Publication]:
    return [Publication(str(uuid.uuid4()), "shop.tasks.add", "q", payload) for payload in payloads]


def command(broker: RedisBroker, *words: str | bytes | float) -> Any:
    return broker._exchange(pack(words), 1)[0]


def have_just_answered(broker: RedisBroker) -> None:
    """Have the broker take its connection for a fresh one, so that it is not tried first however long that is ago."""
    broker._client.connection(SURE)._used += FOREVER


def cut_others(server: RedisServer) -> None:
    """Cut all connections of ordinary clients, as a firewall or a restart of the network does."""
    assert server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")[0] == ":"


@contextmanager
def fake(*replies: bytes | None) -> Iterator[str]:
    """A server that answers each write with the next of `replies`, and hangs up at None or when there are no more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as client:
                for reply in replies:
                    if not client.recv(100_000) or reply is None:
                        return
                    client.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://:geheim@127.0.0.1:{listener.getsockname()[1]}/0"
        listener.close()
        thread.join(SURE)


HELLO = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"


# -- not there


def test_nobody_listens() -> None:
    url = f"redis://ann:geheim@127.0.0.1:{free_port()}/0"
    with opened(url) as broker:
        (publication,) = publications(b"m")
        start = time.monotonic()
        with pytest.raises(BrokerDown) as caught:
            broker.publish([publication], SURE)
        assert 0.5 < time.monotonic() - start < SURE / 2
        assert not caught.value.maybe_queued
        assert caught.value.task_id == publication.id
        text = str(caught.value)
        safe_url = url.replace("geheim", "***")
        tried = r"(, tried \d+ times in \d+\.\d s)?"  # once where the machine stalls
        assert re.match(rf"Cannot reach {re.escape(safe_url)} \(connection refused{tried}\)\.", text)
        assert (
            "The task shop.tasks.add was NOT queued. Is Redis running?  redis-cli ping · docker run" in text
        )
        assert text.endswith("or drop CELERY_BROKER_URL to use the database.")
        with pytest.raises(BrokerDown, match=r"None of 2 tasks was queued\."):
            broker.publish(publications(b"1", b"2"), 0.1)
        for call in (
            lambda: broker.register("c", 1),
            lambda: broker.claim("c", ["q"], 1, 1),
            lambda: broker.wait(["q"], 1, 0),
            broker.depths,
            broker.maintain,
        ):
            with pytest.raises(BrokerDown, match=r"connection refused\)"):  # once
                call()
    store = RedisStore(url, PATIENT)
    with pytest.raises(StoreError, match="connection refused"):
        store.fetch(["id"])
    with pytest.raises(StoreError, match="connection refused"):
        store.wait("id", 0.3)


def test_a_server_that_comes_up_meanwhile(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is tried again: servers restart."""
    monkeypatch.setattr(redis, "_RESTART", SURE)
    with RedisServer() as server:
        server.kill()
        restart = threading.Timer(0.3, server.start)
        restart.start()
        with opened(server.url) as broker:
            broker.publish(publications(b"m"), 2 * SURE)
            restart.join()
            assert broker.depths() == {"q": QueueDepth(ready=1)}


def test_a_host_that_is_unknown() -> None:
    with (
        opened("redis://no-such-host.invalid:6379/0") as broker,
        pytest.raises(BrokerDown, match=r"no-such-host\.invalid is unknown|no answer"),
    ):
        broker.publish(publications(b"m"), SURE)


def test_a_host_that_swallows_everything() -> None:
    """A listener whose backlog is full: connections hang."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        with opened(f"redis://127.0.0.1:{port}/0") as broker:
            start = time.monotonic()
            with pytest.raises(BrokerDown, match="no answer within") as caught:
                broker.publish(publications(b"m"), 0.5)
            assert time.monotonic() - start < SURE
            assert not caught.value.maybe_queued
        for filler in fillers:
            filler.close()


def test_no_such_socket_file() -> None:
    with (
        opened("redis+socket:///nowhere/redis.sock?virtual_host=1") as broker,
        pytest.raises(BrokerDown, match="there is no such socket file"),
    ):
        broker.publish(publications(b"m"), 0.2)


# -- who are you


def test_passwords() -> None:
    with server_with() as server:
        assert server.command("CONFIG", "SET", "requirepass", "geheim") == "+OK"
        good, bad, none = (server.url.replace("//", f"//{login}") for login in (":geheim@", ":falsch@", ""))
        with opened(good) as broker:
            broker.publish(publications(b"m"), SURE)
        for url, words in ((bad, "WRONGPASS"), (none, "NOAUTH")):
            with opened(url) as broker:
                with pytest.raises(BrokerError, match=words) as caught:
                    broker.publish(publications(b"m"), SURE)
                assert not isinstance(caught.value, BrokerDown)
                assert "was NOT queued" in str(caught.value)
                assert "Check the user and the password" in str(caught.value)
                assert "falsch" not in str(caught.value)
                with pytest.raises(BrokerError, match=words):
                    broker.depths()
            with pytest.raises(StoreError, match=words):
                RedisStore(url, PATIENT).fetch(["id"])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"-ERR unknown command 'HELLO'\r\n", r"it is older than Redis 6\.2"),
        (HELLO.replace(b"7.0.0", b"6.0.9"), r"it is Redis 6\.0\.9, older than 6\.2"),
    ],
)
def test_servers_that_are_too_old(reply: bytes, words: str) -> None:
    with fake(reply) as url, opened(url) as broker, pytest.raises(BrokerError, match=words):
        broker.depths()


def test_something_else_listens() -> None:
    with (
        fake(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url,
        opened(url) as broker,
        pytest.raises(BrokerDown, match="does not speak the Redis protocol"),
    ):
        broker.depths()


# -- answers that do not come, or not the wished ones


def test_the_answer_to_a_publish_is_lost() -> None:
    with fake(HELLO, None) as url, opened(url) as broker:
        (publication,) = publications(b"m")
        with pytest.raises(BrokerDown) as caught:
            broker.publish([publication], SURE)
        assert caught.value.maybe_queued
        assert caught.value.task_id == publication.id
        assert f"The task shop.tasks.add may have been queued (id {publication.id})." in str(caught.value)
        assert "geheim" not in str(caught.value)


def test_several_may_have_been_queued() -> None:
    with (
        fake(HELLO, None) as url,
        opened(url) as broker,
        pytest.raises(BrokerDown, match="Some or all of 2 tasks may have been queued") as caught,
    ):
        broker.publish(publications(b"1", b"2"), SURE)
    assert caught.value.maybe_queued


def test_loading_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    answers = [loading * 4, loading * 4, b":1\r\n:1\r\n:1\r\n:1\r\n"]
    with monkeypatch.context() as patch, fake(HELLO, *answers) as url, opened(url) as broker:
        patch.setattr(redis, "_RESTART", SURE)
        broker.publish(publications(b"m"), 2 * SURE)
    with (
        fake(HELLO, *[loading * 4] * 50) as url,
        opened(url) as broker,
        pytest.raises(BrokerDown, match=r"refuses: LOADING .* was NOT queued\.$") as caught,
    ):
        broker.publish(publications(b"m"), 1.0)
    assert not caught.value.maybe_queued


def test_a_server_that_is_full() -> None:
    with server_with() as server, opened(server.url) as broker:
        broker.publish(publications(b"before"), SURE)
        broker.register("c", 3600)
        (held,) = broker.claim("c", ["q"], 1, 1)
        server.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(BrokerDown, match=r"refuses: OOM .* was NOT queued") as caught:
            broker.publish(publications(b"m"), SURE)
        assert not caught.value.maybe_queued
        with pytest.raises(BrokerDown, match="OOM"):
            broker.publish([Publication("1", "t", "q", b"later", 0, time.time() + 60)], SURE)
        with pytest.raises(BrokerDown, match="OOM"):
            broker.claim("c", ["q"], 1, 2)
        server.command("CONFIG", "SET", "maxmemory", "0")
        assert broker.depths() == {"q": QueueDepth(in_flight=1)}
        assert broker.settle("c", [Settlement(held.tag, Action.PUT_BACK)]) == set()


def test_a_replica_is_left_for_the_new_master() -> None:
    with server_with() as server, opened(server.url) as broker:
        broker.publish(publications(b"before"), SURE)
        first = broker._client.connection(SURE)
        server.command("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(BrokerDown, match="READONLY"):
            broker.publish(publications(b"m"), SURE)
        server.command("REPLICAOF", "NO", "ONE")
        broker.publish(publications(b"m"), SURE)
        assert broker._client.connection(SURE) is not first


def test_a_frozen_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with server_with() as server, opened(server.url) as broker:
        broker.publish(publications(b"before"), SURE)
        broker.register("c", 3600)
        have_just_answered(broker)
        server.freeze()
        try:
            (late,) = publications(b"late")
            with pytest.raises(BrokerDown, match=r"no answer within 0\.\d s") as caught:
                broker.publish([late], 0.5)
            assert caught.value.maybe_queued
            with pytest.raises(BrokerDown, match="no answer within") as caught:
                broker.publish(publications(b"never"), 0.5)
            assert not caught.value.maybe_queued, "it could not even connect"
            with monkeypatch.context() as patch:
                patch.setattr(redis, "_PATIENCE", 0.5)
                with pytest.raises(BrokerDown):
                    broker.claim("c", ["q"], 10, 1)
                with pytest.raises(BrokerDown):
                    broker.wait(["q"], FOREVER, 0)
        finally:
            server.thaw()
        broker.held("c", 1)
        payloads = {delivery.payload for delivery in broker.claim("c", ["q"], 10, 2)}
        assert payloads - {b"late"} == {b"before"}


def test_a_frozen_server_holds_no_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    with server_with() as server, opened(server.url) as broker:
        broker.publish(publications(b"m"), SURE)
        broker.register("c", 3600)
        (delivery,) = broker.claim("c", ["q"], 1, 1)
        assert redis._PATIENCE == 5.0
        have_just_answered(broker)
        server.freeze()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(redis, "_PATIENCE", 0.5)
                with pytest.raises(BrokerDown, match=r"no answer within 0\.5 s"):
                    broker.settle("c", [Settlement(delivery.tag)])
        finally:
            server.thaw()
        # Whether it was settled is unknown: it is what the broker now says, and is told exactly.
        left = {delivery.tag for delivery in broker.held("c", 1)}
        assert broker.settle("c", [Settlement(delivery.tag), Settlement(5)]) == {delivery.tag, 5} - left


# -- cuts


def test_cut_while_idle(broker: RedisBroker, redis_server: RedisServer) -> None:
    """Nothing was under way, so nothing is uncertain: it connects anew and says nothing."""
    broker.publish(publications(b"1"), SURE)
    cut_others(redis_server)
    broker.publish(publications(b"2"), SURE)
    broker.register("c", 3600)
    cut_others(redis_server)
    claimed = broker.claim("c", ["q"], 10, 1)
    assert [delivery.payload for delivery in claimed] == [b"1", b"2"]
    cut_others(redis_server)
    assert broker.held("c", 1) == claimed
    cut_others(redis_server)
    assert broker.settle("c", [Settlement(delivery.tag) for delivery in claimed]) == set()
    store = RedisStore(redis_server.url, PATIENT)
    store.store([Record("id", "SUCCESS")])
    cut_others(redis_server)
    assert set(store.fetch(["id"])) == {"id"}
    store.close()


def test_connections_that_were_forgotten_while_idle(redis_server: RedisServer) -> None:
    """They are tried before anything is sent on them, so nothing is uncertain; a second is all that it costs."""
    redis_server.flush()
    with Proxy(redis_server.port) as proxy, opened(f"redis://127.0.0.1:{proxy.port}/0") as broker:
        read, write = os.pipe()
        broker.publish(publications(b"1"), SURE)
        broker.register("c", 3600)
        broker.wait(["other"], 0.05, read)
        assert proxy.fail("half-open") == 2
        proxy.heal()
        for client in (broker._client, broker._waiting):
            client.connection(SURE)._used -= 60  # as if so much time had passed
        start = time.monotonic()
        broker.publish(publications(b"2"), SURE)
        assert time.monotonic() - start < SURE / 2
        assert len(broker.claim("c", ["q"], 10, 1)) == 2
        broker.wait(["other"], 0.05, read)  # an answer that does not come is an error
        os.close(read)
        os.close(write)


def is_waiting(looking: RedisBroker) -> bool:
    """Return whether the server has answered the look of one who waits: its connection tracks keys."""
    lines = str(command(looking, "CLIENT", "LIST")).replace("\\n", "\n").splitlines()
    return any("flags=t" in line and "cmd=evalsha" in line for line in lines)


def test_cut_while_waiting(broker: RedisBroker, redis_server: RedisServer) -> None:
    read, write = os.pipe()

    def when_it_waits(then: Callable[[], object]) -> threading.Thread:
        def watch() -> None:
            with opened(redis_server.url) as looking:
                until(lambda: is_waiting(looking), "its look was answered")
            then()

        thread = threading.Thread(target=watch)
        thread.start()
        return thread

    broker.wait(["q"], 0.01, read)  # the server has the script
    cut_others(redis_server)
    start = time.monotonic()
    cutter = when_it_waits(lambda: cut_others(redis_server))
    with pytest.raises(BrokerDown, match="connection reset"):
        broker.wait(["q"], FOREVER, read)
    cutter.join()
    publisher = when_it_waits(lambda: broker.publish(publications(b"m"), SURE))
    broker.wait(["q"], FOREVER, read)
    publisher.join()
    assert time.monotonic() - start < FOREVER / 2
    os.close(read)
    os.close(write)


def test_cut_between_two_waits(broker: RedisBroker, redis_server: RedisServer) -> None:
    read, write = os.pipe()
    broker.wait(["q"], 0.05, read)
    cut_others(redis_server)
    broker.wait(["q"], 0.05, read)
    os.close(read)
    os.close(write)


def test_a_claim_whose_reply_is_lost(broker: RedisBroker, redis_server: RedisServer) -> None:
    """The messages are on record; the consumer takes them up, and the lost claim gives nothing if it comes late."""
    broker.publish(publications(b"1", b"2", b"3"), SURE)
    broker.register("c", 3600)
    connection = broker._client.connection(SURE)
    args = ("c", 1, 2, 10_000, 10_000, *broker._layout.reading(("q",)))
    script = broker._scripts["claim"]
    assert script.run(connection, args, SURE)  # what was claimed never reaches the worker
    held = broker.held("c", 1)
    assert [delivery.payload for delivery in held] == [b"1", b"2"]
    assert script.run(connection, args, SURE) == []
    assert [delivery.payload for delivery in broker.claim("c", ["q"], 10, 2)] == [b"3"]
    assert broker.settle("c", [Settlement(delivery.tag) for delivery in held]) == set()


def test_scripts_are_sent_again_when_forgotten(broker: RedisBroker, redis_server: RedisServer) -> None:
    def forget() -> None:
        assert redis_server.command("SCRIPT", "FLUSH") == "+OK"

    forget()
    later = Publication("1", "t", "q", b"later", 0, time.time() + 60)
    broker.publish([later, *publications(b"now")], SURE)
    forget()
    broker.register("c", 3600)
    forget()
    (delivery,) = broker.claim("c", ["q"], 10, 1)
    forget()
    read, write = os.pipe()
    broker.wait(["q"], 0.01, read)
    os.close(read)
    os.close(write)
    forget()
    assert broker.settle("c", [Settlement(delivery.tag, Action.PUT_BACK)]) == set()
    assert broker.depths() == {"q": QueueDepth(ready=1, scheduled=1)}
    store = RedisStore(redis_server.url, PATIENT)
    forget()
    store.store([Record("id", "FAILURE")])
    assert set(store.fetch(["id"])) == {"id"}
    store.close()


def test_an_emptied_server(broker: RedisBroker, redis_server: RedisServer) -> None:
    """FLUSHALL takes the leases too: consumers are told, register again, and go on."""
    broker.publish(publications(b"1"), SURE)
    broker.register("c", 3600)
    (lost,) = broker.claim("c", ["q"], 1, 1)
    redis_server.flush()
    with pytest.raises(LeaseLost):
        broker.claim("c", ["q"], 1, 2)
    broker.register("c", 3600)
    broker.publish(publications(b"2"), SURE)
    (delivery,) = broker.claim("c", ["q"], 1, 1)
    assert delivery.payload == b"2"
    assert broker.settle("c", [Settlement(delivery.tag), Settlement(lost.tag + 100_000)]) == {
        lost.tag + 100_000
    }


# -- threads and forks


def test_connections_end_with_their_threads(broker: RedisBroker, redis_server: RedisServer) -> None:
    def clients() -> set[str]:
        return set(re.findall(r"\bid=\d+(?=[^\n]* name=celeriac)", str(command(broker, "CLIENT", "LIST"))))

    before = clients()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=broker.publish, args=(publications(b"m"), SURE)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        del threads, thread
        gc.collect()
        until(lambda: gc.collect() >= 0 and clients() <= before, "theirs are closed")
    assert broker.depths() == {"q": QueueDepth(ready=5)}


def test_a_waiter_in_a_forked_child(broker: RedisBroker) -> None:
    read, write = os.pipe()
    broker.wait(["q"], 0.01, read)
    with warnings.catch_warnings():
        # Other tests' threads may still be ending; the child touches nothing of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            broker.publish(publications(b"m"), SURE)
            broker.wait(["q"], FOREVER, read)
            broker.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    start = time.monotonic()
    broker.wait(["q"], FOREVER, read)
    assert time.monotonic() - start < FOREVER / 2
    os.close(read)
    os.close(write)


# -- odds and ends


def test_a_claim_hands_out_no_more_than_it_can_send(broker: RedisBroker) -> None:
    megabyte = 1024 * 1024
    payloads = [b"%02d" % number + b"x" * megabyte for number in range(10)]
    broker.publish(publications(*payloads), SURE)
    broker.publish([Publication("1", "t", "q", b"y" * 6 * megabyte)], SURE)
    broker.register("c", 3600)
    seen: list[bytes] = []
    for seq in range(1, 20):
        deliveries = broker.claim("c", ["q"], 100, seq)
        assert len(deliveries) < 5
        seen += [delivery.payload for delivery in deliveries]
        assert broker.settle("c", [Settlement(delivery.tag) for delivery in deliveries]) == set()
    assert [payload[:2] for payload in seen] == [b"%02d" % number for number in range(10)] + [b"yy"]
    assert broker.depths() == {}


def test_a_table_of_bindings_that_is_none(broker: RedisBroker) -> None:
    """What is only for Celery's clients decides nothing about the message."""
    command(broker, "SET", "_kombu.binding.q", "somebody's")
    broker.publish(publications(b"m"), SURE)
    broker.register("c", 3600)
    (delivery,) = broker.claim("c", ["q"], 1, 1)
    assert broker.settle("c", [Settlement(delivery.tag)]) == set()


def test_a_list_that_is_none(broker: RedisBroker) -> None:
    command(broker, "SET", "q", "somebody's")
    with pytest.raises(BrokerError, match=r"WRONGTYPE .* was NOT queued\.") as caught:
        broker.publish(publications(b"m"), SURE)
    assert not isinstance(caught.value, BrokerDown)


def test_a_batch_larger_than_a_portion(broker: RedisBroker) -> None:
    payloads = [b"%02d" % number + b"x" * 6 * 1024 * 1024 for number in range(6)]
    broker.publish(publications(*payloads), SURE)
    assert broker.depths() == {"q": QueueDepth(ready=6)}
    broker.purge(["q"])


def test_by_unix_socket(redis_server: RedisServer, broker: RedisBroker) -> None:
    with opened(redis_server.socket_url) as other:
        other.publish(publications(b"m"), SURE)
        assert other.shares(RedisStore(redis_server.socket_url, PATIENT))
        assert not other.shares(RedisStore(redis_server.url, PATIENT))
    assert broker.depths() == {"q": QueueDepth(ready=1)}


def test_another_database_is_another_broker(redis_server: RedisServer, broker: RedisBroker) -> None:
    url = redis_server.url[:-1] + "5"
    with opened(url) as other:
        other.publish(publications(b"m"), SURE)
        assert not broker.shares(RedisStore(url, PATIENT))
        assert other.shares(RedisStore(url, PATIENT))
        assert broker.depths() == {}
        assert other.depths() == {"q": QueueDepth(ready=1)}


def test_warnings_about_the_server() -> None:
    with server_with(maxmemory_policy="allkeys-lru") as server, opened(server.url) as broker:
        eviction, persistence = broker.check()
        assert "maxmemory-policy allkeys-lru" in eviction
        assert "appendonly no" in persistence
    with server_with(appendonly="yes") as server, opened(server.url) as broker:
        assert broker.check() == []


def test_waking_up_is_no_polling(redis_server: RedisServer, broker: RedisBroker) -> None:
    """Were one who waits not told, it would be the timeout."""
    begun, waits = time.monotonic(), []

    def wait() -> None:
        with opened(redis_server.url) as other:
            read, write = os.pipe()
            other.register("c", 3600)
            numbers = itertools.count(1)
            for _ in range(50):
                while not (deliveries := other.claim("c", ["a", "q"], 10, next(numbers))):
                    other.wait(["a", "q"], FOREVER, read)
                waits.append(deliveries[0].payload)
                other.settle("c", [Settlement(delivery.tag) for delivery in deliveries])
            os.close(read)
            os.close(write)

    thread = threading.Thread(target=wait)
    thread.start()
    for count in range(50):
        until(lambda count=count: len(waits) == count, "it is told")  # type: ignore[misc]
        time.sleep(0.005)
        broker.publish(publications(b"%d" % count), SURE)
    thread.join(SURE)
    assert waits == [b"%d" % count for count in range(50)]
    assert time.monotonic() - begun < FOREVER / 2
