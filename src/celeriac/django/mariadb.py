"""What MariaDB's tables need beside what Django makes: called by the first migration, does nothing elsewhere.

Names are compared byte by byte, as on other databases. Indexes take the place of the partial ones, which MariaDB does
not have; `urgency` is -priority, since an index has to rise with what it sorts by.
"""

from typing import Any

_COLLATION = "utf8mb4_nopad_bin"
_INDEXES = (
    "ALTER TABLE celeriac_message ADD COLUMN urgency SMALLINT AS (-priority) VIRTUAL, "
    "DROP INDEX IF EXISTS celeriac_scheduled, DROP INDEX IF EXISTS celeriac_in_flight, "
    "DROP INDEX IF EXISTS celeriac_dead, ADD INDEX celeriac_ready (state, queue, urgency, `order`, id), "
    "ADD INDEX celeriac_scheduled (state, moment, queue), ADD INDEX celeriac_in_flight (state, consumer)"
)


def prepare_tables(apps: Any, schema_editor: Any) -> None:
    """Change the tables that the migration has just made."""
    connection = schema_editor.connection
    if connection.vendor != "mysql" or not connection.mysql_is_mariadb:
        return
    for model in apps.get_app_config("celeriac").get_models():
        if model._meta.managed:
            table = connection.ops.quote_name(model._meta.db_table)
            schema_editor.execute(
                f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {_COLLATION}"
            )
    schema_editor.execute(_INDEXES)
