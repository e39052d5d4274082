"""The table of the outbox: messages that are part of a transaction here, and are to go to a broker elsewhere.

Written with plain SQL by `celeriac.django.outbox`.
"""

from django.db import models

from celeriac.django.fields import UnixTimeField


class OutboxMessage(models.Model):
    """A message on its way to the broker, which knows it by its key."""

    id = models.BigAutoField(primary_key=True)
    message_key = models.CharField(max_length=36, unique=True)
    task_id = models.CharField(max_length=255)
    task = models.CharField(max_length=255)
    queue = models.TextField()  # never cut: it says where the message goes
    priority = models.SmallIntegerField(default=0)
    due = UnixTimeField(null=True)
    created = UnixTimeField()
    payload = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.task} {self.task_id}"
