"""No task queue at all: one INSERT per transaction with the sqlite3 module. The limit, not a peer."""

import sqlite3
import uuid
from collections.abc import Iterable

from bench import arena

connection = sqlite3.connect(arena.SQLITE_FILE, timeout=20, isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=NORMAL")


def prepare() -> None:
    connection.execute("CREATE TABLE task (id INTEGER PRIMARY KEY, uuid TEXT, queue TEXT, body TEXT)")


def one_by_one(numbers: Iterable[int]) -> None:
    padding = "x" * 300
    for number in numbers:
        connection.execute(
            "INSERT INTO task (uuid, queue, body) VALUES (?, 'bench', ?)",
            (str(uuid.uuid4()), f"{number}{padding}"),
        )


def waiting() -> int:
    return int(connection.execute("SELECT count(*) FROM task").fetchone()[0])
