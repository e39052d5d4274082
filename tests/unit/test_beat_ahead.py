"""Messages that beat makes ahead of their due time: they are what would have been made then, or are not used."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.beat import ahead
from celeriac.beat.agenda import Agenda
from celeriac.beat.engine import Beat
from celeriac.message import protocol
from celeriac.message.message import Message
from celeriac.schedules import crontab
from celeriac.signals import after_task_publish, before_task_publish
from tests.unit.test_beat import NOON, World, every


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.app.close()


def messages(world: World, queue: str = "celery") -> list[Message]:
    """Return what was sent, and take it."""
    world.broker.register(queue, 1e9)
    return [protocol.decode(each.payload) for each in world.broker.claim(queue, [queue], 1000, 1)]


def come_near(world: World, beat: Beat) -> None:
    """Live until all of the next ten seconds is made."""
    while not beat.turn():
        world.go_on(0.001)


def test_messages_say_nothing_of_when_they_were_made(world: World) -> None:
    given = every(10, args=(1,), kwargs={"x": 2}, options={"expires": 5, "headers": {"h": 1}})
    beat, late = world.beat(a=given), World()
    come_near(world, beat)
    assert "a" in beat._ahead._made
    world.go_on(10)
    beat.turn()
    other = late.beat(a=given)
    other.turn()
    other._ahead.clear()
    late.go_on(10)
    other.turn()
    (made,), (then,) = messages(world), messages(late)
    slot = world.broker.fired(["a"])["a"].slot
    assert made.properties.timestamp == pytest.approx(slot, abs=0.001)
    assert made.properties.expiration == "5000"
    assert (made.body, made.custom) == (then.body, then.custom)
    made.headers.expires = then.headers.expires = None  # by the clocks, which stand a little apart
    made.headers.id = made.headers.root_id = then.headers.id = then.headers.root_id = ""
    assert made.headers == then.headers
    late.app.close()


def test_a_due_time_that_has_to_be_looked_at_is(world: World) -> None:
    beat = world.beat(once=every(10), each=every(10, missed="run_all"), none=every(10, missed="skip"))
    come_near(world, beat)
    world.go_on(100)
    beat.turn()
    names = [message.custom["periodic_task_name"] for message in messages(world)]
    assert sorted(names) == ["each"] * 10 + ["none", "once"]


def test_what_is_made_late_goes_by_the_time_at_which_it_is_sent(world: World) -> None:
    beat = world.beat(a=every(3600, options={"expires": 10}))
    world.live(3595, beat)
    come_near(world, beat)
    world.go_on(5 + ahead.FRESH + 20)
    beat._election = world.running + 1
    beat.turn()
    (message,) = messages(world)
    assert message.headers.expires == "2026-11-23T13:00:35+00:00"


def test_lazy_arguments_and_receivers_see_the_due_time(world: World) -> None:
    class Lazy:
        lazy_for_beat = True

        def __call__(self) -> int:
            return int(world.now - NOON)

    told = []

    @before_task_publish.connect(weak=False)
    def about_to_send(**_: Any) -> None:
        told.append(int(world.now - NOON))

    beat = world.beat(a=every(20, args=(Lazy(),)), b=every(20, kwargs={"x": Lazy()}), c=every(20))
    world.live(20.5, beat)
    before_task_publish.disconnect(about_to_send)
    assert told == [20] * 3
    world.live(20, beat)
    calls = [json.loads(message.body)[:2] for message in messages(world)]
    assert [[20], {}] in calls and [[40], {}] in calls
    assert [[], {"x": 20}] in calls and [[], {"x": 40}] in calls


def test_those_who_are_told_of_messages_are_told_of_these(world: World) -> None:
    sent: list[Any] = []

    @after_task_publish.connect(weak=False)
    def note(headers: Any = None, **_: Any) -> None:
        sent.append(headers["id"])

    world.live(10.5, world.beat(a=every(10)))
    after_task_publish.disconnect(note)
    assert sent == [message.headers.id for message in messages(world)] != []


def test_an_entry_that_is_another_one_is_sent_as_it_is_now(world: World) -> None:
    beat = world.beat(a=every(10, args=(1,)))
    come_near(world, beat)
    held = beat.entries["a"]
    beat.timetable.entries["a"] = type(held)("a", held.task, held.schedule, args=(2,))
    world.go_on(10)
    beat.turn()
    (message,) = messages(world)
    assert message.body.startswith(b"[[2]")


def test_many_come_near_while_others_are_due(world: World) -> None:
    many = {f"m{n}": {"task": "beaten.add", "schedule": crontab()} for n in range(300)}
    beat = world.beat(often=every(0.25), **many)
    world.live(61, beat)
    names = [message.custom["periodic_task_name"] for message in messages(world)]
    assert sorted(set(names)) == sorted(["often", *many])
    assert names.count("often") >= 240 and len(names) == names.count("often") + 300


def test_the_agenda_is_that_of_one_that_is_searched_through() -> None:
    agenda, known, near = Agenda(), dict[str, float](), set[tuple[float, str]]()
    chance = random.Random(7)
    for now in range(2000):
        name = str(chance.randrange(20))
        if chance.random() < 0.2:
            agenda.drop(name)
            known.pop(name, None)
        else:
            slot = float(now + chance.randrange(30))
            agenda.put(slot, name)
            known[name] = slot
        if chance.random() < 0.5:
            found = agenda.come_near(now + 10, 3)
            assert len(found) <= 3 and all(known[name] == slot <= now + 10 for slot, name in found)
            near.update(found)
        if chance.random() < 0.3:
            assert known == {} or (agenda.first is not None and agenda.first <= min(known.values()))
            taken = agenda.take(now, 100)
            assert sorted(taken) == sorted((slot, name) for name, slot in known.items() if slot <= now)
            for _, name in taken:
                del known[name]
    assert near
