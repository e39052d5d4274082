"""Tasks that are put into a schedule, and never run."""

from datetime import date
from typing import Literal

from celeriac import shared_task


@shared_task(name="shop.tasks.tidy_up")
def tidy_up() -> None: ...


@shared_task(name="shop.tasks.report")
def report(day: date, kind: Literal["short", "long"], mail: bool = True) -> None: ...


@shared_task(name="shop.tasks.poll")
def poll() -> None: ...
