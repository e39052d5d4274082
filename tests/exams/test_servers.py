"""The private servers that the exams run against do what the tests rely on."""

import socket

import pytest

from tests.servers import PostgresServer, RedisServer, ServerMissing, _missing, _program


@pytest.fixture
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


@pytest.mark.redis
def test_redis_answers_on_port_and_socket(redis_server: RedisServer) -> None:
    assert redis_server.command("PING") == "+PONG"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(redis_server.folder / "socket"))
        client.sendall(b"PING\r\n")
        assert client.recv(10) == b"+PONG\r\n"


@pytest.mark.redis
def test_redis_with_a_log_survives_a_kill(redis_server: RedisServer) -> None:
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        assert server.command("SET", "key", "value") == "+OK"
        server.restart()
        assert server.command("STRLEN", "key") == ":5"
        folder = server.folder
    assert not folder.exists()
    with pytest.raises(OSError, match="refused"):
        server.command("PING")
    server.stop()


@pytest.mark.redis
def test_a_frozen_redis_is_silent(redis_server: RedisServer) -> None:
    with RedisServer() as server:
        server.freeze()
        with socket.create_connection(("127.0.0.1", server.port), 60) as client:
            client.settimeout(0.2)
            client.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                client.recv(10)
            server.thaw()
            client.settimeout(60)
            assert client.recv(10) == b"+PONG\r\n"


@pytest.mark.postgres
def test_postgres_takes_statements_and_survives_a_kill(postgres_server: PostgresServer) -> None:
    psycopg = pytest.importorskip("psycopg")
    with PostgresServer(durable=True) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE TABLE t AS SELECT 42 AS n")
        server.restart()
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("SELECT n FROM t").fetchone() == (42,)


@pytest.mark.usefixtures("no_ci")
def test_a_missing_server_skips_at_home() -> None:
    with pytest.raises(ServerMissing) as caught:
        _program("no-such-server")
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        _missing(caught.value)


def test_a_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="all servers"):
        _missing(ServerMissing("no-such-server"))


def test_a_server_that_does_not_start_says_why(redis_server: RedisServer) -> None:
    with pytest.raises(RuntimeError, match="Bad directive"), RedisServer(no_such_option="1"):
        pass
