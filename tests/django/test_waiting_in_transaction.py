"""`get()` where it would wait for what only the commit can bring: refused, on any broker."""

from collections.abc import Iterator

import pytest
from django.db import transaction

from celeriac import Celeriac
from celeriac.brokers.memory import MemoryBroker
from celeriac.django.broker import DatabaseBroker
from celeriac.errors import TaskTimeout, WaitInTransaction


@pytest.fixture(params=["django://default", "memory://in-transaction"])
def app(request: pytest.FixtureRequest, broker: DatabaseBroker) -> Iterator[Celeriac]:
    made = Celeriac("waiting", broker=request.param, backend="memory://in-transaction")
    yield made
    if isinstance(made.broker, MemoryBroker):
        made.broker.clear()
    made.close()


def test_it_is_refused_before_the_commit_and_waits_after_it(app: Celeriac) -> None:
    job = app.task(name="waiting.job")(lambda: None)
    with transaction.atomic():
        result = job.delay()
        with pytest.raises(WaitInTransaction, match="commits"):
            result.get(timeout=5)
        assert result.id
    with pytest.raises(TaskTimeout):
        result.get(timeout=0.01)
    assert app.broker.depths()["celery"].ready == 1


def test_what_was_sent_before_may_be_waited_for(app: Celeriac) -> None:
    result = app.task(name="waiting.job")(lambda: None).delay()
    with transaction.atomic(), pytest.raises(TaskTimeout):
        result.get(timeout=0.01)
