"""The faults play in the scenarios' projects."""

from tests.faults.network import make_sides
from tests.scenarios.conftest import (
    _durable_redis,
    make_project,
    new_database,
    pytest_runtest_makereport,
    redis,
    sqlite_template,
)

__all__ = [
    "_durable_redis",
    "make_project",
    "make_sides",
    "new_database",
    "pytest_runtest_makereport",
    "redis",
    "sqlite_template",
]
