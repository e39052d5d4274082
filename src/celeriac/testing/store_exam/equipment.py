"""What the checks work with: records, a second process, patience."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import msgspec
import pytest

from celeriac import states
from celeriac.store import Record, ResultStore
from celeriac.testing.elsewhere import LONG as LONG
from celeriac.testing.elsewhere import SOON as SOON
from celeriac.testing.elsewhere import elsewhere as elsewhere
from celeriac.testing.elsewhere import start as start

MakeStore = Callable[..., ResultStore]


TIMES = ("enqueued", "started", "finished")


def record(state: str = states.SUCCESS, result: bytes = b"null", **fields: Any) -> Record:
    """Return a record with an id of its own."""
    fields.setdefault("id", str(uuid.uuid4()))
    return Record(state=state, result=result, **fields)


def full_record() -> Record:
    """Return a record with something in every field."""
    now = time.time()
    return Record(
        id=str(uuid.uuid4()),
        state=states.FAILURE,
        result='{"exc_type":"ValueError","exc_message":["ä → 😀"],"exc_module":"builtins"}'.encode(),
        traceback='Traceback (most recent call last):\n  File "tasks.py"\nValueError: ä → 😀\n',
        name="shop.tasks.pay",
        args="(1, 'it''s', \"zwölf\")",
        kwargs="{'to': 'a@example.com'}",
        queue="ünï → q",
        worker="celery@host",
        retries=3,
        losses=2,
        enqueued=now - 10.25,
        started=now - 5.125,
        finished=now - 0.5,
        root_id=str(uuid.uuid4()),
        parent_id=str(uuid.uuid4()),
        group_id=str(uuid.uuid4()),
        children=[[[str(uuid.uuid4()), None], None], [[str(uuid.uuid4()), None], None]],
        details={"args": [1, "zwölf", None], "more": {"true": True, "half": 0.5}},
    )


def assert_same(seen: Record, meant: Record) -> None:
    """Compare two records; times may be rounded to the millisecond."""
    for name in TIMES:
        assert getattr(seen, name) == pytest.approx(getattr(meant, name), abs=0.001), name
    blank = dict.fromkeys(TIMES)
    assert msgspec.structs.replace(seen, **blank) == msgspec.structs.replace(meant, **blank)


class Fixtures:
    """What each check asks for."""

    #: Whether other processes can reach the records.
    shared: ClassVar[bool] = True
    #: How many records make a large batch. Fewer for a keeper that looks at all that it has at each.
    many: ClassVar[int] = 2500

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a function that opens the keeper; keyword arguments are settings. To be overridden."""
        raise NotImplementedError("an exam needs a fixture `make_store`")

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Iterator[ResultStore]:
        store = make_store()
        yield store
        store.close()
