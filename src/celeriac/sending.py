"""From a call to a publication: options merged once, message made, bytes encoded.

`Sender` is the app's hot path: `App.send` asks it for a `Publication` and publishes that. It reads settings and
routes, never a broker.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from celeriac import canvas
from celeriac.arguments import bounded_repr, caller_place, explain_unencodable
from celeriac.broker import Publication
from celeriac.config import Settings
from celeriac.context import current
from celeriac.errors import EncodeError, QueueNotFound, WrongLimits, WrongOption
from celeriac.limits import Pair, of_task
from celeriac.message import compression, protocol, serializers
from celeriac.message.message import Headers, Message, Properties, new_id
from celeriac.publishing import is_json, prepare
from celeriac.signals import before_task_publish
from celeriac.task import Task

if TYPE_CHECKING:  # who signs nothing does without
    from celeriac.message.signing import Signer

_EMBED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_EMBED_JSON = b',{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
_NO_LIMITS = (None, None)
#: Queue, priority, and other options that a route has for a task.
Route = tuple[str, int, Mapping[str, Any]]
#: Options that a task may have of its own, and those of them that say more than where it goes.
_OWN = ("queue", "exchange", "routing_key", "priority", "serializer", "compression")
_MORE = ("serializer", "compression", "headers")
_LIMITS = ("time_limit", "soft_time_limit")

logger = logging.getLogger("celeriac")

_naive_places: set[str] = set()
_MANY_PLACES = 1000
_origin = ""


def origin() -> str:
    """Return the name of this process as a sender, `gen<pid>@<host>`."""
    global _origin  # asking for the process id anew would cost as much as the whole header
    if not _origin:
        _origin = f"gen{os.getpid()}@{socket.gethostname()}"
    return _origin


def _forget_origin() -> None:
    global _origin
    _origin = ""


os.register_at_fork(after_in_child=_forget_origin)


class Batch:
    """What is sent inside `with app.batch()`, until it is published at the end of the block."""

    __slots__ = ("_open", "_uncommitted", "app", "publications")

    def __init__(self, app: object) -> None:
        self.app = app
        self.publications: list[Publication] = []
        self._open = True
        self._uncommitted: Callable[[], bool] | None = None

    def close(self, uncommitted: Callable[[], bool] | None) -> None:
        """Note that all is published, or will be as soon as `uncommitted` returns False."""
        self._open = False
        self._uncommitted = uncommitted

    def unpublished(self) -> bool:
        """Return whether the batch is still to be published; for ever, if its block raised."""
        return self._open or (self._uncommitted is not None and self._uncommitted())


class Sender:
    """Makes messages for one app under its settings."""

    def __init__(
        self,
        conf: Settings,
        clock: Callable[[], float] = time.time,
        finish: Callable[[Task], None] | None = None,
        signer: "Signer | None" = None,
    ) -> None:
        self.conf = conf
        self._signer = signer
        self._finish = finish
        self._clock = clock
        # By task, not by name: one that was sent by its name may be registered later, with a queue of its own.
        self._routes: dict[Task, Route] = {}
        self._router: Any = None  # celeriac.routing's

    def publication(
        self,
        task: Task,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        told: bool = True,
    ) -> Publication:
        """Return the message of a call, encoded, and where it goes; raises CallError or EncodeError.

        Tells `before_task_publish`, unless `told` is False.
        """
        if task.dump_arguments is not None and self._serializer(task, options) != "pickle":
            args, kwargs = task.dump_arguments(args, kwargs)
        queue, priority, more = self._routes.get(task) or self._route(task, args, kwargs, options)
        if more:
            options = {**more, **{name: value for name, value in options.items() if value is not None}}
        if options and _names_queue(options):
            queue = self._queue(task, args, kwargs, options)
        embed = _follow_ups(options) if options else _EMBED
        body, content_type, encoding = self._body(task, args, kwargs, embed, options)
        size = len(body)
        task_id = options.get("task_id") if options else None
        task_id = new_id() if task_id is None else _check_id(task_id)
        request = current.get()
        headers = Headers(task.name, task_id)
        covers = task.covers
        shown, named = (tuple(args), kwargs) if covers is None else covers.cover(args, kwargs)
        headers.argsrepr = bounded_repr(shown, size)
        headers.kwargsrepr = bounded_repr(named, size) if kwargs else "{}"
        headers.origin = _origin or origin()
        headers.ignore_result = task.ignore_result
        if request is None:
            headers.root_id = task_id
        else:
            headers.root_id = request.root_id or request.id
            headers.parent_id = request.id
        message = Message(
            headers,
            Properties(
                correlation_id=task_id,
                reply_to="",
                delivery_mode=2,
                priority=priority,
                timestamp=self._clock(),
            ),
            body,
            content_type,
            encoding,
        )
        due, conf = None, self.conf
        if options or task.expires is not None:
            due = self._apply_options(task, message, options)
        if task.has_shadow_name and not headers.shadow:
            headers.shadow = task.shadow_name(args, kwargs, options)
        if options or task.compression or conf.task_compression:
            self._compress(task, message, options)
        if before_task_publish.receivers and told:
            prepare(message, queue, (list(args), dict(kwargs), dict(embed)))
        payload = (
            protocol.encode(message, queue, self._signer)
            if conf.task_protocol == 2
            else protocol.encode_protocol_1(message, queue, self._signer)
        )
        if len(payload) > conf.worker_max_message_bytes:
            raise self._too_large(task, len(payload))
        return Publication(task_id, task.name, queue, payload, message.properties.priority or 0, due)

    def ignores(self, task: Task, options: Mapping[str, Any]) -> bool:
        """Return whether the call's result will not be stored."""
        ignored = options.get("ignore_result") if options else None
        if ignored is None:
            ignored = task.ignore_result
        return bool(self.conf.task_ignore_result if ignored is None else ignored)

    def _body(
        self,
        task: Task,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        embed: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> tuple[bytes, str, str]:
        name = (
            (options.get("serializer") if options else None) or task.serializer or self.conf.task_serializer
        )
        kwargs = kwargs if type(kwargs) is dict else dict(kwargs)
        if name == "json" and embed is _EMBED and serializers.is_plain(args, kwargs):
            encode = serializers.json_dumps_plain
            body = b"[" + encode(args) + b"," + (encode(kwargs) if kwargs else b"{}") + _EMBED_JSON
            return body, "application/json", "utf-8"
        serializer = serializers.find(name)
        try:
            body = serializer.dumps([list(args), kwargs, embed])
        except EncodeError as error:
            raise explain_unencodable(
                task.name, task.arity, task.covers, args, kwargs, serializer, error
            ) from None
        return body, serializer.content_type, serializer.content_encoding

    def _serializer(self, task: Task, options: Mapping[str, Any]) -> str:
        name: str = options.get("serializer") or task.serializer or self.conf.task_serializer
        return name

    def _compress(self, task: Task, message: Message, options: Mapping[str, Any]) -> None:
        """Compress the body if the call, else the task, else the settings say so; "" is a plain no."""
        name = options.get("compression")
        if name is None:
            name = self.conf.task_compression if task.compression is None else task.compression
        if not name:
            return
        if len(message.body) > self.conf.worker_max_message_bytes:
            raise self._too_large(task, len(message.body))  # workers bound what they decompress
        message.body, message.compression = compression.compress(message.body, name)

    def _too_large(self, task: Task, size: int) -> EncodeError:
        return EncodeError(
            f"The arguments of {task.name} make a message of {size:,} bytes; "
            f"worker_max_message_bytes allows {self.conf.worker_max_message_bytes:,}. Store them (a file, a row) "
            f"and pass where they are.{caller_place()}"
        )

    def _route(
        self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Route:
        """Return where a task goes: by its attributes, then its route, then the settings.

        Worked out once for each task, unless it is not the same at each call.
        """
        if self._finish is not None:
            self._finish(task)
        conf, router = self.conf, self._fresh_router()
        _refuse_contradiction(*of_task(task, conf))
        own = _own(task)
        found, static = router.lookup(task, args, kwargs, {**own, **options})
        try:
            queue = router.destination(own, found)
        except QueueNotFound:
            if not _names_queue(options):
                raise
            queue, static = "", False
        priority = own.get("priority", found.get("priority"))
        if priority is None and conf.task_inherit_parent_priority and (parent := current.get()) is not None:
            priority, static = parent.message.properties.priority, False
        if priority is None:
            priority = conf.task_default_priority
        more = {name: found[name] for name in _MORE if found.get(name) is not None and name not in own}
        more |= {name: value for name in _LIMITS if (value := getattr(task, name))}
        route = queue, _check_priority(priority), more
        if static:
            self._routes[task] = route
        return route

    def _fresh_router(self) -> Any:
        router = self._router
        if router is None or router.outdated(self.conf):
            from celeriac.routing import Router  # noqa: PLC0415 - who only defines tasks does without

            router = self._router = Router(self.conf)
            self._routes.clear()
        return router

    def _queue(
        self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> str:
        """Return the queue of a call that names one, or an exchange and a routing key."""
        router = self._fresh_router()
        own = _own(task)
        found = {} if options.get("queue") is not None else router.lookup(task, args, kwargs, options)[0]
        queue: str = router.destination(options, own, found)
        return queue

    def _apply_options(self, task: Task, message: Message, options: Mapping[str, Any]) -> float | None:
        """Write down what the options of a call say, and return when it is due."""
        headers, properties = message.headers, message.properties
        if options.get("priority") is not None:
            properties.priority = _check_priority(options["priority"])
        if options.get("ignore_result") is not None:
            headers.ignore_result = bool(options["ignore_result"])
        headers.shadow = options.get("shadow")
        if options.get("root_id") is not None:
            headers.root_id = _check_id(options["root_id"], "root_id")
        if options.get("parent_id") is not None:
            headers.parent_id = _check_id(options["parent_id"], "parent_id")
        if options.get("headers"):
            message.custom = _check_headers(options["headers"])
        limits = options.get("time_limit"), options.get("soft_time_limit")
        if limits != _NO_LIMITS:
            headers.timelimit = _check_limits(task, *limits)
        # All of it counts from one moment, however long the process is not scheduled meanwhile.
        now = self._clock() if properties.timestamp is None else properties.timestamp
        due = self._due(options.get("countdown"), options.get("eta"), now)
        if due is not None:
            headers.eta = _iso(due, "eta" if options.get("countdown") is None else "countdown")
        expires = options.get("expires")
        if expires is None:
            expires = task.expires
        if expires is not None:
            until = self._moment(expires, "expires", now)
            headers.expires = _iso(until, "expires")
            properties.expiration = str(max(0, round((until - now) * 1000)))
        return due

    def _due(self, countdown: Any, eta: Any, now: float) -> float | None:
        if countdown is not None:
            return now + _number(countdown, "countdown")
        return None if eta is None else self._moment(eta, "eta", now)

    def _moment(self, value: Any, option: str, now: float) -> float:
        """Unix time of a datetime, an ISO text or a number of seconds from `now`."""
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise WrongOption(
                    f"{option} is not a time: {value!r}. Pass a datetime or ISO 8601 text.{caller_place()}"
                ) from None
        if isinstance(value, datetime):
            if value.tzinfo is None:
                value = value.replace(tzinfo=ZoneInfo(self.conf.timezone or "UTC"))
                _tell_naive(option, value)
            stamp: float = value.timestamp()
            return stamp
        return now + _number(value, option)


def _follow_ups(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the message says is to follow its task."""
    link, link_error = options.get("link"), options.get("link_error")
    if not link and not link_error:
        return _EMBED
    return {
        **_EMBED,
        "callbacks": canvas.on_wire(link, "link"),
        "errbacks": canvas.on_wire(link_error, "link_error"),
    }


def _tell_naive(option: str, when: datetime) -> None:
    """Warn, once for each place in the project, that a time without a zone was given, and what it was taken for."""
    place = caller_place()
    if place in _naive_places or len(_naive_places) >= _MANY_PLACES:
        return
    _naive_places.add(place)
    logger.warning(
        "E121: %s has no time zone, so it is taken in %s: %s. Pass one that has: timezone.now() + timedelta(hours=1), "
        "or countdown=3600.%s",
        option, when.tzinfo, when.isoformat(timespec="seconds"), place,
    )  # fmt: skip


def _number(value: Any, option: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongOption(f"{option} must be a number of seconds, not {value!r}.{caller_place()}")
    return float(value)


def _iso(stamp: float, option: str) -> str:
    """Return a unix time as ISO 8601 text."""
    try:
        return datetime.fromtimestamp(stamp, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise WrongOption(f"{option} leads to no date that there is.{caller_place()}") from None


def _check_limits(task: Task, hard: Any, soft: Any) -> Pair:
    """Return the limits of a call; raises WrongOption for what is none, WrongLimits for a call that contradicts itself.

    Not for one that sets its hard limit below the task's soft one: then there is no soft one, as in Celery.
    """
    for name, value in (("time_limit", hard), ("soft_time_limit", soft)):
        if value is not None and not 0 <= _number(value, name) <= 1e9:
            raise WrongOption(f"{name} must be a number of seconds from 0, not {value!r}.{caller_place()}")
    if hard != task.time_limit and soft != task.soft_time_limit:
        _refuse_contradiction(hard, soft)
    return hard, soft


def _refuse_contradiction(hard: float | None, soft: float | None) -> None:
    if hard and soft and soft > hard:
        raise WrongLimits(
            f"soft_time_limit must be less than or equal to time_limit: it is {soft:g}, and that {hard:g}."
            f"{caller_place()}"
        )


def _check_id(given: Any, option: str = "task_id") -> str:
    if isinstance(given, UUID):
        return str(given)
    if not isinstance(given, str) or not given:
        raise WrongOption(f"{option} must be text that is not empty, not {given!r}.{caller_place()}")
    return given


def _own(task: Task) -> dict[str, Any]:
    """Return what the task itself says of how it is sent."""
    return {name: value for name in _OWN if (value := getattr(task, name)) is not None}


def _names_queue(options: Mapping[str, Any]) -> bool:
    return any(options.get(name) is not None for name in ("queue", "exchange", "routing_key"))


def _check_headers(headers: Any) -> dict[str, Any]:
    if not isinstance(headers, Mapping) or not all(isinstance(name, str) for name in headers):
        raise WrongOption(f"headers must be a dict with text for names, not {headers!r}.{caller_place()}")
    for name, value in headers.items():
        if name in protocol.HEADER_NAMES:
            raise WrongOption(
                f"headers cannot set {name!r}, which is one of the protocol's own; choose another name.{caller_place()}"
            )
        if not is_json(value):
            raise EncodeError(
                f"The header {name!r} is {value!r}; headers hold text, numbers, True, False, None, and lists and "
                f"dicts of these.{caller_place()}"
            )
    return dict(headers)


def _check_priority(priority: Any) -> int:
    if priority is None:
        return 0
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= 9:
        raise WrongOption(
            f"priority must be a whole number from 0 to 9 (higher runs first), not {priority!r}.{caller_place()}"
        )
    return priority
