"""The shop's background work, one task for each thing that a customer need not wait for.

The functions here fetch the rows, call the module that does the work and save what came of it; the work itself is in
`mails`, `images`, `labels` and `warehouse`, which know nothing of tasks. Delivery is at least once, so every task may
run a second time after a crash: files are overwritten and rows are unique.
"""

import csv
import time
from io import StringIO

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Count, DecimalField, F, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from celeriac import Task, shared_task

from . import images, labels, mails, warehouse
from .models import Customer, DayReport, Event, Notification, Order, Picture, PictureSize

# --- a customer signs up -------------------------------------------------------------------------------------------


@shared_task
def send_welcome_mail(customer_id: int) -> str:
    customer = Customer.objects.get(pk=customer_id)
    mails.welcome(customer).send()
    return customer.email


@shared_task
def draw_portrait(customer_id: int) -> str:
    customer = Customer.objects.get(pk=customer_id)
    customer.portrait.save(
        f"portraits/{customer.pk}.png", ContentFile(images.portrait(customer.name)), save=False
    )
    customer.save(update_fields=["portrait"])
    return customer.portrait.name


@shared_task
def notify(customer_id: int, key: str, text: str) -> bool:
    _, new = Notification.objects.get_or_create(customer_id=customer_id, key=key, defaults={"text": text})
    return new


@shared_task
async def record_event(kind: str, subject: str) -> None:
    await Event.objects.abulk_create([Event(kind=kind, subject=subject)], ignore_conflicts=True)


# --- a customer places an order ------------------------------------------------------------------------------------


@shared_task
def send_invoice(order_id: int) -> str:
    order = Order.objects.select_related("customer", "product").get(pk=order_id)
    mails.invoice(order).send()
    order.invoiced_at = timezone.now()
    order.save(update_fields=["invoiced_at"])
    return order.customer.email


@shared_task(
    bind=True,
    autoretry_for=(warehouse.Unavailable,),
    retry_backoff=1,
    retry_backoff_max=4,
    retry_jitter=True,
    max_retries=5,
)
def tell_warehouse(self: Task, order_id: int) -> str:
    """Book the order at the warehouse, whose API is away now and then: then try again, a little later each time."""
    reference = warehouse.book(order_id, attempt=self.request.retries)
    Order.objects.filter(pk=order_id).update(warehouse_ref=reference)
    return reference


@shared_task
def print_label(order_id: int) -> str:
    """Print the parcel's label. An address that no carrier serves is final: trying again would not help."""
    order = Order.objects.select_related("customer", "product").get(pk=order_id)
    order.label.save(f"labels/{order.pk}.pdf", ContentFile(labels.shipping_label(order)), save=False)
    order.save(update_fields=["label"])
    return order.label.name


# --- somebody wants a list -----------------------------------------------------------------------------------------

EXPORT_STEPS = 40
EXPORT_PAUSE = 0.1  # seconds a step: slow on purpose, so that there is something to be seen


@shared_task(bind=True)
def export_orders(self: Task) -> str:
    """Write all orders into a file and return its URL. Says how far it is, for the page that waits for it."""
    orders = Order.objects.select_related("customer", "product").order_by("pk")
    count = orders.count()
    text = StringIO()
    lines = csv.writer(text)
    lines.writerow(["order", "customer", "product", "quantity", "total"])
    for step in range(EXPORT_STEPS):
        self.update_state(state="PROGRESS", meta={"done": step, "of": EXPORT_STEPS})
        for order in orders[count * step // EXPORT_STEPS : count * (step + 1) // EXPORT_STEPS]:
            lines.writerow([order.pk, order.customer, order.product, order.quantity, order.total])
        time.sleep(EXPORT_PAUSE)
    name = default_storage.save(f"exports/{self.request.id}.csv", ContentFile(text.getvalue().encode()))
    return default_storage.url(name)


# --- a day goes by -------------------------------------------------------------------------------------------------


@shared_task
def report_the_day() -> int:
    """Count what was ordered today. The schedule in the settings sends this; nobody calls it."""
    today = timezone.localdate()
    turnover = Coalesce(Sum(F("quantity") * F("product__price")), 0, output_field=DecimalField())
    figures = Order.objects.filter(placed_at__date=today).aggregate(orders=Count("pk"), turnover=turnover)
    report, _ = DayReport.objects.update_or_create(day=today, defaults=figures)
    return report.orders


# --- a customer uploads a picture ----------------------------------------------------------------------------------


@shared_task
def make_thumbnail(picture_id: int) -> str:
    picture = Picture.objects.get(pk=picture_id)
    with picture.image.open() as source:
        thumbnail = images.thumbnail(source)
    picture.thumbnail.save(f"thumbnails/{picture.pk}.jpg", ContentFile(thumbnail), save=False)
    picture.save(update_fields=["thumbnail"])
    return picture.thumbnail.name


@shared_task
def resize_picture(picture_id: int, width: int) -> str:
    picture = Picture.objects.get(pk=picture_id)
    with picture.image.open() as source:
        resized = images.resized(source, width)
    size = PictureSize.objects.filter(picture=picture, width=width).first() or PictureSize(
        picture=picture, width=width
    )
    size.image.save(f"sizes/{picture.pk}-{width}.jpg", ContentFile(resized))
    return size.image.name


@shared_task
def tell_followers(picture_id: int) -> int:
    picture = Picture.objects.select_related("customer").get(pk=picture_id)
    followers = list(picture.customer.followers.all())
    Notification.objects.bulk_create(
        [
            Notification(
                customer=follower,
                key=f"picture {picture.pk}",
                text=f"{picture.customer} has a new picture: {picture.title}",
            )
            for follower in followers
        ],
        ignore_conflicts=True,
    )
    return len(followers)
