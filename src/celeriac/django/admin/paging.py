"""What keeps lists of a million rows quick: capped counts, values for filters found in an index, bounded filters.

`narrow` is the heart: of the conditions that a list is filtered by, the one with an index leads, and the others are
looked at in at most `WINDOW` of its newest rows. Databases are never asked for more, however the conditions combine.
"""

from collections.abc import Mapping
from typing import Any

from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Model, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.utils.functional import cached_property

#: Counting stops here, and so does paging.
MOST = 10_000
#: How many of the newest rows are looked at where no index has the answer.
WINDOW = 10_000
#: How many values a filter offers.
CHOICES = 200
#: In how many of the newest rows values for filters without an index are looked for.
RECENT = 2_000


class Many(int):
    """A count that stopped at MOST; it reads "10,000+"."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class CappedPaginator(Paginator):
    """Counts no further than MOST."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        number: int = rows.order_by().values("pk")[: MOST + 1].count()  # an index has these
        return Many(MOST) if number > MOST else number


def narrow(rows: QuerySet, indexed: tuple[str, ...], wanted: Mapping[str, str]) -> tuple[QuerySet, bool]:
    """Return the rows that have all `wanted` values, and whether only the newest were looked at.

    `indexed` are the columns with an index on (column, id), the best first. With one of them alone the answer is
    complete.
    """
    leader = next((name for name in indexed if name in wanted), None)
    led = rows if leader is None else rows.filter(**{leader: wanted[leader]})
    others = {name: value for name, value in wanted.items() if name != leader}
    if not others:
        return led, False
    edge = list(led.order_by("-id").values_list("id", flat=True)[WINDOW : WINDOW + 1])
    if edge:
        led = led.filter(id__gt=edge[0])
    for name, value in others.items():
        # The expression hides the column from the planner, which might else lead with its index.
        led = led.alias(**{f"_{name}": Coalesce(name, Value(""))}).filter(**{f"_{name}": value})
    return led, bool(edge)


def values_of(
    model: type[Model], alias: str, indexed: tuple[str, ...], recent: tuple[str, ...]
) -> dict[str, list[str]]:
    """Return the values of columns, in one query: of `indexed` ones all, of `recent` ones those of the newest rows."""
    connection = connections[alias]
    table = connection.ops.quote_name(model._meta.db_table)
    parts = [_leaps(table, column, index) for index, column in enumerate(indexed)]
    for number, column in enumerate(recent):
        newest = f"SELECT {column} FROM {table} ORDER BY id DESC LIMIT {RECENT}"
        parts.append(f"SELECT DISTINCT '{column}', {column} FROM ({newest}) r{number}")
    found: dict[str, list[str]] = {column: [] for column in (*indexed, *recent)}
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        for column, value in cursor.fetchall():
            if value:
                found[column].append(value)
    return {column: sorted(values) for column, values in found.items()}


def _leaps(table: str, column: str, number: int) -> str:
    """SQL for the distinct values of an indexed column: from each to the next, without the rows between."""
    leap = f"leap{number}"
    return (
        f"SELECT '{column}', v FROM (WITH RECURSIVE {leap}(v, n) AS (SELECT min({column}), 1 FROM {table} "
        f"UNION ALL SELECT (SELECT min({column}) FROM {table} WHERE {column} > {leap}.v), n + 1 "
        f"FROM {leap} WHERE v IS NOT NULL AND n < {CHOICES}) SELECT v FROM {leap} WHERE v IS NOT NULL) l{number}"
    )


def newest_of_names(rows: QuerySet, names: list[str]) -> QuerySet:
    """Return the rows of several names, of each the newest only, MOST in all."""
    table = connections[rows.db].ops.quote_name(rows.model._meta.db_table)
    each = max(1, MOST // len(names))
    part = f"SELECT id FROM (SELECT id FROM {table} WHERE name = %s ORDER BY id DESC LIMIT {each}) n"
    parts = " UNION ALL ".join([part] * len(names))
    return rows.filter(id__in=RawSQL(parts, names))
