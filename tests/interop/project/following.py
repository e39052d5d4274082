"""Tasks that are followed by others, and those that follow, the same on both sides."""

from typing import Any

from journal import note


def define(app: Any, side: str) -> None:
    """Give the app the tasks, which note what they got."""

    @app.task(name="shop.by_id")  # type: ignore[untyped-decorator]
    def by_id(task_id: str) -> None:
        note(side, f"by_id {task_id}")

    @app.task(name="shop.by_error")  # type: ignore[untyped-decorator]
    def by_error(request: Any, error: BaseException, traceback: str, more: str = "") -> None:
        note(side, f"by_error {request.id} {error!r} {'ValueError: boom' in traceback} {more}")

    @app.task(name="shop.bound_errback", bind=True)  # type: ignore[untyped-decorator]
    def bound_errback(self: Any, task_id: str) -> None:
        note(side, f"bound {task_id} {self.request.parent_id == task_id}")

    def parent() -> list[str]:
        return [app.tasks["shop.echo"].delay(n).id for n in range(2)]

    app.task(name="shop.parent")(parent)
    app.task(name="shop.quiet", trail=False)(parent)
