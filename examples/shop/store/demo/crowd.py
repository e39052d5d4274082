"""Makes up the demo's customers and what they do, with the same services that the shop's views call.

`Crowd` is an iterator of small steps, so that the command can look at the progress between them. Names, orders and
pictures follow from their numbers: two runs do the same.
"""

import io
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.core.files.base import ContentFile
from PIL import Image, ImageDraw

from store import services
from store.models import Customer, Order, Picture, Product

FIRST = "Ada Bela Carl Dora Emil Frida Greta Hugo Ines Jonas Klara Leo Mila Nora Oskar Paula Rosa Selma Tomas Vera"
LAST = "Abel Berg Conti Dahl Evers Falk Garcia Holm Iversen Jansen Kowalski Lind Moreau Nunes Olsen Peeters Rossi Silva"
TOWNS = (
    ("Wien", "Austria"),
    ("Gent", "Belgium"),
    ("Aarhus", "Denmark"),
    ("Lyon", "France"),
    ("Leipzig", "Germany"),
    ("Torino", "Italy"),
    ("Utrecht", "Netherlands"),
    ("Kraków", "Poland"),
    ("Porto", "Portugal"),
    ("Sevilla", "Spain"),
    ("Malmö", "Sweden"),
    ("Basel", "Switzerland"),
)
NOWHERE = ("Sunken Street 1", "Atlantis")  # no carrier goes there: the one label that fails for good
VIEWS = ("Field in the morning", "Harvest", "The cellar", "First frost", "Market day", "Rain over the beds")
FOLLOWED = 3  # each customer follows this many of those before
PHOTO = (1600, 1200)


@dataclass(slots=True)
class Crowd:
    """Who came and what they did. After the last step it holds everything that the demo asked for."""

    orders_wanted: int
    customers: list[Customer] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    follows: int = 0
    refused: Order | None = None

    @property
    def sign_ups_wanted(self) -> int:
        return max(5, self.orders_wanted // 25)

    @property
    def pictures_wanted(self) -> int:
        return max(3, self.orders_wanted // 50)

    @property
    def steps(self) -> int:
        return self.sign_ups_wanted + self.pictures_wanted + self.orders_wanted

    @property
    def task_ids(self) -> list[str]:
        return [
            task_id
            for row in [*self.customers, *self.orders, *self.pictures]
            for task_id in row.jobs.values()
        ]

    def act(self) -> Iterator[list[str]]:
        """Do it all, step by step: sign-ups, then orders with uploads in between. Yields each step's task ids."""
        products = list(Product.objects.all())
        tag = f"{time.time_ns():x}"  # keeps the mail addresses of several runs apart
        for number in range(self.sign_ups_wanted):
            yield list(self._sign_up(number, tag).jobs.values())
        upload_every = max(1, self.orders_wanted // self.pictures_wanted)
        for number in range(self.orders_wanted):
            if number % upload_every == 0 and len(self.pictures) < self.pictures_wanted:
                yield list(self._upload(len(self.pictures)).jobs.values())
            yield list(self._order(number, products).jobs.values())
        while len(self.pictures) < self.pictures_wanted:
            yield list(self._upload(len(self.pictures)).jobs.values())

    def _sign_up(self, number: int, tag: str) -> Customer:
        first, last = FIRST.split(), LAST.split()
        name = f"{first[number % len(first)]} {last[number * 7 % len(last)]}"
        town, country = TOWNS[number % len(TOWNS)]
        customer = services.sign_up(
            name=name,
            email=f"{name.split(maxsplit=1)[0].lower()}.{number}.{tag}@example.com",
            address=f"Garden Lane {number + 1}\n{town}",
            country=country,
        )
        for followed in self.customers[-FOLLOWED:]:
            services.follow(customer, followed)
        self.follows += len(self.customers[-FOLLOWED:])
        self.customers.append(customer)
        return customer

    def _order(self, number: int, products: list[Product]) -> Order:
        customer = self.customers[number % len(self.customers)]
        product = products[number % len(products)]
        if number == self.orders_wanted // 2:
            order = self.refused = services.place_order(
                customer, product, address=NOWHERE[0], country=NOWHERE[1]
            )
        else:
            order = services.place_order(customer, product, quantity=1 + number % 4)
        self.orders.append(order)
        return order

    def _upload(self, number: int) -> Picture:
        picture = services.upload_picture(
            self.customers[number % len(self.customers)],
            title=VIEWS[number % len(VIEWS)],
            image=ContentFile(photo(number), name=f"view-{number + 1}.jpg"),
        )
        self.pictures.append(picture)
        return picture


def photo(number: int) -> bytes:
    """A picture as from a camera: the sun over some hills, in other colours each time, with some grain."""
    width, height = PHOTO
    hue = 40 + number * 47 % 200
    light = Image.linear_gradient("L").resize(PHOTO).point(lambda step: 150 + step // 3)
    sky = Image.merge("HSV", (Image.new("L", PHOTO, hue), Image.new("L", PHOTO, 90), light)).convert("RGB")
    draw = ImageDraw.Draw(sky)
    sun_x, sun_y = width * (1 + number % 4) // 5, height // 3
    draw.ellipse((sun_x - 110, sun_y - 110, sun_x + 110, sun_y + 110), fill=(255, 246, 214))
    for hill in range(3):
        top = height * (5 + hill) // 8
        ridge = [
            (x, top + 90 * math.sin(x / (260 - 40 * hill) + number + 2 * hill))
            for x in range(0, width + 20, 20)
        ]
        draw.polygon(
            [*ridge, (width, height), (0, height)], fill=f"hsv({(hue + 70) % 360}, 55%, {62 - 18 * hill}%)"
        )
    grain = Image.effect_noise(PHOTO, 30).convert("RGB")
    out = io.BytesIO()
    Image.blend(sky, grain, 0.07).save(out, "JPEG", quality=85)
    return out.getvalue()
