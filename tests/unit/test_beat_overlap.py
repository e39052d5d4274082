"""Entries with `overlap="skip"`: nothing is sent while the run before has not ended, however that ends."""

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import overlap
from celeriac.beat import calls
from celeriac.beat.engine import ELECTION, TERM
from celeriac.broker import Action, Settlement, run_office
from celeriac.message import protocol
from celeriac.periodic import periodic
from tests.unit.test_beat import World, every, names


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.app.close()


def end(world: World, **how: Any) -> None:
    """End all that was handed out as a worker does that has run it."""
    for delivery in world.broker.held("test", world.seq):
        frees = overlap.ended(protocol.decode(delivery.payload))
        assert world.broker.settle("test", [Settlement(delivery.tag, frees=frees, **how)]) == set()


def test_nothing_is_sent_until_the_run_has_ended(world: World, caplog: pytest.LogCaptureFixture) -> None:
    beat = world.beat(a=every(10, overlap="skip"), b=every(10))
    with caplog.at_level("INFO", "celeriac.beat"):
        world.live(10.5, beat)
        assert names(world) == {"a": 1, "b": 1}
        world.live(30, beat)
    assert names(world) == {"b": 3}
    assert caplog.text.count("'a' is due and is skipped") == 3
    fired = world.broker.fired(["a"])["a"]
    assert fired.count == 1 and fired.slot == pytest.approx(world.now, abs=10)
    end(world)
    world.live(10, beat)
    assert names(world) == {"a": 1, "b": 1}
    end(world, action=Action.DEAD, reason="poison")
    world.live(10, beat)
    assert names(world) == {"a": 1, "b": 1}


def test_also_where_another_beat_takes_over(world: World) -> None:
    first = world.beat(a=every(10, overlap="skip"))
    world.live(10.5, first)
    assert names(world) == {"a": 1}
    second = world.beat()
    world.live(TERM + ELECTION + 30, second)
    assert names(world) == {}
    end(world)
    world.live(10, second)
    assert names(world) == {"a": 1}


def test_of_several_that_were_missed_one_is_sent(world: World) -> None:
    world.live(10.5, world.beat(a=every(10, overlap="skip", missed="run_all")))
    names(world)
    end(world)
    world.go_on(100)
    world.live(0.1, world.beat())
    sent = world.sent()
    slot = world.broker.fired(["a"])["a"].slot
    assert sent == [("a", calls.task_id("a", slot))]


def test_a_run_that_was_lost_is_waited_for_for_a_day(world: World) -> None:
    beat = world.beat(a=every(3600, overlap="skip"))
    world.live(3601, beat)
    assert names(world) == {"a": 1}
    world.broker.purge(["celery"])
    world.live(overlap.LONGEST - 2, beat)
    assert names(world) == {}
    world.live(7200, beat)
    assert names(world) == {"a": 1}


def test_what_is_sent_by_hand_holds_nothing(world: World) -> None:
    beat = world.beat(a=every(10, overlap="skip"))
    world.live(1, beat)
    calls.run_now(world.app, beat.entries["a"], world.now)
    world.live(10, beat)
    sent = names(world)
    assert sent["a"] >= 1 and world.broker.elect(run_office("a"), "another", 1) != "another"


def test_where_it_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.registry.periodic", {})

    @periodic(10, overlap="skip")
    @world.app.task(name="beaten.tidy")
    def tidy() -> None: ...

    beat = world.beat(b=every(10))
    assert {name: entry.overlap for name, entry in beat.entries.items()} == {
        "beaten.tidy": "skip",
        "b": "allow",
    }
