"""Fixtures for tests with Django: a migrated default database, Celeriac at home in it, and empty tables."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.settings")

from tests.django import databases

databases.set_up()

from django.contrib.admin.models import LogEntry  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment, teardown_test_environment  # noqa: E402

from celeriac import registry  # noqa: E402
from celeriac.django import framework  # noqa: E402
from celeriac.django.broker import DatabaseBroker  # noqa: E402
from celeriac.django.store import DatabaseStore  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def default_database() -> Iterator[None]:
    call_command("migrate", verbosity=0)
    setup_test_environment()
    yield
    teardown_test_environment()
    connections.close_all()
    name = connections["default"].settings_dict["NAME"]
    for suffix in ("", "-wal", "-shm"):
        Path(f"{name}{suffix}").unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def at_home() -> Iterator[None]:
    """Celeriac as it is in a Django project: for the test, not for the tests of the core."""
    framework.install()
    before = registry.apps()
    yield
    for app in registry.apps():
        if app not in before:
            app.close()  # made by default, say: the next test is not to find it
    registry._framework.clear()
    registry._default.clear()
    for connection in connections.all(initialized_only=True):
        assert not connection.in_atomic_block, "a test left a transaction open"
    databases.empty("default")


@pytest.fixture
def broker() -> Iterator[DatabaseBroker]:
    broker = DatabaseBroker("django://")
    yield broker
    broker.close()


@pytest.fixture
def store() -> Iterator[DatabaseStore]:
    store = DatabaseStore("django-db")
    yield store
    store.close()


def logged_in(user: User) -> Iterator[tuple[Client, User]]:
    client = Client()
    client.force_login(user)
    yield client, user
    LogEntry.objects.all().delete()
    user.delete()


@pytest.fixture
def boss() -> Iterator[Client]:
    """Somebody who may do everything in the admin."""
    for client, _ in logged_in(User.objects.create_superuser("boss")):
        yield client


@pytest.fixture
def clerk() -> Iterator[tuple[Client, User]]:
    """Somebody of the staff without any permission."""
    yield from logged_in(User.objects.create_user("clerk", is_staff=True))
