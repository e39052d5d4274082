"""A Redis that is killed and comes back, and results across it: nothing accepted is lost, nothing is done twice."""

import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.broker import Delivery, Publication, Settlement
from celeriac.brokers.redis import RedisBroker
from celeriac.config import Settings
from celeriac.errors import BrokerDown, StoreError
from celeriac.store import Record
from celeriac.stores.redis import RedisStore
from tests.exams.test_redis_faults import cut_others, server_with
from tests.servers import RedisServer

pytestmark = pytest.mark.redis

LONG = 30.0


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

    def run(self) -> None:
        self.broker.register(self.consumer, 600)
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


@pytest.mark.slow
def test_killed_and_restarted_in_the_middle_of_everything() -> None:
    with server_with(appendonly="yes", appendfsync="always") as server:
        producer = Producer(server.url)
        consumers = [Consumer(server.url, name) for name in ("one", "two")]
        for thread in (producer, *consumers):
            thread.start()
        for _ in range(4):
            time.sleep(random.uniform(0.3, 0.8))
            server.restart(down=random.choice([0.0, 0.3]))
        time.sleep(0.3)
        producer.stopping.set()
        producer.join(LONG)
        looking = RedisBroker(server.url, Settings())
        deadline = time.monotonic() + LONG
        while looking.depths() and time.monotonic() < deadline:
            time.sleep(0.05)
        for consumer in consumers:
            consumer.stopping.set()
            consumer.join(LONG)
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


def later(seconds: float, work: object, *args: object) -> threading.Timer:
    timer = threading.Timer(seconds, work, args)  # type: ignore[arg-type]
    timer.start()
    return timer


def test_a_wait_survives_a_cut(server: RedisServer) -> None:
    store, other = RedisStore(server.url, Settings()), RedisStore(server.url, Settings())
    timers = [later(0.2, cut_others, server), later(0.6, other.store, [Record("id", "SUCCESS", b"1")])]
    start = time.monotonic()
    record = store.wait("id", 20)
    assert record is not None
    assert record.result == b"1"
    assert time.monotonic() - start < 5
    for timer in timers:
        timer.join()
    store.close()
    other.close()


def test_a_wait_survives_a_restart(server: RedisServer) -> None:
    store, other = RedisStore(server.url, Settings()), RedisStore(server.url, Settings())

    def restart_and_store() -> None:
        server.restart(down=0.5)
        other.store([Record("id", "SUCCESS", b"1")])

    timer = later(0.2, restart_and_store)
    record = store.wait("id", None)
    assert record is not None
    timer.join()
    store.close()
    other.close()


def test_a_wait_says_when_the_server_is_gone(server: RedisServer) -> None:
    store = RedisStore(server.url, Settings())
    assert store.wait("id", 0.05) is None
    killer = later(0.1, server.kill)
    start = time.monotonic()
    with pytest.raises(StoreError, match="connection refused"):
        store.wait("id", 1.0)
    killer.join()
    assert 0.9 < time.monotonic() - start < 4
    store.close()


def test_waits_one_after_the_other(server: RedisServer) -> None:
    """They share a connection; what comes late for one is not taken for the next."""
    store, other = RedisStore(server.url, Settings()), RedisStore(server.url, Settings())
    assert store.wait("a", 0.05) is None
    other.store([Record("a", "SUCCESS", b'"a"')])
    timer = later(0.2, other.store, [Record("b", "STARTED"), Record("b", "FAILURE", b'"b"')])
    record = store.wait("b", 10)
    timer.join()
    assert record is not None
    assert (record.id, record.state) == ("b", "FAILURE")
    record = store.wait("a", 10)
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
        # The next port may be another test's server's.
        ports = (server.port + step if server.port < 65000 else server.port - step for step in range(1, 30))
        port = next(port for port in ports if server.command("CONFIG", "SET", "tls-port", str(port)) == "+OK")
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}/cert.pem"
        broker = RedisBroker(url, Settings())
        broker.publish([Publication("i", "t", "q", b"x" * 1_000_000)], 5.0)
        broker.register("c", 60)
        read, write = os.pipe()
        broker.wait(["q"], 10, read)
        (delivery,) = broker.claim("c", ["q"], 1, 1)
        assert delivery.size == 1_000_000
        assert broker.settle("c", [Settlement(delivery.tag)]) == set()
        timer = later(0.2, RedisBroker(url, Settings()).publish, [Publication("i", "t", "q", b"m")], 2.0)
        start = time.monotonic()
        broker.wait(["q"], 10, read)
        timer.join()
        assert time.monotonic() - start < 5
        stranger = RedisBroker(f"rediss://127.0.0.1:{port}/0", Settings())
        with pytest.raises(BrokerDown, match="certificate verify failed"):
            stranger.depths()
        lax = RedisBroker(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none", Settings())
        assert lax.depths()["q"].ready == 1
        for opened in (broker, stranger, lax):
            opened.close()
        os.close(read)
        os.close(write)
