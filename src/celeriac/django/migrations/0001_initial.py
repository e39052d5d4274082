"""The first tables: messages with their bodies, consumers, results. See `celeriac.django.models`."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import celeriac.django.fields
import celeriac.django.schedule
from celeriac.django import mariadb


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
            name="Queue",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name": "queue",
                "verbose_name_plural": "queues and workers",
                "managed": False,
                "default_permissions": ("view",),
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
            name="SchedulePause",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("paused", models.BooleanField(default=False)),
                ("counts_from", celeriac.django.fields.UnixTimeField(default=celeriac.django.schedule.now)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="What to call it, in lists, logs and on the command line.",
                        max_length=255,
                        unique=True,
                        verbose_name="name",
                    ),
                ),
                (
                    "task",
                    models.CharField(
                        help_text="The name of the task, such as shop.tasks.tidy_up.",
                        max_length=255,
                        verbose_name="task",
                    ),
                ),
                (
                    "enabled",
                    models.BooleanField(
                        default=True,
                        help_text="What is due while it is off is not made up for later.",
                        verbose_name="enabled",
                    ),
                ),
                (
                    "description",
                    models.TextField(blank=True, help_text="What it is for.", verbose_name="description"),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("interval", "every so often"),
                            ("crontab", "at times of the clock and the calendar"),
                            ("clocked", "once, at a time"),
                            ("solar", "by the sun"),
                            ("code", "as the code says"),
                        ],
                        default="interval",
                        max_length=16,
                        verbose_name="run",
                    ),
                ),
                (
                    "every",
                    models.FloatField(
                        blank=True,
                        help_text="A number, more than 0.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0.001)],
                        verbose_name="every",
                    ),
                ),
                (
                    "unit",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("seconds", "Seconds"),
                            ("minutes", "Minutes"),
                            ("hours", "Hours"),
                            ("days", "Days"),
                        ],
                        default="seconds",
                        max_length=16,
                        verbose_name="unit",
                    ),
                ),
                (
                    "minute",
                    models.CharField(
                        blank=True,
                        default="*",
                        help_text="0 to 59: * or */15 or 0,30.",
                        max_length=255,
                        verbose_name="minute",
                    ),
                ),
                (
                    "hour",
                    models.CharField(
                        blank=True,
                        default="*",
                        help_text="0 to 23: * or 8-17 or 8-17/3.",
                        max_length=255,
                        verbose_name="hour",
                    ),
                ),
                (
                    "day_of_month",
                    models.CharField(
                        blank=True,
                        default="*",
                        help_text="1 to 31: * or 1,15 or 1-7.",
                        max_length=255,
                        verbose_name="day of the month",
                    ),
                ),
                (
                    "month_of_year",
                    models.CharField(
                        blank=True,
                        default="*",
                        help_text="1 to 12, or names: * or jan-mar or */3.",
                        max_length=255,
                        verbose_name="month",
                    ),
                ),
                (
                    "day_of_week",
                    models.CharField(
                        blank=True,
                        default="*",
                        help_text="0 to 6, Sunday is 0, or names: * or mon-fri. All three date fields have to match.",
                        max_length=255,
                        verbose_name="day of the week",
                    ),
                ),
                (
                    "clocked_time",
                    models.DateTimeField(
                        blank=True, help_text="When to run, once.", null=True, verbose_name="at"
                    ),
                ),
                (
                    "event",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("sunrise", "sunrise"),
                            ("sunset", "sunset"),
                            ("solar_noon", "solar noon"),
                            ("dawn_civil", "civil dawn"),
                            ("dawn_nautical", "nautical dawn"),
                            ("dawn_astronomical", "astronomical dawn"),
                            ("dusk_civil", "civil dusk"),
                            ("dusk_nautical", "nautical dusk"),
                            ("dusk_astronomical", "astronomical dusk"),
                        ],
                        default="",
                        max_length=24,
                        verbose_name="event",
                    ),
                ),
                (
                    "latitude",
                    models.FloatField(
                        blank=True,
                        help_text="In degrees; south of the equator it is negative.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-90),
                            django.core.validators.MaxValueValidator(90),
                        ],
                        verbose_name="latitude",
                    ),
                ),
                (
                    "longitude",
                    models.FloatField(
                        blank=True,
                        help_text="In degrees; west of Greenwich it is negative.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(-180),
                            django.core.validators.MaxValueValidator(180),
                        ],
                        verbose_name="longitude",
                    ),
                ),
                (
                    "timezone",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Whose clock counts, such as Europe/Berlin. Empty: the project's.",
                        max_length=63,
                        verbose_name="time zone",
                    ),
                ),
                (
                    "start_time",
                    models.DateTimeField(
                        blank=True,
                        help_text="Not due before that. Intervals are counted from here.",
                        null=True,
                        verbose_name="start",
                    ),
                ),
                (
                    "end_time",
                    models.DateTimeField(
                        blank=True, help_text="Not due after that.", null=True, verbose_name="end"
                    ),
                ),
                (
                    "one_off",
                    models.BooleanField(
                        default=False,
                        help_text="Switched off by itself when it has run once.",
                        verbose_name="only once",
                    ),
                ),
                (
                    "missed",
                    models.CharField(
                        choices=[
                            ("run_once", "run once for all of them"),
                            ("skip", "skip them"),
                            ("run_all", "run once for each"),
                        ],
                        default="run_once",
                        help_text="What becomes of due times when no beat ran.",
                        max_length=16,
                        verbose_name="if nobody was there",
                    ),
                ),
                (
                    "missed_limit",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Of many that were missed, so many are run, the last ones. Empty: 100.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(10000),
                        ],
                        verbose_name="at most so many",
                    ),
                ),
                (
                    "overlap",
                    models.CharField(
                        choices=[("allow", "run it beside that"), ("skip", "skip it")],
                        default="allow",
                        help_text="What becomes of a due time while the run before waits, runs or is to be retried.",
                        max_length=16,
                        verbose_name="if the last run has not ended",
                    ),
                ),
                (
                    "args",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='A JSON list: ["north", 10]',
                        verbose_name="arguments",
                    ),
                ),
                (
                    "kwargs",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='A JSON object: {"limit": 10}',
                        verbose_name="arguments by name",
                    ),
                ),
                (
                    "queue",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Empty: the task's own.",
                        max_length=255,
                        verbose_name="queue",
                    ),
                ),
                (
                    "exchange",
                    models.CharField(blank=True, default="", max_length=255, verbose_name="exchange"),
                ),
                (
                    "routing_key",
                    models.CharField(blank=True, default="", max_length=255, verbose_name="routing key"),
                ),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Empty: the task's own.",
                        null=True,
                        validators=[django.core.validators.MaxValueValidator(255)],
                        verbose_name="priority",
                    ),
                ),
                (
                    "headers",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text='What else travels with the task, a JSON object: {"tenant": "a"}',
                        verbose_name="headers",
                    ),
                ),
                (
                    "expires_after",
                    models.FloatField(
                        blank=True,
                        help_text="Seconds that the task may wait for a worker; then it is not run any more.",
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0.001)],
                        verbose_name="expires after",
                    ),
                ),
                (
                    "expires",
                    models.DateTimeField(
                        blank=True, help_text="Or a time, for all runs.", null=True, verbose_name="expires at"
                    ),
                ),
                (
                    "last_run_at",
                    celeriac.django.fields.UnixTimeField(
                        blank=True, editable=False, null=True, verbose_name="last run"
                    ),
                ),
                ("total_run_count", models.BigIntegerField(default=0, editable=False, verbose_name="runs")),
                ("date_changed", models.DateTimeField(auto_now=True, verbose_name="changed")),
                (
                    "from_code",
                    models.CharField(
                        blank=True, default="", editable=False, max_length=255, verbose_name="from code"
                    ),
                ),
                ("code_words", models.CharField(blank=True, default="", editable=False, max_length=255)),
                (
                    "counts_from",
                    celeriac.django.fields.UnixTimeField(
                        default=celeriac.django.schedule.now, editable=False
                    ),
                ),
                ("last_slot", celeriac.django.fields.UnixTimeField(editable=False, null=True)),
                ("fired_count", models.BigIntegerField(default=0, editable=False)),
                ("recent_runs", models.TextField(default="", editable=False)),
                ("stamp", models.BigIntegerField(default=celeriac.django.schedule.new_stamp, editable=False)),
            ],
            options={
                "verbose_name": "schedule",
                "ordering": ("name",),
                "indexes": [models.Index(fields=["stamp"], name="celeriac_schedule_stamp")],
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
                ("details", models.TextField(null=True)),
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
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("message_key", models.CharField(max_length=36, unique=True)),
                ("task_id", models.CharField(max_length=255)),
                ("task", models.CharField(max_length=255)),
                ("queue", models.TextField()),
                ("priority", models.SmallIntegerField(default=0)),
                ("due", celeriac.django.fields.UnixTimeField(null=True)),
                ("created", celeriac.django.fields.UnixTimeField()),
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
        migrations.RunPython(mariadb.prepare_tables, migrations.RunPython.noop, atomic=False),
    ]
