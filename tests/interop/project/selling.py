"""The tasks of the shop, the same on both sides."""

from collections.abc import Callable
from logging import Logger
from typing import Any

from journal import note
from talking import talk_of


def define(app: Any, side: str, get_task_logger: Callable[[str], Logger]) -> tuple[Any, ...]:
    """Give the app the tasks, which note what they do, and return them."""

    @app.task(name="shop.add")  # type: ignore[untyped-decorator]
    def add(x: int, y: int) -> int:
        note(side, f"add-{x}-{y}")
        return x + y

    @app.task(name="shop.fail")  # type: ignore[untyped-decorator]
    def fail(text: str) -> None:
        raise ValueError(text)

    @app.task(name="shop.echo")  # type: ignore[untyped-decorator]
    def echo(value: object) -> object:
        return value

    @app.task(name="shop.flaky", bind=True, max_retries=3)  # type: ignore[untyped-decorator]
    def flaky(self: Any, key: str) -> int:
        note(side, f"flaky-{key}-{self.request.retries}")
        if self.request.retries < 2:
            raise self.retry(countdown=0.2, exc=ValueError("again"))
        return int(self.request.retries)

    @app.task(name="shop.headers", bind=True)  # type: ignore[untyped-decorator]
    def headers(self: Any) -> list[object]:
        return [
            self.request.headers,
            self.request.id,
            self.request.root_id,
            self.request.delivery_info["routing_key"],
        ]

    @app.task(name="shop.trace", bind=True, max_retries=1)  # type: ignore[untyped-decorator]
    def trace(self: Any) -> object:
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return [self.request.traceparent, self.request.get("traceparent"), self.request.get("nothing")]

    @app.task(name="shop.talk")  # type: ignore[untyped-decorator]
    def talk() -> None:
        talk_of(get_task_logger("shop.tasks"))

    return add, fail, echo, flaky, headers, trace, talk
