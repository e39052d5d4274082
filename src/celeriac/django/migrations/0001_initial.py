"""The first tables: messages with their bodies, consumers, results. See `celeriac.django.models`."""

import django.db.models.deletion
from django.db import migrations, models

import celeriac.django.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name": "dead letter",
                "managed": False,
                "default_permissions": ("view", "change", "delete"),
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", celeriac.django.fields.RowNumberField(primary_key=True, serialize=False)),
                ("queue", models.CharField(max_length=255)),
                ("priority", models.SmallIntegerField(default=0)),
                ("state", models.SmallIntegerField(default=0)),
                ("order", models.SmallIntegerField(default=0)),
                ("moment", celeriac.django.fields.UnixTimeField(null=True)),
                ("consumer", models.CharField(max_length=255, null=True)),
            ],
            options={
                "verbose_name": "waiting task",
                "ordering": ("-id",),
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Revocation",
            fields=[
                ("task_id", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("until", celeriac.django.fields.UnixTimeField(db_index=True)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Command",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("until", celeriac.django.fields.UnixTimeField(db_index=True)),
                ("payload", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="ScheduleEntry",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("slot", models.FloatField()),
                ("fired_at", models.FloatField(default=0)),
                ("count", models.BigIntegerField(default=0)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Office",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=255)),
                ("until", celeriac.django.fields.UnixTimeField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Consumer",
            fields=[
                ("name", models.CharField(max_length=255, primary_key=True, serialize=False)),
                ("deadline", celeriac.django.fields.UnixTimeField()),
                ("seq", models.BigIntegerField(default=-1)),
                ("queues", models.TextField(default="")),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="TaskResult",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("task_id", models.CharField(max_length=255)),
                ("state", models.CharField(max_length=50)),
                ("name", models.CharField(default="", max_length=255)),
                ("queue", models.CharField(default="", max_length=255)),
                ("worker", models.CharField(default="", max_length=255)),
                ("args", models.TextField(default="")),
                ("kwargs", models.TextField(default="")),
                ("retries", models.IntegerField(default=0)),
                ("losses", models.IntegerField(default=0)),
                ("enqueued_at", celeriac.django.fields.UnixTimeField(null=True)),
                ("started_at", celeriac.django.fields.UnixTimeField(null=True)),
                ("finished_at", celeriac.django.fields.UnixTimeField(null=True)),
                ("root_id", models.CharField(max_length=255, null=True)),
                ("parent_id", models.CharField(max_length=255, null=True)),
                ("group_id", models.CharField(max_length=255, null=True)),
                ("result", models.TextField(default="null")),
                ("traceback", models.TextField(null=True)),
                ("children", models.TextField(null=True)),
            ],
            options={
                "verbose_name": "task",
                "ordering": ("-id",),
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Body",
            fields=[
                (
                    "message",
                    celeriac.django.fields.SameRowField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="body",
                        serialize=False,
                        to="celeriac.message",
                    ),
                ),
                ("task_id", models.CharField(max_length=255)),
                ("task", models.CharField(max_length=255)),
                ("created", celeriac.django.fields.UnixTimeField()),
                ("reason", models.TextField(default="")),
                ("payload", models.BinaryField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.F("queue"),
                models.OrderBy(models.F("priority"), descending=True),
                models.F("order"),
                models.F("id"),
                condition=models.Q(("state", 0)),
                name="celeriac_ready",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("state", 1)), fields=["moment", "queue"], name="celeriac_scheduled"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("state", 2)), fields=["consumer"], name="celeriac_in_flight"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(condition=models.Q(("state", 3)), fields=["moment"], name="celeriac_dead"),
        ),
        migrations.AddIndex(
            model_name="taskresult",
            index=models.Index(fields=["state", "id"], name="celeriac_result_state"),
        ),
        migrations.AddIndex(
            model_name="taskresult",
            index=models.Index(fields=["name", "id"], name="celeriac_result_name"),
        ),
        migrations.AddIndex(
            model_name="taskresult",
            index=models.Index(fields=["finished_at"], name="celeriac_result_finished"),
        ),
        migrations.AddConstraint(
            model_name="taskresult",
            constraint=models.UniqueConstraint(fields=("task_id",), name="celeriac_result_task_id"),
        ),
    ]
