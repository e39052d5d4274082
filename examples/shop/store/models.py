"""What the shop keeps: customers, products, orders, pictures, and what the background work adds to them.

`jobs` on a customer, an order and a picture maps what was asked for ("invoice mail") to the task's id. The id is
known as soon as `delay()` returns, so it is saved in the same transaction as the row itself.
"""

from decimal import Decimal

from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=80)
    email = models.EmailField(unique=True)
    address = models.TextField("street and town")
    country = models.CharField(max_length=60)
    joined_at = models.DateTimeField(auto_now_add=True)
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers", blank=True)
    portrait = models.ImageField(blank=True)
    jobs = models.JSONField(default=dict, blank=True, editable=False)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    name = models.CharField(max_length=80, unique=True)
    blurb = models.CharField(max_length=200)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    grams = models.PositiveIntegerField()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    quantity = models.PositiveIntegerField(default=1)
    address = models.TextField("street and town")
    country = models.CharField(max_length=60)
    placed_at = models.DateTimeField(auto_now_add=True)
    # Filled in by the background work.
    invoiced_at = models.DateTimeField(null=True, blank=True)
    warehouse_ref = models.CharField(max_length=20, blank=True)
    label = models.FileField(blank=True)
    jobs = models.JSONField(default=dict, blank=True, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"Order {self.pk}"

    @property
    def total(self) -> Decimal:
        return self.product.price * self.quantity


class Picture(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="pictures")
    title = models.CharField(max_length=80)
    image = models.ImageField(upload_to="pictures")
    thumbnail = models.ImageField(blank=True)
    uploaded_at = models.DateTimeField(auto_now_add=True)
    jobs = models.JSONField(default=dict, blank=True, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.title


class PictureSize(models.Model):
    picture = models.ForeignKey(Picture, on_delete=models.CASCADE, related_name="sizes")
    width = models.PositiveIntegerField()
    image = models.ImageField()

    class Meta:
        ordering = ("width",)
        constraints = [models.UniqueConstraint(fields=("picture", "width"), name="one_image_per_width")]

    def __str__(self) -> str:
        return f"{self.picture} at {self.width} px"


class DayReport(models.Model):
    """What was ordered on a day. Written by the schedule, again and again while the day lasts."""

    day = models.DateField(unique=True)
    orders = models.PositiveIntegerField()
    turnover = models.DecimalField(max_digits=12, decimal_places=2)
    counted_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-day",)

    def __str__(self) -> str:
        return f"{self.day}: {self.orders} orders"


class Notification(models.Model):
    """A line under the customer's bell. `key` says what it is about, so that a task run twice writes one row."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="notifications")
    key = models.CharField(max_length=60)
    text = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-pk",)
        constraints = [models.UniqueConstraint(fields=("customer", "key"), name="one_notification_per_key")]

    def __str__(self) -> str:
        return self.text


class Event(models.Model):
    """A row for the analysts: what happened to whom."""

    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=60)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("kind", "subject"), name="one_event_per_subject")]

    def __str__(self) -> str:
        return f"{self.subject}: {self.kind}"
