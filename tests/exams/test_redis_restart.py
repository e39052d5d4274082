"""A Redis that is killed and comes back, and results across it: nothing accepted is lost, nothing is done twice."""

import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.broker import Delivery, Publication, Settlement
from celeriac.brokers.redis import RedisBroker
from celeriac.config import Settings
from celeriac.errors import BrokerDown, StoreError
from celeriac.store import Record
from celeriac.stores import redis
from celeriac.stores.redis import RedisStore
from celeriac.testing.elsewhere import start as start_elsewhere
from tests.exams.test_redis_faults import cut_others, server_with
from tests.scenarios.journal import until
from tests.servers import RedisServer, free_port

pytestmark = pytest.mark.redis

#: What is to come comes within this time; FOREVER is what a wait takes that nobody ends.
LONG = 60.0
FOREVER = 600.0
PATIENT = Settings(broker_connection_timeout=LONG)


class Producer(threading.Thread):
    """Publishes numbers until told to stop; notes which were accepted, and which perhaps."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.broker = RedisBroker(url, Settings())
        self.accepted: set[bytes] = set()
        self.perhaps: set[bytes] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            batch = [b"%d" % n for n in range(number, number + random.randint(1, 5))]
            number += len(batch)
            due = time.time() + 0.02 if number % 3 == 0 else None
            try:
                self.broker.publish([Publication("i", "t", "q", payload, 0, due) for payload in batch], 2.0)
            except BrokerDown as error:
                if error.maybe_queued:
                    self.perhaps.update(batch)
            else:
                self.accepted.update(batch)
        self.broker.close()


class Consumer(threading.Thread):
    """Claims and settles as a worker does, reconciling after every failure; counts what was done for certain."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self.broker = RedisBroker(url, Settings())
        self.consumer = name
        self.done: Counter[bytes] = Counter()
        self.stopping = threading.Event()
        self.seq = 0
        self.broker.register(name, 3600)

    def run(self) -> None:
        unsettled: dict[int, Delivery] = {}
        reconcile = False
        while not self.stopping.is_set() or reconcile or unsettled:
            self.seq += 1
            try:
                if reconcile:
                    held = {d.tag: d for d in self.broker.held(self.consumer, self.seq)}
                    # What is not held any more was settled, though nobody said so.
                    self.done.update(d.payload for tag, d in unsettled.items() if tag not in held)
                    unsettled, reconcile = held, False
                else:
                    unsettled = {d.tag: d for d in self.broker.claim(self.consumer, ["q"], 20, self.seq)}
                if unsettled:
                    refused = self.broker.settle(self.consumer, [Settlement(tag) for tag in unsettled])
                    assert not refused
                    self.done.update(delivery.payload for delivery in unsettled.values())
                    unsettled = {}
            except BrokerDown:
                reconcile = True
                time.sleep(0.02)
        self.broker.close()


def await_more(producer: Producer) -> None:
    """Wait until the producer is in the middle of its work again."""
    enough = len(producer.accepted) + 50
    until(lambda: len(producer.accepted) >= enough, "more is accepted", 2 * LONG)


@pytest.mark.slow
def test_killed_and_restarted_in_the_middle_of_everything() -> None:
    with server_with(appendonly="yes", appendfsync="always") as server:
        producer = Producer(server.url)
        consumers = [Consumer(server.url, name) for name in ("one", "two")]
        for thread in (producer, *consumers):
            thread.start()
        for _ in range(4):
            await_more(producer)
            time.sleep(random.uniform(0, 0.3))
            server.restart(down=random.choice([0.0, 0.3]))
        await_more(producer)
        producer.stopping.set()
        producer.join(LONG)
        looking = RedisBroker(server.url, PATIENT)
        until(lambda: looking.depths() == {}, "all is done", 2 * LONG)
        for consumer in consumers:
            consumer.stopping.set()
            consumer.join(LONG)
            assert not consumer.is_alive()
        assert looking.depths() == {}
        looking.close()
    done = consumers[0].done + consumers[1].done
    assert len(producer.accepted) > 100
    assert producer.accepted - set(done) == set(), "accepted, and lost"
    assert set(done) - producer.accepted <= producer.perhaps
    assert {payload for payload, times in done.items() if times > 1} == set(), "done twice"


# -- waiting for results


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with server_with(appendonly="yes", appendfsync="always") as server:
        yield server


def when_somebody_waits(server: RedisServer, work: Callable[[], object]) -> threading.Thread:
    """Have it done as soon as somebody waits for a result."""

    def watch() -> None:
        await_waiter(server)
        work()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def await_waiter(server: RedisServer) -> None:
    until(lambda: server.command("PUBSUB", "CHANNELS") == "*1", "somebody waits for a result", LONG)


def opened(server: RedisServer, count: int = 2) -> list[RedisStore]:
    return [RedisStore(server.url, PATIENT) for _ in range(count)]


def test_a_wait_survives_a_cut(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "_CHECK", FOREVER)
    store, other = opened(server)

    def cut_and_store() -> None:
        cut_others(server)
        await_waiter(server)
        other.store([Record("id", "SUCCESS", b"1")])

    thread = when_somebody_waits(server, cut_and_store)
    start = time.monotonic()
    record = store.wait("id", FOREVER)
    assert record is not None
    assert record.result == b"1"
    assert time.monotonic() - start < FOREVER / 2
    thread.join()
    store.close()
    other.close()


def test_a_wait_survives_a_restart(server: RedisServer) -> None:
    (other,) = opened(server, 1)

    def restart_and_store() -> None:
        server.restart(down=0.5)
        other.store([Record("id", "SUCCESS", b"1")])

    thread = when_somebody_waits(server, restart_and_store)
    waiting = start_elsewhere(lambda: opened(server, 1)[0], lambda store: store.wait("id", None))
    thread.join()
    assert waiting.result(LONG) is not None
    other.close()


def test_a_wait_says_when_the_server_is_gone(server: RedisServer) -> None:
    (store,) = opened(server, 1)
    assert store.wait("id", 0.05) is None
    killer = when_somebody_waits(server, server.kill)
    start = time.monotonic()
    with pytest.raises(StoreError, match="connection refused"):
        for _ in range(int(LONG)):  # once unless the killer is kept from it for a second
            assert store.wait("id", 1.0) is None
    killer.join()
    assert time.monotonic() - start > 0.9
    store.close()


def test_waits_one_after_the_other(server: RedisServer) -> None:
    """They share a connection; what comes late for one is not taken for the next."""
    store, other = opened(server)
    assert store.wait("a", 0.05) is None
    other.store([Record("a", "SUCCESS", b'"a"')])
    records = [Record("b", "STARTED"), Record("b", "FAILURE", b'"b"')]
    thread = when_somebody_waits(server, lambda: other.store(records))
    record = store.wait("b", LONG)
    thread.join()
    assert record is not None
    assert (record.id, record.state) == ("b", "FAILURE")
    record = store.wait("a", LONG)
    assert record is not None
    assert record.id == "a"
    store.close()
    other.close()


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()
    words += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    words += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([openssl, *words], check=True, capture_output=True, timeout=60)
    return folder


def test_tls(certificate: Path) -> None:
    with server_with() as server:
        for name, value in (
            ("tls-cert-file", str(certificate / "cert.pem")),
            ("tls-key-file", str(certificate / "key.pem")),
            ("tls-ca-cert-file", str(certificate / "cert.pem")),
            ("tls-auth-clients", "no"),
        ):
            if server.command("CONFIG", "SET", name, value) != "+OK":
                pytest.skip("this redis-server was built without TLS")
        port = free_port()
        assert server.command("CONFIG", "SET", "tls-port", str(port)) == "+OK"
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}/cert.pem"
        broker = RedisBroker(url, PATIENT)
        broker.publish([Publication("i", "t", "q", b"x" * 1_000_000)], LONG)
        broker.register("c", 3600)
        read, write = os.pipe()
        broker.wait(["q"], FOREVER, read)
        (delivery,) = broker.claim("c", ["q"], 1, 1)
        assert delivery.size == 1_000_000
        assert broker.settle("c", [Settlement(delivery.tag)]) == set()
        timer = threading.Timer(
            0.2, RedisBroker(url, PATIENT).publish, [[Publication("i", "t", "q", b"m")], LONG]
        )
        timer.start()
        start = time.monotonic()
        broker.wait(["q"], FOREVER, read)
        timer.join()
        assert time.monotonic() - start < FOREVER / 2
        stranger = RedisBroker(f"rediss://127.0.0.1:{port}/0", PATIENT)
        with pytest.raises(BrokerDown, match="certificate verify failed"):
            stranger.depths()
        lax = RedisBroker(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none", PATIENT)
        assert lax.depths()["q"].ready == 1
        for opened in (broker, stranger, lax):
            opened.close()
        os.close(read)
        os.close(write)
