"""Schedules that are kept in the database: the model that the admin edits, and what beat reads of it.

One model for all kinds, so that one form is enough. What is due when is reckoned by `celeriac.beat`, as for entries in
code; which fields make sense is `schedule_rules`' business. Nothing here sends or waits.
"""

import random
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, F, Value, When
from django.utils import timezone as django_timezone
from django.utils.translation import gettext_lazy as _

from celeriac.beat import due
from celeriac.beat.entries import Entry, entry_of
from celeriac.django import schedule_rules as rules
from celeriac.django.fields import UnixTimeField
from celeriac.schedule import RECENT
from celeriac.schedules import BaseSchedule
from celeriac.schedules.walltime import zone_of

#: What is written when an entry has fired, which changes nothing about when it is due.
_RUN_FIELDS = frozenset({"last_run_at", "total_run_count", "last_slot", "fired_count", "recent_runs"})
#: Where one of these changes, due times count from now on.
_WHEN_FIELDS = (
    *(name for names in rules.FIELDS_OF.values() for name in names),
    "kind",
    "timezone",
    "start_time",
)


def new_stamp() -> int:
    """Return a number that no row has had; the sum over all rows tells beat whether any was changed or deleted."""
    return random.getrandbits(40)


def now() -> datetime:
    """Return the current time, aware also where the project's are not."""
    moment: datetime = rules.aware(django_timezone.now())
    return moment


class Kind(models.TextChoices):
    """What tells when a schedule is due."""

    INTERVAL = "interval", _("every so often")
    CRONTAB = "crontab", _("at times of the clock and the calendar")
    CLOCKED = "clocked", _("once, at a time")
    SOLAR = "solar", _("by the sun")
    CODE = "code", _("as the code says")


class Unit(models.TextChoices):
    """Units of intervals."""

    SECONDS = "seconds", _("Seconds")
    MINUTES = "minutes", _("Minutes")
    HOURS = "hours", _("Hours")
    DAYS = "days", _("Days")


class Missed(models.TextChoices):
    """What becomes of due times that nobody was there for."""

    RUN_ONCE = "run_once", _("run once for all of them")
    SKIP = "skip", _("skip them")
    RUN_ALL = "run_all", _("run once for each")


class Overlap(models.TextChoices):
    """What becomes of a due time while the run that was sent before has not ended."""

    ALLOW = "allow", _("run it beside that")
    SKIP = "skip", _("skip it")


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    """Changes that go past `save` are heard by beat as well."""

    def update(self, **values: Any) -> int:
        """Change rows as Django does, and have beat notice."""
        if not _RUN_FIELDS.issuperset(values):
            values.setdefault("stamp", new_stamp())
            values.setdefault("date_changed", django_timezone.now())
            again = Value(now(), output_field=UnixTimeField())
            if any(field in values for field in _WHEN_FIELDS):
                values.setdefault("counts_from", again)
            elif values.get("enabled") is True:
                values.setdefault(
                    "counts_from", Case(When(enabled=False, then=again), default=F("counts_from"))
                )
        return super().update(**values)


class Schedule(models.Model):
    """A task, and when it is to be sent. Of the fields that tell when, those of `kind` count.

    `from_code` is empty where the database says what holds; otherwise it tells where the code says it, and of this row
    only `enabled` counts.
    """

    name = models.CharField(
        _("name"),
        max_length=255,
        unique=True,
        help_text=_("What to call it, in lists, logs and on the command line."),
    )
    task = models.CharField(
        _("task"), max_length=255, help_text=_("The name of the task, such as shop.tasks.tidy_up.")
    )
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("What is due while it is off is not made up for later.")
    )
    description = models.TextField(_("description"), blank=True, help_text=_("What it is for."))
    kind = models.CharField(_("run"), max_length=16, choices=Kind.choices, default=Kind.INTERVAL)

    every = models.FloatField(
        _("every"),
        null=True,
        blank=True,
        help_text=_("A number, more than 0."),
        validators=[MinValueValidator(0.001)],
    )
    unit = models.CharField(_("unit"), max_length=16, choices=Unit.choices, default=Unit.SECONDS, blank=True)

    minute = models.CharField(
        _("minute"), max_length=255, default="*", blank=True, help_text=_("0 to 59: * or */15 or 0,30.")
    )
    hour = models.CharField(
        _("hour"), max_length=255, default="*", blank=True, help_text=_("0 to 23: * or 8-17 or 8-17/3.")
    )
    day_of_month = models.CharField(
        _("day of the month"),
        max_length=255,
        default="*",
        blank=True,
        help_text=_("1 to 31: * or 1,15 or 1-7."),
    )
    month_of_year = models.CharField(
        _("month"),
        max_length=255,
        default="*",
        blank=True,
        help_text=_("1 to 12, or names: * or jan-mar or */3."),
    )
    day_of_week = models.CharField(
        _("day of the week"), max_length=255, default="*", blank=True,
        help_text=_("0 to 6, Sunday is 0, or names: * or mon-fri. All three date fields have to match."),
    )  # fmt: skip

    clocked_time = models.DateTimeField(_("at"), null=True, blank=True, help_text=_("When to run, once."))

    event = models.CharField(_("event"), max_length=24, choices=rules.EVENTS, blank=True, default="")
    latitude = models.FloatField(
        _("latitude"), null=True, blank=True, help_text=_("In degrees; south of the equator it is negative."),
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
    )  # fmt: skip
    longitude = models.FloatField(
        _("longitude"), null=True, blank=True, help_text=_("In degrees; west of Greenwich it is negative."),
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
    )  # fmt: skip

    timezone = models.CharField(
        _("time zone"), max_length=63, blank=True, default="",
        help_text=_("Whose clock counts, such as Europe/Berlin. Empty: the project's."),
    )  # fmt: skip
    start_time = models.DateTimeField(
        _("start"),
        null=True,
        blank=True,
        help_text=_("Not due before that. Intervals are counted from here."),
    )
    end_time = models.DateTimeField(_("end"), null=True, blank=True, help_text=_("Not due after that."))
    one_off = models.BooleanField(
        _("only once"), default=False, help_text=_("Switched off by itself when it has run once.")
    )
    missed = models.CharField(
        _("if nobody was there"), max_length=16, choices=Missed.choices, default=Missed.RUN_ONCE,
        help_text=_("What becomes of due times when no beat ran."),
    )  # fmt: skip
    missed_limit = models.PositiveIntegerField(
        _("at most so many"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("Of many that were missed, so many are run, the last ones. Empty: 100."),
    )  # fmt: skip
    overlap = models.CharField(
        _("if the last run has not ended"), max_length=16, choices=Overlap.choices, default=Overlap.ALLOW,
        help_text=_("What becomes of a due time while the run before waits, runs or is to be retried."),
    )  # fmt: skip

    args = models.JSONField(
        _("arguments"), default=list, blank=True, help_text=_('A JSON list: ["north", 10]')
    )
    kwargs = models.JSONField(
        _("arguments by name"), default=dict, blank=True, help_text=_('A JSON object: {"limit": 10}')
    )
    queue = models.CharField(
        _("queue"), max_length=255, blank=True, default="", help_text=_("Empty: the task's own.")
    )
    exchange = models.CharField(_("exchange"), max_length=255, blank=True, default="")
    routing_key = models.CharField(_("routing key"), max_length=255, blank=True, default="")
    priority = models.PositiveSmallIntegerField(
        _("priority"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(255)],
        help_text=_("Empty: the task's own."),
    )
    headers = models.JSONField(
        _("headers"),
        default=dict,
        blank=True,
        help_text=_('What else travels with the task, a JSON object: {"tenant": "a"}'),
    )
    expires_after = models.FloatField(
        _("expires after"), null=True, blank=True, validators=[MinValueValidator(0.001)],
        help_text=_("Seconds that the task may wait for a worker; then it is not run any more."),
    )  # fmt: skip
    expires = models.DateTimeField(
        _("expires at"), null=True, blank=True, help_text=_("Or a time, for all runs.")
    )

    last_run_at = UnixTimeField(_("last run"), null=True, blank=True, editable=False)
    total_run_count = models.BigIntegerField(_("runs"), default=0, editable=False)
    date_changed = models.DateTimeField(_("changed"), auto_now=True)
    from_code = models.CharField(_("from code"), max_length=255, blank=True, default="", editable=False)
    #: In plain words, where the fields do not say it: a schedule of the project's own, in code.
    code_words = models.CharField(max_length=255, blank=True, default="", editable=False)
    #: Due times up to then are over: it was changed or switched on then.
    counts_from = UnixTimeField(default=now, editable=False)
    #: The last due time that is over, and how many firings the broker had counted when that was written down.
    last_slot = UnixTimeField(null=True, editable=False)
    fired_count = models.BigIntegerField(default=0, editable=False)
    #: The ids of the tasks that were sent last, each with the end of its line, the newest first.
    recent_runs = models.TextField(default="", editable=False)
    #: Another number after each change.
    stamp = models.BigIntegerField(default=new_stamp, editable=False)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        verbose_name = _("schedule")
        ordering = ("name",)
        indexes = (models.Index(fields=["stamp"], name="celeriac_schedule_stamp"),)

    def __str__(self) -> str:
        return str(self.name)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it as Django does, and have beat notice."""
        if self._was is not None and self.is_retimed:
            self.counts_from = now()
        self.stamp = new_stamp()
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "stamp", "date_changed", "counts_from"}
        super().save(*args, **kwargs)
        self._was = self._when()

    #: How the fields were that say when, as far as they were read; None: it is new.
    _was: dict[str, Any] | None = None

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> "Schedule":
        """Remember how it was, so that `save` knows whether its times have changed."""
        found = super().from_db(*args, **kwargs)
        found._was = found._when()
        return found

    def _when(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in (*_WHEN_FIELDS, "enabled") if name in self.__dict__}

    @property
    def is_retimed(self) -> bool:
        """Whether it is new, or other due times hold than when it was read."""
        was = self._was
        if was is None:
            return True
        changed = {name for name, value in self._when().items() if name not in was or was[name] != value}
        return bool(changed - {"enabled"}) or (bool(changed) and self.enabled)

    def clean(self) -> None:
        """Raise ValidationError for what cannot be, and empty the fields of other kinds."""
        super().clean()
        rules.check(self)
        rules.empty_others(self)

    # -- when

    @property
    def schedule(self) -> BaseSchedule:
        """What tells when it is due, a value of `celeriac.schedules`; raises ValueError, TypeError, NotInstalled."""
        return rules.schedule_of(self)

    @property
    def given(self) -> dict[str, Any]:
        """The entry in the form that `beat_schedule` has in settings; raises what `schedule` raises."""
        return rules.entry_form(self)

    @property
    def entry(self) -> Entry:
        """The entry as beat takes it; raises ImproperlyConfigured, or what `schedule` raises."""
        made = entry_of(self.name, self.given)
        made.since = self.since
        return made

    @property
    def since(self) -> float:
        """Up to when its due times are over, a unix time."""
        since: float = self.counts_from.timestamp()
        if self.clocked_time is None or self.kind != Kind.CLOCKED:
            return since
        # One that is asked for "now" may be over before it is saved.
        at: float = rules.aware(self.clocked_time).timestamp()
        return min(since, at - 1)

    @property
    def problem(self) -> str:
        """Why it can never be due as it stands, empty where it can."""
        try:
            _ = self.entry
        except rules.WRONG as error:
            return str(error)
        return ""

    @property
    def words(self) -> str:
        """When it is due, in plain words: "at 04:00 on Mondays"."""
        try:
            return self.schedule.human_readable
        except rules.WRONG as error:
            return self.code_words or f"cannot be read: {error}"

    @property
    def recent(self) -> list[str]:
        """The ids of the tasks that were sent last, the newest first."""
        *lines, _ = self.recent_runs.split("\n")  # of the last one the end may be cut off
        return list(dict.fromkeys(lines))[:RECENT]

    def next_runs(
        self, count: int = 5, zone: tzinfo | None = None, after: datetime | None = None
    ) -> list[datetime]:
        """Return its next due times, in `zone`: its own or the project's where none is given. None while it is off."""
        if not self.enabled or self.problem:
            return []
        moment = (after or datetime.now(UTC)).timestamp()
        slots = due.upcoming(self.entry, self._over().timestamp(), moment, rules.project_zone())
        shown = zone or zone_of(self.timezone or None) or rules.project_zone()
        return [datetime.fromtimestamp(slot, shown) for slot in islice(slots, count)]

    def _over(self) -> datetime:
        """Return up to when its due times are over."""
        since: datetime = self.counts_from
        return since if self.last_slot is None else max(self.last_slot, since)


class SchedulePause(models.Model):
    """One row, once anybody paused the whole schedule: whether it is paused, and since when it is not any more."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    paused = models.BooleanField(default=False)
    counts_from = UnixTimeField(default=now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "paused" if self.paused else "not paused"
