"""Shipping labels: one A6 page as a PDF, with address, barcode and carrier. The task `print_label` calls it.

Nothing here knows of tasks. An address in a country that no carrier serves is refused with AddressRefused.
"""

import io

from reportlab.graphics.barcode import code128
from reportlab.lib.pagesizes import A6
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from .models import Order

CARRIERS = {
    "Austria": "Alpenpost",
    "Belgium": "Rhine & Sea Parcels",
    "Denmark": "Nordbud",
    "France": "Colis Express",
    "Germany": "Rhine & Sea Parcels",
    "Italy": "Alpenpost",
    "Netherlands": "Rhine & Sea Parcels",
    "Poland": "Nordbud",
    "Portugal": "Colis Express",
    "Spain": "Colis Express",
    "Sweden": "Nordbud",
    "Switzerland": "Alpenpost",
}


class AddressRefused(Exception):
    """No carrier takes a parcel to this address. Only another address helps."""


def shipping_label(order: Order) -> bytes:
    """The label of this order as the bytes of a PDF."""
    carrier = CARRIERS.get(order.country)
    if carrier is None:
        raise AddressRefused(
            f"order {order.pk}: no carrier delivers to {order.country!r}. "
            f"Ask {order.customer.email} for another address."
        )
    width, height = A6
    out = io.BytesIO()
    page = Canvas(out, pagesize=A6)
    page.setTitle(f"Order {order.pk}")
    page.setFont("Helvetica-Bold", 18)
    page.drawString(8 * mm, height - 14 * mm, carrier)
    page.setFont("Helvetica", 9)
    weight = order.quantity * order.product.grams / 1000
    page.drawRightString(width - 8 * mm, height - 13 * mm, f"{weight:.2f} kg")
    page.line(8 * mm, height - 18 * mm, width - 8 * mm, height - 18 * mm)
    page.drawString(8 * mm, height - 24 * mm, "From: The Celeriac Shop, Root Lane 1, 1234 Gardenville")
    address = page.beginText(14 * mm, height - 48 * mm)
    address.setFont("Helvetica-Bold", 14)
    address.setLeading(19)
    for line in [order.customer.name, *order.address.splitlines(), order.country.upper()]:
        address.textLine(line)
    page.drawText(address)
    page.line(8 * mm, 40 * mm, width - 8 * mm, 40 * mm)
    bars = code128.Code128(f"CEL{order.pk:09d}", barWidth=0.5 * mm, barHeight=18 * mm, humanReadable=True)
    bars.drawOn(page, (width - bars.width) / 2, 14 * mm)
    page.showPage()
    page.save()
    return out.getvalue()
