"""Model fields: a time kept as a number, a plain row number, and a row that shares its number with another.

Used by `celeriac.django.models` alone. Their SQL types are part of the migrations, so they must not change.
"""

import datetime as dt
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.dateparse import parse_datetime


class UnixTimeField(models.FloatField):
    """A moment, kept as seconds since 1970 and seen as an aware datetime.

    A worker writes thousands of times a second: a float needs no formatting, no parsing and no time zone, sorts
    and subtracts in every database, and is half the size of SQLite's text.
    """

    description = "Moment (unix time)"

    def from_db_value(self, value: float | None, *_: Any) -> dt.datetime | None:
        return None if value is None else dt.datetime.fromtimestamp(value, dt.UTC)

    def to_python(self, value: Any) -> dt.datetime | None:
        if value is None or isinstance(value, dt.datetime):
            return value
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        parsed = parse_datetime(str(value))
        if parsed is None:
            raise ValidationError(f"{value!r} is not a date and time.")
        return parsed

    def get_prep_value(self, value: Any) -> float | None:
        if value is None or isinstance(value, int | float):
            return value
        moment = self.to_python(value)
        if moment is None:
            return None
        if timezone.is_naive(moment):
            moment = timezone.make_aware(moment)
        return moment.timestamp()

    def value_to_string(self, obj: models.Model) -> str:
        moment = self.value_from_object(obj)
        return "" if moment is None else moment.isoformat()


class RowNumberField(models.BigAutoField):
    """A primary key that is, on SQLite, the row's own number without AUTOINCREMENT.

    AUTOINCREMENT keeps the last number in a table of its own, which makes each write a quarter longer. Whoever
    inserts has to see to it that no number comes twice.
    """

    def db_type_suffix(self, connection: BaseDatabaseWrapper) -> str | None:
        return None if connection.vendor == "sqlite" else super().db_type_suffix(connection)


class SameRowField(models.OneToOneField):
    """A primary key that is another table's primary key, without a constraint.

    On SQLite only a column of the very type `integer` is the row's own number; anything else costs a second index.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "integer" if connection.vendor == "sqlite" else super().db_type(connection)
