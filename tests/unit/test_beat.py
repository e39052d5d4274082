"""Beat with clocks of the test's own: what fires when, once each, whoever is there and whatever the clocks do."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from celeriac import Celeriac, registry, shared_task
from celeriac.beat import calls
from celeriac.beat.engine import ELECTION, TERM, Beat
from celeriac.beat.entries import from_code, read
from celeriac.broker import Firing
from celeriac.brokers.memory import MemoryBroker
from celeriac.errors import BrokerDown, ImproperlyConfigured
from celeriac.message import protocol
from celeriac.periodic import periodic
from celeriac.pulse import lateness
from celeriac.schedules import crontab, schedule

#: A Monday, at noon.
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


class World:
    """A broker with a clock, and apps and beats around it."""

    def __init__(self, **settings: Any) -> None:
        self.now = NOON  # of the broker
        self.running = 0.0  # of this machine, monotonic
        self.app = Celeriac("beaten", broker="memory://", **settings)
        self.broker = MemoryBroker(f"memory://{uuid4()}", clock=lambda: self.now)
        self.app.__dict__["_broker"] = self.broker

        @self.app.task(name="beaten.add")
        def add(*args: int, **kwargs: int) -> int:
            return sum(args)

    def beat(self, **entries: Any) -> Beat:
        if entries:
            self.app.conf.update(beat_schedule=entries)
        beat = Beat(self.app, "beat@here", lambda: self.running)
        beat.broker = self.broker
        return beat

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.running += seconds

    def live(self, seconds: float, *beats: Beat) -> None:
        """Let time go by as beats sleep, each as long as it wants."""
        end = self.running + seconds
        wake = dict.fromkeys(beats, self.running)
        while True:
            beat = min(wake, key=wake.__getitem__)
            if wake[beat] > end:
                break
            self.go_on(max(0.0, wake[beat] - self.running))
            wake[beat] = self.running + max(0.001, beat.turn())
        self.go_on(end - self.running)

    def sent(self) -> list[tuple[str, float]]:
        """Return the entry and the time of what was sent, and take it."""
        if not hasattr(self, "consumer"):
            self.consumer, self.seq = "test", 0
            self.broker.register("test", 1e9)
        self.seq += 1
        found = []
        for delivery in self.broker.claim("test", ["celery"], 100_000, self.seq):
            message = protocol.decode(delivery.payload)
            found.append((message.custom["periodic_task_name"], message.headers.id))
        return found


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.app.close()


def every(seconds: float, **more: Any) -> dict[str, Any]:
    return {"task": "beaten.add", "schedule": seconds, **more}


def names(world: World) -> Counter[str]:
    sent = world.sent()
    assert len({task_id for _, task_id in sent}) == len(sent), "no id twice"
    return Counter(name for name, _ in sent)


class TestPulse:
    """What workers tell of how late the schedule is."""

    def test_it_is_in_time_while_a_beat_is_there_and_later_and_later_without(self, world: World) -> None:
        beat, standby = world.beat(a=every(10), b=every(0.5)), world.beat()
        world.live(60, beat, standby)
        assert lateness(world.broker) == 0.0
        world.go_on(TERM + 100)
        assert 100 - ELECTION <= (lateness(world.broker) or 0) <= 100 + ELECTION
        world.live(1, standby)
        assert lateness(world.broker) == 0.0

    def test_what_cannot_be_fired_is_late(self, world: World) -> None:
        beat = world.beat(a=every(10))
        world.live(9, beat)
        beat._fire = lambda: None  # type: ignore[method-assign]
        world.live(31, beat)
        assert 30 - ELECTION <= (lateness(world.broker) or 0) <= 30


class TestFiring:
    def test_a_new_entry_is_due_an_interval_later_and_then_each_time(self, world: World) -> None:
        beat = world.beat(a=every(10), b=every(60), c=every(3600))
        world.live(9.9, beat)
        assert names(world) == {}
        world.live(0.2, beat)
        assert names(world) == {"a": 1}
        world.live(600, beat)
        assert names(world) == {"a": 60, "b": 10}

    def test_nothing_drifts(self, world: World) -> None:
        beat = world.beat(a=every(7))
        for _ in range(1000):
            world.go_on(0.37)
            beat.turn()
            world.live(0.11, beat)
        assert names(world)["a"] == pytest.approx(1000 * 0.48 / 7, abs=1)
        assert (world.broker.fired(["a"])["a"].slot - NOON) % 7 == pytest.approx(0.37, abs=0.01)

    def test_crontabs_in_the_app_s_zone(self) -> None:
        world = World(timezone="Asia/Kolkata")  # 17:30 there at noon
        beat = world.beat(evening={"task": "beaten.add", "schedule": crontab(minute=0, hour=18)})
        world.live(29 * 60, beat)
        assert names(world) == {}
        world.live(2 * 60, beat)
        assert names(world) == {"evening": 1}
        world.live(24 * 3600, beat)
        assert names(world) == {"evening": 1}
        world.app.close()

    def test_the_same_entry_and_time_has_the_same_id(self) -> None:
        ids = []
        for _ in range(2):
            world = World()
            beat = world.beat(a=every(10), b=every(10))
            world.live(25, beat)
            ids.append(dict.fromkeys(world.sent()))
            world.app.close()
        assert ids[0] == ids[1]
        assert len(ids[0]) == 4

    def test_ids_are_uuids(self) -> None:
        made = [calls.task_id("entry", slot / 7) for slot in range(100)]
        assert [str(uuid5(UUID(bytes=calls._IDS), f"entry {slot / 7!r}")) for slot in range(100)] == made

    def test_args_and_options_travel(self, world: World) -> None:
        beat = world.beat(
            a=every(10, args=(1, 2), kwargs={"x": 3}, options={"queue": "p", "headers": {"h": 1}})
        )
        world.live(11, beat)
        world.broker.register("c", 60)
        (delivery,) = world.broker.claim("c", ["p"], 9, 1)
        message = protocol.decode(delivery.payload)
        assert message.custom == {"h": 1, "periodic_task_name": "a"}
        assert b'[[1,2],{"x":3}' in message.body.replace(b" ", b"")

    def test_what_cannot_be_sent_is_told_and_hurts_no_other(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        beat = world.beat(bad=every(10, args=(object(),)), good=every(10))
        world.live(35, beat)
        assert names(world) == {"good": 3}
        assert sum("'bad' could not be sent" in record.message for record in caplog.records) == 3

    def test_a_schedule_that_fails_leaves_the_others_alone(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(schedule):
            def next_after(self, moment: datetime, zone: Any = None) -> datetime | None:
                if moment.timestamp() > NOON + 15:
                    raise ValueError("the calendar has ended")
                return super().next_after(moment, zone)

        beat = world.beat(
            bad={"task": "beaten.add", "schedule": Broken(10)},
            good=every(10),
            cron={**every(10), "schedule": crontab()},
        )
        world.live(65, beat)
        sent = names(world)
        assert (sent["good"], sent["cron"]) == (6, 1) and sent["bad"] <= 2
        assert "'bad'" in caplog.text and "the calendar has ended" in caplog.text

    def test_what_counts_from_now_goes_by_the_broker_s_clock(self, world: World) -> None:
        beat = world.beat(
            a=every(10, options={"expires": 60, "queue": "a"}),
            b=every(10, options={"countdown": 30, "queue": "b"}),
        )
        world.live(10.5, beat)
        world.broker.register("c", 60)
        (delivery,) = world.broker.claim("c", ["a"], 9, 1)
        headers = protocol.decode(delivery.payload).headers
        assert datetime.fromisoformat(headers.expires or "").timestamp() == pytest.approx(NOON + 70, abs=1)
        assert world.broker.claim("c", ["b"], 9, 2) == []
        world.go_on(30)
        (delivery,) = world.broker.claim("c", ["b"], 9, 3)
        headers = protocol.decode(delivery.payload).headers
        assert datetime.fromisoformat(headers.eta or "").timestamp() == pytest.approx(NOON + 40, abs=1)

    def test_a_task_that_sends_itself_is_asked_to(self, world: World) -> None:
        asked = []

        class Own(world.app.Task):  # type: ignore[name-defined,misc]
            def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> None:
                asked.append((args, options["headers"]))

        @world.app.task(name="beaten.own", base=Own)
        def own(n: int) -> None: ...

        beat = world.beat(own={"task": "beaten.own", "schedule": 10, "args": (7,)})
        world.live(25, beat)
        assert asked == [((7,), {"periodic_task_name": "own"})] * 2


class TestSeveral:
    def test_one_of_two_is_elected_and_the_other_takes_over(self, world: World) -> None:
        one, two = world.beat(a=every(1)), world.beat()
        world.live(10.5, one, two)
        assert (one.elected, two.elected) == (True, False)
        assert names(world) == {"a": 10}
        world.live(TERM + ELECTION + 0.1, two)  # the first is dead
        assert two.elected
        world.live(5, two)
        assert names(world)["a"] >= 5

    def test_two_that_both_take_themselves_for_elected_fire_each_time_once(self, world: World) -> None:
        one, two = world.beat(a=every(1), b=every(0.7)), world.beat()
        world.live(1.05, one)
        two.turn()
        two.elected, two._offset = True, world.now - world.running
        two._take_office()
        for _ in range(300):
            world.go_on(0.13)
            for beat in (one, two):
                beat._election = world.running + 60
                beat.turn()
        passed = world.now - NOON
        assert names(world) == {"a": int(passed), "b": int(passed / 0.7)}

    def test_one_that_stops_leaves_the_office_at_once(self, world: World) -> None:
        one, two = world.beat(a=every(1)), world.beat()
        one.turn()
        one.stop()
        one.run()
        world.go_on(0.1)
        two.turn()
        assert two.elected

    def test_a_beat_that_is_dead_between_publishing_and_the_next_step_has_fired(self, world: World) -> None:
        first = world.beat(a=every(10))
        world.live(10.5, first)
        second = world.beat()
        world.live(TERM + ELECTION, second)
        world.live(30, second)
        fired = world.broker.fired(["a"])["a"]
        assert names(world)["a"] == fired.count == (world.now - NOON) // 10


class TestMissed:
    def after_downtime(self, world: World, seconds: float, **more: Any) -> int:
        world.live(10.5, world.beat(a=every(10, **more)))
        world.sent()
        world.go_on(seconds)
        world.live(0.1, world.beat())
        count = names(world)["a"]
        world.live(9.8, world.beat())
        world.sent()
        slot = world.broker.fired(["a"])["a"].slot
        assert world.now - slot < 20 and (slot - NOON) % 10 == pytest.approx(0, abs=0.01)
        return count

    def test_one_run_for_all(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        assert self.after_downtime(world, 3600) == 1
        assert "'a' was due 3590 s ago, and nobody was there: it runs once." in caplog.text

    def test_none(self, world: World) -> None:
        # What was due within the last minute is not missed, but late.
        assert self.after_downtime(world, 3600, missed="skip") == 1
        beat = world.beat(day={"task": "beaten.add", "schedule": 86400, "missed": "skip"})
        world.live(10, beat)
        world.go_on(86400 + 7200)
        world.live(1, world.beat())
        assert names(world)["day"] == 0
        world.live(86400 - 7200, world.beat())
        assert names(world)["day"] == 1

    def test_one_for_each_up_to_a_limit(self, world: World) -> None:
        assert self.after_downtime(world, 300, missed="run_all") == 30
        assert self.after_downtime(world, 100_000, missed="run_all") == 100

    def test_none_is_left_out_by_rounding(self, world: World) -> None:
        beat = world.beat(a=every(0.2, missed="run_all"))
        world.live(0.1, beat)
        begun = world.broker.fired(["a"])["a"].slot
        for _ in range(40):
            world.go_on(random.uniform(0, 15))
            beat.turn()
        fired = world.broker.fired(["a"])["a"]
        assert names(world)["a"] == fired.count == round((fired.slot - begun) / 0.2)
        assert 0 <= world.now - fired.slot < 0.2001

    def test_crontabs(self, world: World) -> None:
        beat = world.beat(
            once={"task": "beaten.add", "schedule": crontab(minute="*/5")},
            each={"task": "beaten.add", "schedule": crontab(minute="*/5"), "missed": "run_all"},
            skip={"task": "beaten.add", "schedule": crontab(minute=0, hour=4), "missed": "skip"},
        )
        world.live(1, beat)
        world.go_on(86400)
        world.live(1, world.beat())
        assert names(world) == {"once": 1, "each": 100}

    def test_a_deadline_for_crontabs(self) -> None:
        world = World(beat_cron_starting_deadline=600)
        beat = world.beat(late={"task": "beaten.add", "schedule": crontab(minute=0)}, interval=every(3600))
        world.live(1, beat)
        world.go_on(7200 + 1800)
        world.live(1, world.beat())
        assert names(world) == {"interval": 1}
        world.app.close()


class TestBounds:
    """A start, an end, and entries that are over when they have run."""

    def test_an_interval_counts_from_its_start(self, world: World) -> None:
        start = datetime.fromtimestamp(NOON + 25, UTC)
        world.live(20, world.beat(a=every(10, start_time=start, missed="run_all")))
        assert names(world) == {}
        world.live(16, world.beat())
        assert names(world) == {"a": 2}
        assert world.broker.fired(["a"])["a"].slot == NOON + 35

    def test_the_start_itself_is_due_on_a_crontab(self, world: World) -> None:
        start = datetime.fromtimestamp(NOON + 120, UTC)
        beat = world.beat(a={"task": "beaten.add", "schedule": crontab(), "start_time": start})
        world.live(119, beat)
        assert names(world) == {}
        world.live(2, beat)
        assert names(world) == {"a": 1}

    def test_nothing_after_the_end_also_when_nobody_was_there(self, world: World) -> None:
        end = datetime.fromtimestamp(NOON + 35, UTC)
        both = {"task": "beaten.add", "missed": "run_all", "end_time": end}
        world.live(11, world.beat(a={**both, "schedule": 10}, b={**both, "schedule": crontab()}))
        world.go_on(3600)
        world.live(100, world.beat())
        assert names(world) == {"a": 3}

    def test_once_whoever_asks_and_what_was_missed_counts_as_that(self, world: World) -> None:
        for gap in (0.5, 100, 0, 50):
            world.live(gap, world.beat(a=every(10, one_off=True, missed="run_all")))
            world.go_on(TERM)
        assert names(world) == {"a": 1}

    def test_so_many_of_those_that_were_missed(self, world: World) -> None:
        world.live(1, world.beat(a=every(10, missed="run_all", missed_limit=3)))
        world.go_on(1000)
        world.live(1, world.beat())
        assert names(world) == {"a": 3}


class TestClocks:
    def test_a_step_of_this_machine_s_clock_changes_nothing(self, world: World) -> None:
        beat = world.beat(a=every(10))
        world.live(50.5, beat)
        # Its monotonic clock stands still while it is suspended: the broker's does not.
        world.now += 3600
        world.live(ELECTION + 0.1, beat)
        assert names(world) == {"a": 6}

    @pytest.mark.parametrize("step", [3600.0, -3600.0])
    def test_a_step_of_the_broker_s_clock_is_no_burst(self, world: World, step: float) -> None:
        beat = world.beat(a=every(10), b={"task": "beaten.add", "schedule": crontab()})
        world.live(65, beat)
        world.sent()
        world.now += step
        world.live(30, beat)
        assert all(count <= 4 for count in names(world).values())
        world.now -= step
        world.live(65, beat)
        assert all(count <= 8 for count in names(world).values())


class TestTrouble:
    def test_a_broker_that_is_away_is_waited_for(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        beat = world.beat(a=every(10))
        world.live(5, beat)
        fire = world.broker.fire

        def down(firings: Any) -> Any:
            raise BrokerDown("The broker is away.")

        world.broker.fire = down  # type: ignore[method-assign]
        world.go_on(6)
        for _ in range(3):
            with pytest.raises(BrokerDown):
                beat.turn()
            beat._bear(BrokerDown("The broker is away."))
        world.broker.fire = fire  # type: ignore[method-assign]
        world.live(1, beat)
        assert names(world) == {"a": 1}
        assert caplog.text.count("Schedules wait for it") == 1

    def test_an_entry_that_somebody_else_has_fired(self, world: World) -> None:
        beat = world.beat(a=every(10))
        world.live(5, beat)
        slot = world.broker.fired(["a"])["a"].slot
        world.broker.fire([Firing("a", slot + 10, slot)])
        world.live(10, beat)
        assert names(world) == {}
        world.live(10, beat)
        assert names(world) == {"a": 1}


class TestEntries:
    def test_from_everywhere(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "periodic", {})
        monkeypatch.setattr(registry, "shared_tasks", dict(registry.shared_tasks))

        @periodic(crontab(hour=4), args=(1,), queue="night")
        @shared_task(name="beaten.decorated")
        def decorated(n: int) -> None: ...

        add = world.app.tasks["beaten.add"]
        world.app.add_periodic_task(30.0, add.s(1, 2), name="added", expires=10)
        world.app.add_periodic_task(timedelta(minutes=1), add.s(3), (4,))
        world.app.conf.update(beat_schedule={"from settings": {"task": add, "schedule": 5}})
        entries = read(world.app)
        assert set(entries) == {"beaten.decorated", "added", repr(add.s(3)), "from settings"}
        assert entries["beaten.decorated"].options == {"queue": "night"}
        assert entries["added"].options == {"expires": 10}
        assert (entries["added"].args, entries[repr(add.s(3))].args) == ((1, 2), (4, 3))
        assert entries["from settings"].task == "beaten.add"
        assert entries["added"].schedule == schedule(timedelta(seconds=30))

    def test_where_they_stand(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "periodic", {})
        monkeypatch.setattr(registry, "shared_tasks", dict(registry.shared_tasks))

        @periodic(30)
        @shared_task(name="beaten.decorated")
        def decorated() -> None: ...

        @periodic(30, name="own")
        @world.app.task(name="beaten.of_app")
        def of_app() -> None: ...

        world.app.add_periodic_task(30.0, world.app.tasks["beaten.add"].s(1), name="added")
        world.app.conf.update(beat_schedule={"set": every(5)})
        found = {each.name: each.where for each in from_code(world.app, read(world.app).values())}
        here = os.path.relpath(__file__)
        assert found.pop("beaten.decorated").startswith(f"{here}:")
        assert found.pop("own").startswith(f"{here}:")
        assert found == {"added": "app.add_periodic_task", "set": "beat_schedule"}

    def test_receivers_may_add_some_when_tasks_are_loaded(self, world: World) -> None:
        @world.app.on_after_configure.connect
        def set_up(sender: Celeriac, **_: Any) -> None:
            sender.add_periodic_task(10.0, sender.tasks["beaten.add"].s(1), name="by receiver")

        @world.app.on_after_finalize.connect
        def later(sender: Celeriac, **_: Any) -> None:
            sender.add_periodic_task(20.0, sender.tasks["beaten.add"].s(1), name="later")

        world.app.load_tasks()
        assert set(read(world.app)) == {"by receiver", "later"}

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (7, "it is a dict with task and schedule"),
            ({"schedule": 5}, "names no task"),
            ({"task": "", "schedule": 5}, "names no task"),
            ({"task": "a"}, "cannot be read"),
            ({"task": "a", "schedule": "daily"}, "cannot be read"),
            ({"task": "a", "schedule": 5, "arg": (1,)}, "Did you mean 'args'"),
            ({"task": "a", "schedule": 5, "args": 7}, "cannot be read"),
            ({"task": "a", "schedule": 5, "missed": "later"}, "run_once, skip, run_all"),
            ({"task": "a", "schedule": 5, "missed_limit": 0}, "a number from 1 on"),
            ({"task": "a", "schedule": 5, "start_time": "2027-01-01"}, "a datetime with a time zone"),
            ({"task": "a", "schedule": 5, "end_time": datetime(2027, 1, 1)}, "a datetime with a time zone"),  # noqa: DTZ001
        ],
    )
    def test_what_is_wrong_is_told(self, world: World, given: Any, said: str) -> None:
        world.app.conf.update(beat_schedule={"nightly": given})
        with pytest.raises(ImproperlyConfigured, match="nightly") as raised:
            read(world.app)
        assert said in str(raised.value)
