"""The values that travel: `Message` with its headers and properties.

Made by `celeriac.app.App`, read by `celeriac.execute`; how they look as bytes is known to
`celeriac.message.protocol` alone. The fields are those of Celery's task protocol 2.
"""

import os
import time
from typing import Annotated, Any

from msgspec import Meta, Struct, field

#: A header of the sender's own: what is to be kept with the task in the result store, JSON values.
DETAILS = "celeriac_details"
#: The header by which beat names the entry that a task was sent for, as Celery's does.
PERIODIC_NAME = "periodic_task_name"
#: A number that fits everywhere: flight records, columns of databases.
Small = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


class Headers(Struct, forbid_unknown_fields=True, gc=False):
    """Headers of a task message, protocol 2. Only `task` and `id` are required of others' messages.

    Others than these are the sender's own (`Message.custom`); `protocol.decode` parts them.
    """

    task: str
    id: str
    lang: str = "py"
    shadow: str | None = None
    eta: str | None = None
    expires: str | None = None
    group: str | None = None
    group_index: Small | None = None
    retries: Small | None = 0
    timelimit: tuple[float | None, float | None] | None = (None, None)
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: Small | None = 0
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = field(default_factory=dict)


class Properties(Struct, omit_defaults=True, gc=False):
    """AMQP properties of a message, with what kombu's virtual transports and we add.

    `timestamp` is the unix time in seconds when the message was published. `celeriac_losses` counts the
    processes that died while they ran it; `celeriac_suspect` marks one that was held by a process that
    died without leaving word of what it ran; `celeriac_scheduled` one whose eta a worker has handed to the
    broker, so that no other worker's clock is asked about it again.
    """

    correlation_id: str | None = None
    reply_to: str | None = None
    delivery_mode: Small | None = None
    priority: Small | None = None
    body_encoding: str | None = None
    delivery_tag: str | int | None = None
    delivery_info: dict[str, Any] | None = None
    expiration: str | None = None
    timestamp: float | None = None
    celeriac_losses: Small = 0
    celeriac_suspect: bool = False
    celeriac_scheduled: bool = False


class Message(Struct, gc=False):
    """A task message. `body` stays encoded until the task runs.

    `custom` are the sender's own headers, which stand beside the others on the wire; so does `compression`, the content
    type of what the body is compressed with.
    """

    headers: Headers
    properties: Properties
    body: bytes
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    custom: dict[str, Any] | None = None
    compression: str | None = None


def details_of(message: Message) -> Any:
    """Return what is to be kept with the task, None if nothing is."""
    return None if message.custom is None else message.custom.get(DETAILS)


def new_id() -> str:
    """Return a new task id: a UUID version 7 (RFC 9562), which sorts by time of creation."""
    random = os.urandom(10)
    text = f"{time.time_ns() // 1_000_000:012x}{random.hex()}"
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-{'89ab'[random[2] & 3]}{text[17:20]}-{text[20:]}"
