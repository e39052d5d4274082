"""Tasks that take too long, the same on both sides."""

import time
from typing import Any

from journal import note


def define(app: Any, side: str, over: type[Exception]) -> None:
    """Give the app the tasks, which note what they are told; `over` is what a soft limit raises."""

    class Telling(app.Task):  # type: ignore[misc, name-defined]
        abstract = True

        def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
            note(side, f"{args[0]} on_failure {type(exc).__name__} {exc.args}")

        def after_return(
            self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
        ) -> None:
            note(side, f"{args[0]} after_return {status} {type(retval).__name__} {einfo}")

    @app.task(name="shop.linger", base=Telling, acks_late=True)  # type: ignore[untyped-decorator]
    def linger(key: str) -> None:
        note(side, f"{key} runs")
        time.sleep(600)

    @app.task(name="shop.tidy", bind=True)  # type: ignore[untyped-decorator]
    def tidy(self: Any, key: str) -> Any:
        try:
            time.sleep(600)
        except over as error:
            return [type(error).__name__, self.request.timelimit, self.request.soft_time_limit]

    @app.task(name="shop.own", soft_time_limit=1, time_limit=300)  # type: ignore[untyped-decorator]
    def own() -> None:
        time.sleep(600)
