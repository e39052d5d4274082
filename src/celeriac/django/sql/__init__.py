"""The SQL of the database broker and store: named statements in files, one file for each database and one for all.

`-- name: claim` begins a statement. Parameters are `%s` in the files; the columns are described in `common.sql`.
Read by `celeriac.django.session` when a database is first used, never written to at run time.
"""

import re
from functools import cache
from pathlib import Path

# What differs between the databases inside an otherwise equal statement. A clock is always the database's own.
_MACROS = {
    "sqlite": {
        "now": "((julianday('now') - 2440587.5) * 86400.0)",
        "in_ids": "IN (SELECT value FROM json_each(%s))",
        "in_names": "IN (SELECT value FROM json_each(%s))",
        "names": "json_each(%s)",
        "length": "length",
        "begin_of": "substr",
        "and_lock": "",
        # They go in about the order in which they came.
        "about_results": "coalesce((SELECT max(id) FROM celeriac_taskresult) "
        "- (SELECT min(id) FROM celeriac_taskresult) + 1, 0)",
    },
    "postgresql": {
        "now": "extract(epoch FROM clock_timestamp())::float8",
        "in_ids": "= ANY(%b::bigint[])",
        "in_names": "= ANY(%b::text[])",
        "names": "unnest(%b::text[]) AS given (value)",
        "length": "octet_length",
        "begin_of": "substring",
        "and_lock": "ORDER BY id FOR UPDATE",
        "about_results": "reltuples::bigint FROM pg_class WHERE oid = 'celeriac_taskresult'::regclass",
    },
    "mysql": {
        "now": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) / 1e6)",
        "in_ids": "IN %s",
        "in_names": "IN %s",
        "names": "",
        "length": "length",
        "begin_of": "substring",
        "and_lock": "ORDER BY id FOR UPDATE",
        "about_results": "table_rows FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = 'celeriac_taskresult'",
        "kept": "(state = 'SUCCESS' AND VALUES(state) <> 'SUCCESS')",
    },
}


@cache
def statements(vendor: str) -> dict[str, str]:
    """Return the statements for `vendor` ("sqlite", "postgresql" or "mysql") by name, in its own parameter style."""
    found: dict[str, str] = {}
    for file in ("common.sql", f"{vendor}.sql"):
        text = Path(__file__).with_name(file).read_text(encoding="utf-8")
        for block in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
            name, _, body = block.partition("\n")
            lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
            sql = " ".join(" ".join(lines).split())
            for macro, meaning in _MACROS[vendor].items():
                sql = sql.replace("{" + macro + "}", meaning)
            if vendor == "sqlite":
                sql = sql.replace("%s", "?")
            elif vendor == "mysql":
                sql = sql.replace('"', "`")
            found[name.strip()] = sql
    return found
