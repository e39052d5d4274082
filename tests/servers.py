"""Private servers for tests: started on a free port with their data in a temporary folder, stopped and removed after.

Each is a context manager that can also be killed, restarted on the same data, and frozen. They die with the test
process. The fixtures skip at home where a server's program is missing, and fail where CI is set.
"""

import contextlib
import fcntl
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

#: Seconds that a busy machine may take for a start, an end, or an answer.
START_TIMEOUT = 110.0


class ServerMissing(Exception):
    """The program of a server is not installed."""


#: Where the kernel gives none to outgoing connections: its own begin at 32768 on Linux, at 49152 elsewhere.
_PORTS = range(10_000, 30_000)


def free_port(host: str = "127.0.0.1", family: int = socket.AF_INET) -> int:
    """Return a port that nobody listens on, and that no other test process is given while this one lives.

    An outgoing connection cannot take it either before the server starts, or between its end and its next start.
    """
    folder = Path(tempfile.gettempdir(), f"celeriac-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for port in random.SystemRandom().sample(_PORTS, 1_000):
        claim = os.open(
            folder / str(port), os.O_CREAT | os.O_RDWR
        )  # left open: the lock ends with the process
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server((host, port), family=family).close()
        except OSError:
            os.close(claim)
        else:
            return port
    raise AssertionError("No port is free.")


def _program(name: str, *folders: str) -> str:
    for folder in (*folders, None):
        if found := shutil.which(name, path=folder):
            return found
    raise ServerMissing(name)


class _Server:
    """One process with a folder of its own."""

    #: What this server's folder is called.
    name = ""
    #: The user that runs it where the tests run as root (None: root too).
    user: str | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"celeriac-{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        if self.user is not None:
            shutil.chown(self.folder, self.user)

    def command_line(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Return whether the server answers."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Do what has to be done before the first start."""

    def run_as_user(self) -> dict[str, Any]:
        """Return arguments for `subprocess` that make a child run as `user`."""
        return {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}

    @property
    def log(self) -> str:
        """What the server has said."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the server and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command_line(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.run_as_user(),
            )
        # Ends the server when this process is gone, however it went: then nobody holds the pipe's other end.
        watch = f"cat > /dev/null; kill -9 -{self._process.pid}; rm -rf {shlex.quote(str(self.folder))}"
        self._watchdog = subprocess.Popen(["sh", "-c", watch], stdin=subprocess.PIPE, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        pause = threading.Event()
        while not self.is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not start:\n{self.log[-2000:]}")
            pause.wait(0.02)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL to all of the server's processes."""
        if self._watchdog is not None:
            assert self._watchdog.stdin is not None
            self._watchdog.kill()
            self._watchdog.wait(START_TIMEOUT)
            self._watchdog.stdin.close()
            self._watchdog = None
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(START_TIMEOUT)
        self._process = None

    def restart(self, down: float = 0.0) -> None:
        """Kill the server and start it on the same data and port, `down` seconds later."""
        self.kill()
        if down:
            threading.Event().wait(down)
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the server and remove its folder; may be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Any":
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class RedisServer(_Server):
    """A Redis; keyword arguments are its configuration: `RedisServer(appendonly="yes", appendfsync="always")`."""

    name = "redis"

    def __init__(self, **options: str) -> None:
        self._program = _program("redis-server")
        super().__init__()
        self.options = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"} | {
            name.replace("_", "-"): value for name, value in options.items()
        }

    @property
    def url(self) -> str:
        """The URL of database 0 by TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The URL of database 0 by Unix socket."""
        return f"redis+socket://{self.folder}/socket?virtual_host=0"

    def command_line(self) -> list[str]:
        words = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        words += [
            "--unixsocket",
            str(self.folder / "socket"),
            "--unixsocketperm",
            "700",
            "--enable-debug-command",
            "yes",
        ]
        for name, value in self.options.items():
            words += [f"--{name}", value]
        return words

    def is_up(self) -> bool:
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False

    def command(self, *words: str) -> str:
        """Send one command; return the first line of the reply as it comes: `+OK`, `:3`, `-ERR ...`."""
        with socket.create_connection(("127.0.0.1", self.port), START_TIMEOUT) as connection:
            parts = [word.encode() for word in words]
            connection.sendall(
                b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
            )
            with connection.makefile("rb") as reply:
                return reply.readline().decode().rstrip("\r\n")

    def flush(self) -> None:
        """Drop everything."""
        assert self.command("FLUSHALL") == "+OK"


class PostgresServer(_Server):
    """A PostgreSQL with a superuser `postgres` and no password. With `durable`, a commit is on disk as it should be."""

    name = "postgres"
    user = "postgres" if os.getuid() == 0 else None

    def __init__(self, *, durable: bool = False, **options: str) -> None:
        newest_first = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True
        )
        folders = [str(path) for path in newest_first]
        self._initdb, self._postgres = _program("initdb", *folders), _program("postgres", *folders)
        self._isready = _program("pg_isready", *folders)
        super().__init__()
        fast = {} if durable else {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        self.options = {"max_connections": "60", "shared_buffers": "32MB", "timezone": "UTC"} | fast | options

    @property
    def host(self) -> str:
        """The folder of the Unix socket."""
        return str(self.folder)

    def prepare(self) -> None:
        words = ["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(
            [self._initdb, *words],
            cwd=self.folder,
            capture_output=True,
            timeout=START_TIMEOUT,
            check=False,
            **self.run_as_user(),
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr.decode(errors='replace')}")

    def command_line(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.host,
        }
        words = [self._postgres, "-D", str(self.folder / "data")]
        for name, value in (settings | self.options).items():
            words += ["-c", f"{name}={value}"]
        return words

    def is_up(self) -> bool:
        words = [
            self._isready,
            "-q",
            "-h",
            self.host,
            "-p",
            str(self.port),
            "-d",
            "postgres",
            "-U",
            "postgres",
        ]
        return subprocess.run(words, check=False, timeout=START_TIMEOUT).returncode == 0

    def freeze(self) -> None:
        # The postmaster first, and until it has stopped: it might just be about to start another.
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._signal_backends(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_backends(signal.SIGCONT)
        self._signal(signal.SIGCONT)

    def _signal_backends(self, number: signal.Signals) -> None:
        """Signal the processes of the server beside its first: each has a process group of its own."""
        if self._process is None or self._process.poll() is not None:
            return
        postmaster = self._process.pid
        for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def dsn(self, database: str = "postgres") -> str:
        """Return the words for psycopg or libpq."""
        return f"host={self.host} port={self.port} user=postgres dbname={database}"

    def django(self, database: str = "postgres") -> dict[str, Any]:
        """Return an entry for DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database,
            "USER": "postgres",
            "HOST": self.host,
            "PORT": str(self.port),
        }


def install_mariadb_driver() -> None:
    """See that Django finds a driver: its own, mysqlclient, where that is installed, else PyMySQL."""
    if "MySQLdb" not in sys.modules and find_spec("MySQLdb") is None:
        import pymysql

        pymysql.install_as_MySQLdb()  # type: ignore[no-untyped-call]


class MariaDBServer(_Server):
    """A MariaDB with a user `root` and no password."""

    name = "mariadb"
    user = "mysql" if os.getuid() == 0 else None

    def __init__(self, **options: str) -> None:
        self._install = _program("mariadb-install-db")
        self._server = _program("mariadbd", "/usr/sbin", "/usr/libexec")
        super().__init__()
        fast = {
            "innodb-flush-log-at-trx-commit": "0",
            "innodb-flush-method": "nosync",
            "innodb-buffer-pool-size": "64M",
            "innodb-log-file-size": "32M",
        }
        self.options = {"max-allowed-packet": "64M", "default-time-zone": "+00:00"} | fast | options

    @property
    def socket(self) -> str:
        """The Unix socket."""
        return str(self.folder / "socket")

    def prepare(self) -> None:
        words = ["--no-defaults", f"--datadir={self.folder}/data", f"--tmpdir={self.folder}"]
        words += ["--auth-root-authentication-method=normal"]
        done = subprocess.run(
            [self._install, *words, "--skip-test-db", "--innodb-log-file-size=32M"],
            cwd=self.folder,
            capture_output=True,
            timeout=START_TIMEOUT,
            check=False,
            **self.run_as_user(),
        )
        if done.returncode:
            raise RuntimeError(f"mariadb-install-db failed:\n{done.stderr.decode(errors='replace')}")

    def command_line(self) -> list[str]:
        settings = {
            "datadir": f"{self.folder}/data",
            "tmpdir": str(self.folder),  # in one that several share, they delete each other's tables
            "socket": self.socket,
            "pid-file": f"{self.folder}/pid",
            "skip-networking": "on",  # its socket is enough, and a port may be taken by the time that it starts
        }
        return [
            self._server,
            "--no-defaults",
            *(f"--{name}={value}" for name, value in (settings | self.options).items()),
        ]

    def is_up(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(self.socket)
                return bool(connection.recv(1))  # it speaks first
            except OSError:
                return False

    def execute(self, statement: str) -> None:
        """Run one statement."""
        import pymysql

        connection = pymysql.connect(
            unix_socket=self.socket, user="root", autocommit=True, connect_timeout=60
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def django(self, database: str = "celeriac") -> dict[str, Any]:
        """Make a database and return its entry for DATABASES."""
        install_mariadb_driver()
        self.execute(f"CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4")
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": database,
            "USER": "root",
            "HOST": self.socket,
            "OPTIONS": {"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60},
        }


def _missing(error: ServerMissing) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{error} is not installed, and CI tests with all servers.", pytrace=False)
    pytest.skip(f"{error} is not installed")


def _running(make: Callable[[], Any]) -> Iterator[Any]:
    try:
        server = make()
    except ServerMissing as error:
        _missing(error)
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for the whole session; a test that wants it empty calls `flush`."""
    yield from _running(RedisServer)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session; a test module makes a database of its own in it."""
    yield from _running(PostgresServer)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """One MariaDB for the whole session; a test module makes a database of its own in it."""
    yield from _running(MariaDBServer)
