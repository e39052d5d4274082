"""Who is shopping: the browser's session remembers one customer. No passwords; this shop sells nothing.

The views call `customer_of` and `remember`; `current` puts the customer into every template.
"""

from typing import Any

from django.http import HttpRequest

from .models import Customer

KEY = "customer"


def remember(request: HttpRequest, customer: Customer) -> None:
    request.session[KEY] = customer.pk


def customer_of(request: HttpRequest) -> Customer | None:
    if KEY not in request.session:
        return None
    return Customer.objects.filter(pk=request.session[KEY]).first()


def current(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `me` is the customer of this session, if there is one."""
    return {"me": customer_of(request)}
