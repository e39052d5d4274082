"""What the examples work on."""

from django.db import models


class Order(models.Model):
    """An order of the shop."""

    email = models.EmailField(default="ada@example.com")
    product = models.CharField(max_length=100, default="celeriac")
    total = models.IntegerField(default=0)
    paid = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"order {self.pk}"
