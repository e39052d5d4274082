"""The two tasks, as a Django project writes them."""

from bench import arena, tally
from celeriac import shared_task


@shared_task(name="bench.noop", ignore_result=not arena.RESULTS)
def noop(number: int) -> None:
    tally.tick(number)


@shared_task(name="bench.note", ignore_result=True)
def noted(moment: int) -> None:
    tally.note(moment)
