"""huey on SQLite, WAL, synchronous NORMAL as all SQLite contenders here. At most once."""

import sqlite3

from huey import SqliteHuey
from huey.storage import SqliteStorage

from bench import arena

from .huey_tasks import HueyContender


class NormalStorage(SqliteStorage):  # type: ignore[misc]
    """huey's storage knows only FULL and OFF."""

    def _create_connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._create_connection()
        connection.execute("pragma synchronous=normal")
        return connection


class NormalHuey(SqliteHuey):  # type: ignore[misc]
    storage_class = NormalStorage


huey = NormalHuey("bench", filename=arena.SQLITE_FILE, results=arena.RESULTS, store_none=True, timeout=20)
_contender = HueyContender(huey)
prepare = _contender.prepare
one_by_one = _contender.one_by_one
fill = _contender.fill
note = _contender.note
waiting = _contender.waiting
stored = _contender.stored
