"""What type checkers make of tasks. Never run: `test_types` has mypy and pyright read it.

A line that must be refused ends in `type: ignore`; where a checker finds nothing to ignore, it says so, and the test
fails.
"""

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, assert_type

from celeriac import AsyncResult, Celeriac, Task, shared_task

app = Celeriac("typed", broker="memory://")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="typed.plain", ignore_result=True, queue="mails")
def plain(text: str, *more: int, flag: bool = False) -> None: ...


@shared_task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True, max_retries=5)
def bound(self: Task, order_id: int) -> str:
    if self.request.retries > 3:
        raise self.retry(countdown=60, exc=ValueError(order_id))
    return "done"


@shared_task
async def fetch(url: str) -> bytes:
    return url.encode()


@shared_task(bind=True)
async def fetch_bound(self: Task, url: str) -> bytes:
    return url.encode()


class Watched(Task):
    def on_failure(self, exc: BaseException, *args: Any, **kwargs: Any) -> None: ...

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None: ...


@shared_task(base=Watched, throws=KeyError, rate_limit="10/m")
def watched(name: str) -> dict[str, int]:
    return {name: 1}


def good() -> None:
    assert_type(add.delay(1), AsyncResult[int])
    assert_type(add.delay(1, y=2).get(timeout=3), int)
    assert_type(add.apply_async((1, 2), countdown=1.5, queue="x", priority=3), AsyncResult[int])
    assert_type(add.apply_async((1, 2), {}, "own-id"), AsyncResult[int])
    assert_type(add.apply_async_on_commit([1], None, "own-id", queue="x"), AsyncResult[int])
    assert_type(add(1), int)
    assert_type(add.s(1, 2).delay().get(), int)
    assert_type(add.delay_on_commit(1), AsyncResult[int])
    assert_type(plain.delay("text", 1, 2, flag=True), AsyncResult[None])
    assert_type(bound.delay(4711).get(), str)
    assert_type(bound(4711), str)
    assert_type(watched.delay("name").get(), dict[str, int])
    coroutine: Coroutine[Any, Any, bytes] = fetch("url")
    coroutine.close()
    assert_type(fetch.delay("url").get(), bytes)
    assert_type(fetch_bound.delay("url"), AsyncResult[bytes])
    add.apply_async(kwargs={"x": 1}, eta=datetime.now(UTC), expires=60, headers={"trace": "1"})
    app.send_many([add.s(1), (add, (1, 2))])
    result = AsyncResult("id")
    assert_type(result.get(), Any)
    failed = add.delay(1).get(propagate=False)
    assert_type(failed, Any)
    task: Task = add
    task.delay("anything", will="do")


async def good_coroutines() -> None:
    assert_type(await fetch("url"), bytes)
    assert_type(await add.adelay(1), AsyncResult[int])
    assert_type(await add.aapply_async((1,), countdown=1), AsyncResult[int])
    assert_type(await fetch.delay("url").aget(timeout=3), bytes)


def bad() -> None:
    add.delay()  # type: ignore[call-arg]
    add.delay("1")  # type: ignore[arg-type]
    add.delay(1, 2, 3)  # type: ignore[call-arg]
    add.delay(1, z=2)  # type: ignore[call-arg]
    add("1")  # type: ignore[arg-type]
    add.si("1")  # type: ignore[arg-type]
    add.delay_on_commit("1")  # type: ignore[arg-type]
    plain.delay("text", flag="yes")  # type: ignore[arg-type]
    bound.delay("4711")  # type: ignore[arg-type]
    bound.delay(bound, 4711)  # type: ignore[call-arg, arg-type]
    fetch.delay(1)  # type: ignore[arg-type]
    add.apply_async((1,), que="mails")  # type: ignore[call-arg]
    add.apply_async((1,), countdown="soon")  # type: ignore[arg-type]
    add.apply_async((1,), eta=5)  # type: ignore[arg-type]
    add.apply_async((1,), {}, 4711)  # type: ignore[arg-type]
    add.apply_async(1)  # type: ignore[arg-type]
    text: str = add.delay(1).get()  # type: ignore[assignment]
    number: int = add.delay(1)  # type: ignore[assignment]
    length = len(fetch("url"))  # type: ignore[arg-type]
    print(text, number, length)
    app.task(max_retry=3)  # type: ignore[call-overload]
    app.task(max_retries="3")  # type: ignore[call-overload]
    shared_task(autoretry_for=("ConnectionError",))  # type: ignore[arg-type]
    shared_task(retry_backoff="yes")  # type: ignore[call-overload]


async def bad_coroutines() -> None:
    await add.adelay("1")  # type: ignore[arg-type]
    await add(1)  # type: ignore[misc]
