"""Fixtures for all tests. Exams are told to pytest so that their asserts explain themselves."""

import pytest

pytest.register_assert_rewrite("celeriac.testing.broker_exam", "celeriac.testing.store_exam")

from tests.servers import postgres_server, redis_server  # noqa: E402

__all__ = ["postgres_server", "redis_server"]
