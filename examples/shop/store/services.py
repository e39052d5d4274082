"""What a customer can do: sign up, place an order, upload a picture, follow somebody. Views and the demo call these.

Each function is one transaction: the row is saved and its background work is asked for together, and both happen or
neither does. On the database broker the tasks are rows of this very transaction; on other brokers they are sent
when it commits. Either way `delay()` gives the task's id at once.
"""

from django.core.files.base import File
from django.db import transaction

from . import tasks
from .models import Customer, Order, Picture, Product

PICTURE_WIDTHS = (480, 960, 1440)


@transaction.atomic
def sign_up(*, name: str, email: str, address: str, country: str) -> Customer:
    customer = Customer.objects.create(name=name, email=email, address=address, country=country)
    customer.jobs = {
        "welcome mail": tasks.send_welcome_mail.delay(customer.pk).id,
        "profile image": tasks.draw_portrait.delay(customer.pk).id,
        "notification": tasks.notify.delay(customer.pk, "welcome", f"Welcome to the shop, {name}!").id,
        "analytics": tasks.record_event.delay("signed up", f"customer {customer.pk}").id,
    }
    customer.save(update_fields=["jobs"])
    return customer


@transaction.atomic
def place_order(
    customer: Customer, product: Product, *, quantity: int = 1, address: str = "", country: str = ""
) -> Order:
    order = Order.objects.create(
        customer=customer,
        product=product,
        quantity=quantity,
        address=address or customer.address,
        country=country or customer.country,
    )
    order.jobs = {
        "invoice mail": tasks.send_invoice.delay(order.pk).id,
        "warehouse": tasks.tell_warehouse.delay(order.pk).id,
        "shipping label": tasks.print_label.delay(order.pk).id,
    }
    order.save(update_fields=["jobs"])
    return order


@transaction.atomic
def upload_picture(customer: Customer, *, title: str, image: File) -> Picture:
    picture = Picture.objects.create(customer=customer, title=title, image=image)
    picture.jobs = {"thumbnail": tasks.make_thumbnail.delay(picture.pk).id}
    for width in PICTURE_WIDTHS:
        picture.jobs[f"{width} px wide"] = tasks.resize_picture.delay(picture.pk, width).id
    picture.jobs["followers"] = tasks.tell_followers.delay(picture.pk).id
    picture.save(update_fields=["jobs"])
    return picture


def follow(follower: Customer, followed: Customer) -> None:
    follower.follows.add(followed)
