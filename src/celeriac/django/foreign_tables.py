"""Tables of packages that projects come from, read as they are: models for what their version of a table has.

Called by the imports. The package itself need not be installed any more.
"""

from collections.abc import Mapping
from typing import Any

from django.apps.registry import Apps
from django.db import connections, models


def model_of(alias: str, table: str, fields: Mapping[str, type[Any]]) -> type[models.Model] | None:
    """Return a model of those of `fields` that the table has, known to nobody else; None where there is no table."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return None
        columns = {each.name for each in connection.introspection.get_table_description(cursor, table)}
    body: dict[str, Any] = {name: kind() for name, kind in fields.items() if name in columns}
    meta = {"app_label": "celeriac", "apps": Apps(), "db_table": table, "managed": False}
    return type(table, (models.Model,), {**body, "__module__": __name__, "Meta": type("Meta", (), meta)})
