"""Fixtures for all tests. Exams are told to pytest so that their asserts explain themselves."""

import hypothesis
import pytest

pytest.register_assert_rewrite("celeriac.testing.broker_exam", "celeriac.testing.store_exam")

from tests.servers import mariadb_server, postgres_server, redis_server  # noqa: E402

__all__ = ["mariadb_server", "postgres_server", "redis_server"]

# A machine that does other things as well is slow now and then, which says nothing about what is tested.
hypothesis.settings.register_profile(
    "patient",
    hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")
