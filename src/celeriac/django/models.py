"""The tables: waiting messages with their bodies, consumers' leases, and results.

Written with plain SQL by `celeriac.django.broker` and `celeriac.django.store`, read by the admin. A message is two
rows, so that claiming and giving back rewrite a few dozen bytes and never the message itself.
Changes to these tables are additive: one release's code works on the tables of the next and of the last.
"""

from django.db import models
from django.db.models import Q

from celeriac.django.fields import RowNumberField, SameRowField, UnixTimeField
from celeriac.django.outbox_table import OutboxMessage
from celeriac.django.schedule import Schedule, SchedulePause

__all__ = [
    "Body",
    "Command",
    "Consumer",
    "DeadLetter",
    "Message",
    "Office",
    "OutboxMessage",
    "Revocation",
    "Schedule",
    "ScheduleEntry",
    "SchedulePause",
    "State",
    "TaskResult",
]


class State(models.IntegerChoices):
    """Where a message is. The numbers are in the SQL and in the partial indexes."""

    READY = 0, "waiting"
    SCHEDULED = 1, "scheduled"
    IN_FLIGHT = 2, "in flight"
    DEAD = 3, "set aside"


class Message(models.Model):
    """A message's place. `moment` is when it is due (scheduled) or when it died (set aside).

    `order` is 0, or -1 for what was given back, which is served first.
    """

    id = RowNumberField(primary_key=True)
    queue = models.CharField(max_length=255)
    priority = models.SmallIntegerField(default=0)
    state = models.SmallIntegerField(default=State.READY)
    order = models.SmallIntegerField(default=0)
    moment = UnixTimeField(null=True)
    consumer = models.CharField(max_length=255, null=True)  # noqa: DJ001 - NULL is "nobody's", as SQL has it

    class Meta:
        verbose_name = "waiting task"
        ordering = ("-id",)
        default_permissions = ("view",)
        indexes = (
            models.Index(
                "queue",
                models.F("priority").desc(),
                "order",
                "id",
                name="celeriac_ready",
                condition=Q(state=0),
            ),
            models.Index(fields=["moment", "queue"], name="celeriac_scheduled", condition=Q(state=1)),
            models.Index(fields=["consumer"], name="celeriac_in_flight", condition=Q(state=2)),
            models.Index(fields=["moment"], name="celeriac_dead", condition=Q(state=3)),
        )

    def __str__(self) -> str:
        return f"{self.pk} on {self.queue}"


class Body(models.Model):
    """What a message says, as it is on the wire, and why it was set aside."""

    message = SameRowField(
        Message, on_delete=models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="body"
    )
    task_id = models.CharField(max_length=255)
    task = models.CharField(max_length=255)
    created = UnixTimeField()
    reason = models.TextField(default="")
    payload = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.task} {self.task_id}"


class Consumer(models.Model):
    """A process that holds messages, its lease, the number of its last claim, and the queues that it reads, as JSON."""

    name = models.CharField(max_length=255, primary_key=True)
    deadline = UnixTimeField()
    seq = models.BigIntegerField(default=-1)
    queues = models.TextField(default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.name)


class Revocation(models.Model):
    """The id of a task that is not to be started, `until` then."""

    task_id = models.CharField(max_length=255, primary_key=True)
    until = UnixTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.task_id)


class Command(models.Model):
    """What workers are told; each reads it until then."""

    id = models.BigAutoField(primary_key=True)
    until = UnixTimeField(db_index=True)
    payload = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)


class ScheduleEntry(models.Model):
    """How far an entry of a schedule has fired: up to the due time `slot`; when and how often. Unix times."""

    name = models.CharField(max_length=255, primary_key=True)
    slot = models.FloatField()
    fired_at = models.FloatField(default=0)
    count = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.name)


class Office(models.Model):
    """What one process at a time sees to, and which."""

    name = models.CharField(max_length=255, primary_key=True)
    holder = models.CharField(max_length=255)
    until = UnixTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


class TaskResult(models.Model):
    """The last that is known of a task. `args`, `kwargs`: bounded reprs; `result`, `children`, `details`: JSON."""

    id = models.BigAutoField(primary_key=True)
    task_id = models.CharField(max_length=255)
    state = models.CharField(max_length=50)
    name = models.CharField(max_length=255, default="")
    queue = models.CharField(max_length=255, default="")
    worker = models.CharField(max_length=255, default="")
    args = models.TextField(default="")
    kwargs = models.TextField(default="")
    retries = models.IntegerField(default=0)
    losses = models.IntegerField(default=0)
    enqueued_at = UnixTimeField(null=True)
    started_at = UnixTimeField(null=True)
    finished_at = UnixTimeField(null=True)
    root_id = models.CharField(max_length=255, null=True)  # noqa: DJ001
    parent_id = models.CharField(max_length=255, null=True)  # noqa: DJ001
    group_id = models.CharField(max_length=255, null=True)  # noqa: DJ001
    result = models.TextField(default="null")
    traceback = models.TextField(null=True)  # noqa: DJ001
    children = models.TextField(null=True)  # noqa: DJ001
    details = models.TextField(null=True)  # noqa: DJ001

    class Meta:
        verbose_name = "task"
        default_permissions = ("view",)
        ordering = ("-id",)
        # A constraint, for unique=True would bring a second index on PostgreSQL.
        constraints = (models.UniqueConstraint(fields=["task_id"], name="celeriac_result_task_id"),)
        indexes = (
            models.Index(fields=["state", "id"], name="celeriac_result_state"),
            models.Index(fields=["name", "id"], name="celeriac_result_name"),
            models.Index(fields=["finished_at"], name="celeriac_result_finished"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.task_id}"

    @property
    def waited(self) -> float | None:
        """Seconds between being sent and being started."""
        return _between(self.enqueued_at, self.started_at)

    @property
    def ran(self) -> float | None:
        """Seconds between being started and being finished."""
        return _between(self.started_at, self.finished_at)


class DeadLetter(models.Model):
    """Stands for the dead letters of any broker in the admin's menu and permissions. It has no table."""

    class Meta:
        managed = False
        verbose_name = "dead letter"
        default_permissions = ("view", "change", "delete")

    def __str__(self) -> str:
        return str(self.pk)


class Queue(models.Model):
    """Stands for the queues and workers of any broker in the admin's menu and permissions. It has no table."""

    class Meta:
        managed = False
        verbose_name = "queue"
        verbose_name_plural = "queues and workers"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.pk)


def _between(earlier: object, later: object) -> float | None:
    return None if earlier is None or later is None else (later - earlier).total_seconds()  # type: ignore[operator]
