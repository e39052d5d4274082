"""The shop's mails: what they say, and reading back what Django's file backend wrote.

The tasks send them, the outbox page and the demo read them.

Each mail carries X-Shop-About ("order 17"), by which the demo counts that everybody got one, and only one.
"""

import email
import email.message
import email.policy
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage

from .models import Customer, Order

ABOUT = "X-Shop-About"
END_OF_MAIL = b"\n" + b"-" * 79 + b"\n"  # what the file backend writes after each mail


def welcome(customer: Customer) -> EmailMessage:
    return EmailMessage(
        subject=f"Welcome to the Celeriac Shop, {customer.name}",
        body=(
            f"Dear {customer.name},\n\n"
            "good to have you here. Your profile image is being drawn while you read this.\n\n"
            "The Celeriac Shop\n"
        ),
        to=[customer.email],
        headers={ABOUT: f"customer {customer.pk}"},
    )


def invoice(order: Order) -> EmailMessage:
    return EmailMessage(
        subject=f"Your invoice for order {order.pk}",
        body=(
            f"Dear {order.customer.name},\n\n"
            "thank you for your order.\n\n"
            f"  {order.quantity} x {order.product.name:<30} {order.product.price:>10} EUR\n"
            f"  {'Total':<34} {order.total:>10} EUR\n\n"
            f"We send it to:\n\n  {order.customer.name}\n"
            + "".join(f"  {line}\n" for line in [*order.address.splitlines(), order.country])
            + "\nThe Celeriac Shop\n"
        ),
        to=[order.customer.email],
        headers={ABOUT: f"order {order.pk}"},
    )


def files() -> list[Path]:
    """The files with mails in them, newest first."""
    found = Path(settings.MAILS).glob("*.log")
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def counted() -> Counter[str]:
    """How many mails there are about whom or what."""
    about = re.compile(rf"^{ABOUT}: (.+?)\r?$".encode(), re.MULTILINE)
    return Counter(found.decode() for path in files() for found in about.findall(path.read_bytes()))


def sent(paths: list[Path] | None = None) -> Iterator[email.message.EmailMessage]:
    """The mails in these files (all of them by default). A file may hold several, as the backend appends."""
    for path in files() if paths is None else paths:
        for source in reversed(path.read_bytes().split(END_OF_MAIL)):
            if source.strip():
                yield email.message_from_bytes(source, policy=email.policy.default)
