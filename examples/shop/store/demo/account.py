"""Finds out what came of the demo's tasks, from the task results, the shop's rows and the files on disk.

`Watch` counts while the work goes on; `tally` and `checks` look at all of it when it is over. Nothing here prints.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from celeriac.django.models import TaskResult
from celeriac.states import FAILURE, READY_STATES, SUCCESS
from store import mails, services, tasks, warehouse
from store.models import Customer, DayReport, Event, Notification, Order, Picture

from .crowd import Crowd

AT_ONCE = 500  # ids per query, below every database's limit


class Watch:
    """Which tasks have not ended yet. Ids are added as tasks are asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self._open: set[str] = set()

    @property
    def ended(self) -> int:
        return self.asked - len(self._open)

    def add(self, task_ids: list[str]) -> None:
        self.asked += len(task_ids)
        self._open.update(task_ids)

    def look(self) -> int:
        """Ask the results which tasks have ended since; returns how many are open."""
        for ids in _chunks(self._open):
            ended = TaskResult.objects.filter(task_id__in=ids, state__in=READY_STATES)
            self._open.difference_update(ended.values_list("task_id", flat=True))
        return len(self._open)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table. Times are seconds, sorted."""

    name: str
    succeeded: int
    retried: int
    failed: int
    waits: list[float]
    runs: list[float]


@dataclass(frozen=True, slots=True)
class Tally:
    lines: list[Line]
    total: Line
    seconds: float
    failures: list[TaskResult]


@dataclass(frozen=True, slots=True)
class Check:
    ok: bool
    text: str


def results_of(crowd: Crowd) -> list[TaskResult]:
    return [
        result for ids in _chunks(crowd.task_ids) for result in TaskResult.objects.filter(task_id__in=ids)
    ]


def tally(results: list[TaskResult]) -> Tally:
    names = sorted({result.name for result in results})
    lines = [_line(name, [result for result in results if result.name == name]) for name in names]
    begun = [result.enqueued_at for result in results if result.enqueued_at]
    ended = [result.finished_at for result in results if result.finished_at]
    return Tally(
        lines=lines,
        total=_line("all", results),
        seconds=(max(ended) - min(begun)).total_seconds() if begun and ended else 0.0,
        failures=[result for result in results if result.state == FAILURE],
    )


def percentile(ordered: list[float], part: float) -> float | None:
    """The value that this part of the list does not exceed; None of an empty list."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None


def checks(crowd: Crowd, results: list[TaskResult], since: datetime) -> list[Check]:
    """Whether each task is accounted for, and each thing that it was to do is there, once."""
    return [
        *_task_checks(crowd, results),
        schedule(since),
        _mail_check(crowd),
        *_file_checks(crowd),
        *_row_checks(crowd),
    ]


def _task_checks(crowd: Crowd, results: list[TaskResult]) -> Iterator[Check]:
    asked = len(crowd.task_ids)
    final = sum(result.state in READY_STATES for result in results)
    yield Check(final == len(results) == asked, f"{asked:,} tasks asked for, {final:,} with a final result")
    retried = {result.task_id: result.retries for result in results if result.retries}
    expected = {order.jobs["warehouse"]: warehouse.failures_before(order.pk) for order in crowd.orders}
    expected = {task_id: times for task_id, times in expected.items() if times}
    yield Check(
        retried == expected,
        f"{len(retried):,} tried again because the warehouse was away ({len(expected):,} expected)",
    )
    failed = [result.task_id for result in results if result.state != SUCCESS]
    wanted = [crowd.refused.jobs["shipping label"]] if crowd.refused else []
    yield Check(
        failed == wanted, f"{len(failed):,} failed for good ({len(wanted)} expected: the label to Atlantis)"
    )


def schedule(since: datetime) -> Check:
    """Whether the schedule has fired, and what it sends has run when all orders were placed."""
    fired = TaskResult.objects.filter(
        name=tasks.report_the_day.name, state=SUCCESS, finished_at__gte=since
    ).count()
    report = DayReport.objects.first()
    counted = report.orders if report else 0
    there = Order.objects.filter(placed_at__date=report.day).count() if report else 0
    return Check(
        bool(fired) and counted == there,
        f"{fired:,} times the schedule fired; its report of the day counts {counted:,} of {there:,} orders",
    )


def _mail_check(crowd: Crowd) -> Check:
    expected = [f"customer {row.pk}" for row in crowd.customers] + [f"order {row.pk}" for row in crowd.orders]
    found = mails.counted()
    once = sum(found[about] == 1 for about in expected)
    return Check(once == len(expected), f"{once:,} of {len(expected):,} mails sent, each once")


def _file_checks(crowd: Crowd) -> Iterator[Check]:
    orders = Order.objects.in_bulk([order.pk for order in crowd.orders])
    labels = sum(_starts_with(order.label, b"%PDF") for order in orders.values())
    expected = len(orders) - (1 if crowd.refused else 0)
    yield Check(labels == expected, f"{labels:,} of {expected:,} shipping labels printed")
    portraits = [customer.portrait for customer in Customer.objects.filter(pk__in=_keys(crowd.customers))]
    pictures = Picture.objects.filter(pk__in=_keys(crowd.pictures)).prefetch_related("sizes")
    scaled = [
        image
        for picture in pictures
        for image in (picture.thumbnail, *(size.image for size in picture.sizes.all()))
    ]
    images = sum(_starts_with(image, b"\x89PNG") for image in portraits)
    images += sum(_starts_with(image, b"\xff\xd8") for image in scaled)
    expected = len(crowd.customers) + len(crowd.pictures) * (1 + len(services.PICTURE_WIDTHS))
    yield Check(images == expected, f"{images:,} of {expected:,} images made: portraits, thumbnails, sizes")


def _row_checks(crowd: Crowd) -> Iterator[Check]:
    booked = sum(
        Order.objects.filter(pk__in=keys).exclude(warehouse_ref="").count()
        for keys in _chunks(_keys(crowd.orders))
    )
    yield Check(
        booked == len(crowd.orders), f"{booked:,} of {len(crowd.orders):,} orders booked at the warehouse"
    )
    followers = dict(
        Customer.objects.filter(pk__in=_keys(crowd.customers))
        .annotate(count=Count("followers"))
        .values_list("pk", "count")
    )
    told = sum(followers[picture.customer_id] for picture in crowd.pictures)
    about = ["welcome", *(f"picture {picture.pk}" for picture in crowd.pictures)]
    rows = Notification.objects.filter(customer__in=_keys(crowd.customers), key__in=about).count()
    rows += Event.objects.filter(subject__in=[f"customer {row.pk}" for row in crowd.customers]).count()
    expected = 2 * len(crowd.customers) + told
    yield Check(rows == expected, f"{rows:,} of {expected:,} rows written: notifications, analytics")


def _line(name: str, results: list[TaskResult]) -> Line:
    # What was tried again waited for its back-off, not for a worker.
    at_once = [result for result in results if not result.retries]
    return Line(
        name=name,
        succeeded=sum(result.state == SUCCESS for result in results),
        retried=sum(bool(result.retries) for result in results),
        failed=sum(result.state == FAILURE for result in results),
        waits=sorted(result.waited for result in at_once if result.waited is not None),
        runs=sorted(result.ran for result in results if result.ran is not None),
    )


def _starts_with(file: object, magic: bytes) -> bool:
    """Whether this field holds a file, and one of this kind."""
    if not file:
        return False
    with file.open("rb") as opened:
        return opened.read(len(magic)) == magic


def _keys(rows: Iterable[Customer | Order | Picture]) -> list[int]:
    return [row.pk for row in rows]


def _chunks(values: Iterable) -> Iterator[list]:
    every = list(values)
    for start in range(0, len(every), AT_ONCE):
        yield every[start : start + AT_ONCE]
