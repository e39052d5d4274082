"""The broker and the result store of an app: opened when they are first asked for, closed with it.

A base class of `celeriac.app.Celeriac`. Sends nothing.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celeriac import brokers, stores
from celeriac.broker import Broker
from celeriac.configured import Configured
from celeriac.errors import ImproperlyConfigured
from celeriac.hooks import Outbox
from celeriac.store import ResultStore

#: Settings that a broker or store is made with.
_OF_KEEPERS = frozenset(
    "broker_url broker_transport_options result_backend result_expires result_serializer result_accept_content "
    "accept_content result_compression".split()
)


class Connected(Configured):
    """Has a broker and a result store, as the settings name them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._broker: Broker | None = None
        self._store: tuple[ResultStore | None] | None = None
        self._outbox: tuple[Outbox | None] | None = None
        # celeriac.unread's; `_watched` where it is to look at all that is sent.
        self._unread: Any = None
        self._watched: Any = None
        self._lent = False  # broker and store are a test's, which closes them itself

    def settings_changed(self, names: Collection[str]) -> None:
        super().settings_changed(names)
        self._outbox = None
        if not _OF_KEEPERS.isdisjoint(names):
            self.close_keepers()

    @property
    def broker(self) -> Broker:
        """The broker that `broker_url` names; raises ImproperlyConfigured."""
        if self._broker is None:
            url = self.conf.broker_url
            if url is None:
                raise ImproperlyConfigured(
                    "broker_url is not set, and there is no Django database to take its place. Set it: "
                    "Celeriac(broker='redis://localhost:6379/0'), or CELERY_BROKER_URL in the environment."
                )
            if self.conf.task_outbox and self.framework is None:
                raise ImproperlyConfigured(
                    "task_outbox is on, and there is no Django database to keep it in."
                )
            self._broker = brokers.KEEPERS.open(url, self.conf)
            from celeriac.unread import Unread  # noqa: PLC0415 - who only defines tasks does without

            framework = self.framework
            self._unread = Unread(self._broker, framework)
            self._watched = self._unread if framework is not None and framework.is_debugging() else None
        return self._broker

    @property
    def store(self) -> ResultStore | None:
        """The result store that `result_backend` names, None if it is not set; raises ImproperlyConfigured."""
        if self._store is None:
            url = self.conf.result_backend
            disabled = url is None or url in ("disabled", "disabled://")
            self._store = (None if disabled else stores.KEEPERS.open(url or "", self.conf),)
        return self._store[0]

    @property
    def outbox(self) -> Outbox | None:
        """Where messages wait for a commit, None where `task_outbox` is off; raises ImproperlyConfigured."""
        if self._outbox is None:
            framework = self.framework if self.conf.task_outbox and not self._lent else None
            timeout = self.conf.task_publish_timeout
            self._outbox = (None if framework is None else framework.outbox(self.broker, timeout),)
        return self._outbox[0]

    @contextmanager
    def lent(self, broker: Broker, store: ResultStore | None, clock: Callable[[], float]) -> Iterator[None]:
        """Use these inside the block, and send even where `task_always_eager` is on: for `celeriac.testing`."""
        before = self._broker, self._store, self._lent, self.clock
        settings = self.conf.task_always_eager, self.conf.broker_url
        self._broker, self._store, self._lent, self.clock = broker, (store,), True, clock
        unread, self._unread, self._watched = (self._unread, self._watched), None, None
        self.conf.task_always_eager, self.conf.broker_url = False, broker.safe_url
        self.settings_changed(())
        try:
            yield
        finally:
            self._broker, self._store, self._lent, self.clock = before
            self._unread, self._watched = unread
            self.conf.task_always_eager, self.conf.broker_url = settings
            self.settings_changed(())

    def close_keepers(self) -> None:
        """Close broker and store, which are opened anew when they are asked for again; not those that are lent."""
        if self._lent:
            return
        if self._broker is not None:
            self._broker.close()
        if self._store is not None and self._store[0] is not None:
            self._store[0].close()
        self._broker = self._store = self._unread = self._watched = self._outbox = None
