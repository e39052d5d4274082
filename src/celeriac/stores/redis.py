"""The result store on Redis (or Valkey): Celery's keys, channels and JSON.

A record is stored and told in one step; who waits has subscribed before it looks, so nothing is slept through.
Where the broker is the same database, `celeriac.brokers.redis` writes records together with its settlements.
"""

import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from celeriac.config import Settings
from celeriac.errors import StoreError
from celeriac.message.result_format import ResultFormat
from celeriac.redis_client import address
from celeriac.redis_client.client import Client
from celeriac.redis_client.connection import Connection, Lost, ServerError, Unsent, pack
from celeriac.redis_client.failures import FAILURES, Failure, explain, is_outage
from celeriac.redis_client.scripts import Argument, load
from celeriac.redis_client.store import META_PREFIX, KeepsOnRedis, record_arguments
from celeriac.states import SUCCESS
from celeriac.store import Record, ResultStore, beside_successes

#: How long the server may take for an answer.
_PATIENCE = 5.0
#: How long `wait` bears that the server is away.
_OUTAGE = 30.0
#: How often a waiter makes sure that its connection lives.
_CHECK = 20.0
_PORTION = 2_000


class RedisStore(KeepsOnRedis, ResultStore):
    """Records on a Redis server, 6.2 or later."""

    schemes = ("redis", "rediss", "redis+socket", "valkey")

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        where = address.parse(url)
        expires = settings.result_expires
        self.safe_url = where.safe_url
        self.place = where.place
        self.format = ResultFormat(settings)
        self.seconds = max(1, math.ceil(expires)) if expires else ""
        self._client = Client(where, settings.broker_connection_timeout)
        self._listening = Client(where, settings.broker_connection_timeout)
        shared = (Path(address.__file__).with_name("record.lua")).read_bytes()
        self._keep = load(Path(__file__).parent, ["redis_store"], {}, shared)["redis_store"]

    def store(self, records: Sequence[Record]) -> None:
        if not self.format.plain:
            # The script knows a SUCCESS in JSON only: of two workers that store one task's record at the very same
            # time the later one wins.
            records = beside_successes(records, self.fetch)
        try:
            for first in range(0, len(records), _PORTION):
                args: list[Argument] = [self.seconds]
                for record in records[first : first + _PORTION]:
                    args += self._arguments(record)
                self._keep.run(self._client.connection(_PATIENCE), args, _PATIENCE)
        except FAILURES as failure:
            raise self._failure(failure) from None

    def _arguments(self, record: Record) -> tuple[str, bytes, str]:
        if self.format.plain:
            return record_arguments(record)
        return META_PREFIX + record.id, self.format.encode(record), "1" if record.state == SUCCESS else ""

    def fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        records: dict[str, Record] = {}
        for first in range(0, len(ids), _PORTION):
            some = ids[first : first + _PORTION]
            texts = self._call("MGET", *[META_PREFIX + task_id for task_id in some])
            for task_id, text in zip(some, texts, strict=True):
                if text is not None:
                    records[task_id] = self.format.decode(text)
        return records

    def wait(self, task_id: str, timeout: float | None) -> Record | None:
        return self.wait_any([task_id], timeout).get(task_id)

    def wait_any(self, ids: Collection[str], timeout: float | None) -> dict[str, Record]:
        keys = {META_PREFIX + task_id: task_id for task_id in ids}
        deadline = None if timeout is None else time.monotonic() + timeout
        away_since: float | None = None
        while keys:
            left = math.inf if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                connection = self._listening.lasting(_PATIENCE)
                try:
                    found = self._listen(connection, list(keys), left)
                finally:
                    self._unsubscribe(connection)
                return {keys[key]: record for key, record in found.items()}
            except (Unsent, Lost, ServerError) as failure:
                now = time.monotonic()
                away_since = away_since or now
                given_up = now - away_since > _OUTAGE or (deadline is not None and now >= deadline)
                if given_up or not is_outage(failure):
                    raise self._failure(failure) from None
            time.sleep(min(0.2, left))  # the server is away: try again in a moment
        return {}

    def _listen(self, connection: Connection, keys: list[str], left: float) -> dict[str, Record]:
        """Subscribe, look, and listen for `left` seconds until there is a final record; return all at hand then."""
        deadline = time.monotonic() + left
        # One answer for all: it knows of every message that `exchange` passes over. (Confirmations are pushes too.)
        look = pack(("MGET", *keys))
        listen = pack(("SUBSCRIBE", *keys))
        while True:
            texts = connection.exchange(listen + look, 1, _PATIENCE)[0]
            listen = b""
            found: dict[str, Record] = {}
            for key, text in zip(keys, texts, strict=True):
                self._add_final(found, key, text)
            while not found:
                left = deadline - time.monotonic()
                if left <= 0:
                    return found
                push = connection.push(min(left, _CHECK))
                if push is None:
                    break  # silence: make sure that the connection lives
                self._add_told(found, push)
            if found:
                while (push := connection.push(0)) is not None:
                    self._add_told(found, push)
                return found

    def _add_told(self, found: dict[str, Record], push: list[Any]) -> None:
        if push[0] == b"message":
            self._add_final(found, push[1].decode(), push[2])

    def _add_final(self, found: dict[str, Record], key: str, text: bytes | None) -> None:
        record = None if text is None else self.format.decode(text)
        if record is not None and record.ready:
            found[key] = record

    def _unsubscribe(self, connection: Connection) -> None:
        if connection.mine:
            try:
                connection.exchange(pack(("UNSUBSCRIBE",)) + pack(("PING",)), 1, _PATIENCE)
            except FAILURES:
                pass  # it is closed, which ends the subscription as well

    def forget(self, ids: Collection[str]) -> None:
        keys = [META_PREFIX + task_id for task_id in ids]
        for first in range(0, len(keys), _PORTION):
            self._call("UNLINK", *keys[first : first + _PORTION])

    def close(self) -> None:
        self._client.close()
        self._listening.close()

    def _call(self, *command: str) -> Any:
        try:
            return self._client.connection(_PATIENCE).exchange(pack(command), 1, _PATIENCE)[0]
        except FAILURES as failure:
            raise self._failure(failure) from None

    def _failure(self, failure: Failure) -> StoreError:
        return StoreError(explain(failure, self.safe_url))
