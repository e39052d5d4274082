"""The same tasks on Celeriac: another import, and one option for a fleet that is mixed."""

import os

from following import define
from journal import note
from talking import set_up_talking, talk_of
from told import listen

from celeriac import Celery, Task, signals
from celeriac.log import get_task_logger

app = Celery("interop", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.broker_transport_options = {"mixed_fleet": True}
app.conf.accept_content = ["json", "msgpack", "yaml"]
app.conf.task_protocol = int(os.environ.get("PROTOCOL", "2"))
listen(signals, app)
set_up_talking(signals, app)


@app.task(name="shop.add")
def add(x: int, y: int) -> int:
    note("celeriac", f"add-{x}-{y}")
    return x + y


@app.task(name="shop.fail")
def fail(text: str) -> None:
    raise ValueError(text)


@app.task(name="shop.echo")
def echo(value: object) -> object:
    return value


@app.task(name="shop.flaky", bind=True, max_retries=3)
def flaky(self: Task, key: str) -> int:
    note("celeriac", f"flaky-{key}-{self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0.2, exc=ValueError("again"))
    return self.request.retries


@app.task(name="shop.headers", bind=True)
def headers(self: Task) -> list[object]:
    return [
        self.request.headers,
        self.request.id,
        self.request.root_id,
        self.request.delivery_info["routing_key"],
    ]


@app.task(name="shop.trace", bind=True, max_retries=1)
def trace(self: Task) -> object:
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return [self.request.traceparent, self.request.get("traceparent"), self.request.get("nothing")]


@app.task(name="shop.talk")
def talk() -> None:
    talk_of(get_task_logger("shop.tasks"))


define(app, "celeriac")
