"""The signals around publishing in Django's transactions: the call is told at once, the publication when it happens."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from celeriac.app import Celeriac
from celeriac.brokers.memory import MemoryBroker
from celeriac.django import framework
from celeriac.django.broker import DatabaseBroker
from celeriac.signals import after_task_publish, before_task_publish

URL = "memory://publish-signals"


@pytest.fixture
def told() -> Iterator[list[str]]:
    lines: list[str] = []

    def before(sender: str, headers: dict[str, Any], **_more: Any) -> None:
        lines.append(f"before {sender}")
        headers["traceparent"] = "00-1"

    def after(sender: str, headers: dict[str, Any], **_more: Any) -> None:
        lines.append(f"after {sender} {headers['traceparent']}")

    before_task_publish.connect(before)
    after_task_publish.connect(after)
    yield lines
    before_task_publish.disconnect(before)
    after_task_publish.disconnect(after)


@pytest.fixture
def app() -> Iterator[Celeriac]:
    with override_settings(CELERY_BROKER_URL=URL):
        app = framework.make_default_app()
        yield app
        app.close()
    MemoryBroker(URL).clear()


def make(app: Celeriac) -> Any:
    @app.task(name="shop.pay")
    def pay(n: int) -> None: ...

    return pay


BEFORE, AFTER = "before shop.pay", "after shop.pay 00-1"


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("how", ["delay", "delay_on_commit"])
def test_after_the_commit(app: Celeriac, told: list[str], how: str) -> None:
    with transaction.atomic():
        getattr(make(app), how)(1)
        assert told == [BEFORE]
    assert told == [BEFORE, AFTER]


@pytest.mark.usefixtures("broker")
def test_nothing_is_published_after_a_rollback(app: Celeriac, told: list[str]) -> None:
    with pytest.raises(LookupError), transaction.atomic():
        make(app).delay(1)
        raise LookupError
    assert told == [BEFORE]


@pytest.mark.usefixtures("broker")
def test_a_batch_in_a_transaction(app: Celeriac, told: list[str]) -> None:
    pay = make(app)
    with transaction.atomic():
        app.send_many([(pay, (1,)), (pay, (2,))])
        assert told == [BEFORE, BEFORE]
    assert told == [BEFORE, BEFORE, AFTER, AFTER]


def test_the_projects_database_has_it_at_once(broker: DatabaseBroker, told: list[str]) -> None:
    app = framework.make_default_app()
    with transaction.atomic():
        make(app).delay(1)
        assert told == [BEFORE, AFTER]
    assert sum(depth.ready for depth in broker.depths().values()) == 1
    app.close()
