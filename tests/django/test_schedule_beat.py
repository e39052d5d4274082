"""Beat with entries of the database: with a clock of the test's own, a broker in memory, and a real table."""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from celeriac.beat.engine import ELECTION, TERM, Beat
from celeriac.beat.timetable import LOOK, LOOK_AGAIN
from celeriac.django.models import Schedule
from celeriac.django.schedule_source import DatabaseSchedule
from celeriac.message import protocol
from celeriac.schedule import RECENT
from celeriac.schedules import crontab, schedule, solar
from tests.size import size
from tests.unit.test_beat import NOON, World, every, names


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime.fromtimestamp(world.now, UTC))
    yield world
    world.app.close()


def row(world: World, **fields: Any) -> Schedule:
    made = Schedule(
        **{
            "name": "a", "task": "beaten.add", "every": 10,
            "counts_from": datetime.fromtimestamp(world.now, UTC), **fields,
        }
    )  # fmt: skip
    made.full_clean()
    made.save()
    return made


def kept(name: str = "a") -> Schedule:
    return Schedule.objects.get(name=name)


class TestFiring:
    def test_an_entry_of_the_database_beside_one_in_code(self, world: World) -> None:
        row(world, args=[1], kwargs={"x": 2}, headers={"tenant": "a"})
        beat = world.beat(b=every(20))
        world.live(40.5, beat)
        assert names(world) == {"a": 4, "b": 2}
        world.live(10, beat)
        (delivery,) = world.broker.claim("test", ["celery"], 9, 99)
        message = protocol.decode(delivery.payload)
        assert message.custom == {"tenant": "a", "periodic_task_name": "a"}

    def test_the_last_tasks_are_written_down(self, world: World) -> None:
        row(world, missed="run_all")
        row(world, name="quick", every=0.25)
        world.live(10.5, world.beat())
        world.go_on(95)
        world.live(TERM + ELECTION + 10.5, world.beat())
        sent = [task_id for name, task_id in world.sent() if name == "a"]
        assert len(sent) == kept().total_run_count > 10
        assert kept().recent == sent[::-1]
        assert len(kept("quick").recent) == RECENT

    def test_what_was_due_before_a_beat_was_there_since_it_was_made(self, world: World) -> None:
        row(world)
        row(world, name="once", kind="clocked", clocked_time=datetime.fromtimestamp(NOON + 5, UTC))
        world.go_on(25)
        world.live(1, world.beat())
        assert names(world) == {"a": 1, "once": 1}

    def test_once_at_a_time_that_is_just_over(self, world: World) -> None:
        row(world, kind="clocked", clocked_time=datetime.fromtimestamp(NOON - 3, UTC))
        world.live(1, world.beat())
        assert names(world) == {"a": 1}

    def test_not_while_the_run_before_has_not_ended(self, world: World) -> None:
        made = row(world, overlap="skip")
        beat = world.beat(b=every(10, overlap="skip"))
        world.live(35, beat)
        assert names(world) == {"a": 1, "b": 1}
        assert (kept().total_run_count, kept("b").overlap) == (1, "skip")
        made.overlap = "allow"
        made.save()
        world.live(20 + LOOK, beat)
        assert names(world) == {"a": 2}

    @pytest.mark.parametrize("kind", ["interval", "clocked"])
    def test_what_runs_once_switches_itself_off(self, world: World, kind: str) -> None:
        when = {"kind": "clocked", "clocked_time": datetime.fromtimestamp(NOON + 10, UTC)}
        row(world, one_off=kind == "interval", **({} if kind == "interval" else when))
        beat = world.beat()
        world.live(35, beat)
        assert names(world) == {"a": 1}
        assert (kept().enabled, kept().total_run_count) == (False, 1)
        world.live(TERM + ELECTION, world.beat())
        Schedule.objects.update(enabled=True)
        world.live(35, beat)
        assert names(world) == ({"a": 1} if kind == "interval" else {})

    def test_from_the_start_to_the_end(self, world: World) -> None:
        at = datetime.fromtimestamp(NOON, UTC)
        row(world, start_time=at + timedelta(seconds=33), end_time=at + timedelta(seconds=55))
        beat = world.beat()
        world.live(32.9, beat)
        assert names(world) == {}
        world.live(0.2, beat)
        assert names(world) == {"a": 1}
        world.live(100, beat)
        assert names(world) == {"a": 2}

    def test_one_that_cannot_be_read_is_left_out_and_told(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        row(world)
        Schedule(name="bad", task="beaten.add", kind="crontab", hour="25").save()
        Schedule(name="worse", task="", every=1).save()
        beat = world.beat()
        world.live(10.5, beat)
        assert names(world) == {"a": 1}
        assert caplog.text.count("'bad' is left out") == 1
        assert caplog.text.count("'worse' is left out") == 1


class TestChanges:
    """Each is heard at the next look."""

    def test_the_start_tells_how_many_there_are(
        self, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        beat = world.beat(code=every(60), paused=every(60), edited=every(60))
        row(world)
        row(world, name="off", enabled=False)
        row(world, name="edited", every=5)
        row(world, name="paused", enabled=False, every=5)
        row(world, name="bad")
        Schedule.objects.filter(name="bad").update(day_of_month="31", month_of_year="2", kind="crontab")
        assert beat.timetable.count() == 3
        assert world.beat(code=every(60)).timetable.count() == 3
        assert beat.timetable.source is not None
        beat.timetable.source.pause(None)
        assert beat.timetable.count() == 0
        beat.timetable.source.resume(None)
        monkeypatch.setattr(beat.timetable, "close", lambda: None)  # the test's own connection
        beat.stop()
        with caplog.at_level("INFO", "celeriac"):
            beat.run()
        assert "ready. Entries: 3," in caplog.text

    def test_all_kinds(self, world: World) -> None:
        beat = world.beat()
        world.live(1, beat)
        made = row(world)
        world.live(10 + LOOK, beat)
        assert names(world) == {"a": 1}
        made.every = 2
        made.save()
        world.live(4 + LOOK, beat)
        assert names(world) == {"a": 2}
        Schedule.objects.update(every=1)
        world.live(4 + LOOK, beat)
        assert names(world)["a"] >= 4
        Schedule.objects.all().delete()
        world.live(LOOK, beat)
        names(world)
        world.live(10, beat)
        assert names(world) == {}
        assert world.broker.fired(["a"]) == {}

    def test_whenever_somebody_edits_beat_has_heard_of_it_half_a_second_later(self, world: World) -> None:
        assert 2 * LOOK <= 1.0, "within a second, as the docs promise, with as much again for a busy machine"
        beat, chance = world.beat(b=every(0.3), c=every(3600)), Random(7)
        made = row(world, every=3600)
        world.live(1, beat)
        for number in range(50):
            world.live(chance.random(), beat)
            made.args = [number]
            made.save()
            world.live(LOOK, beat)
            assert beat.entries["a"].args == (number,)

    def test_what_is_due_while_it_is_off_is_over(self, world: World) -> None:
        made = row(world, missed="run_all")
        beat = world.beat()
        world.live(10.5, beat)
        made.enabled = False
        made.save()
        world.live(60, beat)
        assert names(world) == {"a": 1}
        Schedule.objects.update(enabled=True)
        world.live(9.5, beat)
        assert names(world) == {}
        world.live(1, beat)
        assert names(world) == {"a": 1}

    def test_a_change_that_does_not_concern_its_times_keeps_them(self, world: World) -> None:
        made = row(world)
        beat = world.beat()
        world.live(15, beat)
        made.args = [7]
        made.save()
        world.live(5.5, beat)
        assert names(world) == {"a": 2}

    def test_the_whole_schedule_is_paused_with_what_stands_in_code(self, world: World) -> None:
        row(world, missed="run_all")
        row(world, name="once", kind="clocked", clocked_time=datetime.fromtimestamp(NOON + 30, UTC))
        source, beat = DatabaseSchedule(), world.beat(b=every(10, missed="run_all"))
        world.live(10.5, beat)
        assert names(world) == {"a": 1, "b": 1}
        source.pause(None)
        world.live(60, beat)
        beat = world.beat()  # another, that takes over in the pause
        world.live(20, beat)
        assert beat.elected and names(world) == {}
        source.resume(None)
        world.live(LOOK + 0.1, beat)
        assert names(world) == {"once": 1}, "what is due once is late, not lost"
        world.live(9.5, beat)
        assert names(world) == {"a": 1, "b": 1}

    def test_what_was_deleted_while_no_beat_ran_is_not_what_has_its_name_later(self, world: World) -> None:
        row(world, one_off=True)
        world.live(11, world.beat())
        Schedule.objects.all().delete()
        world.go_on(3600)
        row(world, one_off=True)
        world.sent()
        world.live(11, world.beat())
        assert names(world) == {"a": 1}
        assert kept().total_run_count == 1


class TestRecords:
    def test_runs_are_written_at_once(self, world: World) -> None:
        row(world, total_run_count=5)
        beat = world.beat()
        world.live(20.2, beat)
        assert kept().total_run_count == 7
        assert kept().last_run_at.timestamp() == pytest.approx(NOON + 20, abs=0.2)
        assert kept().next_runs(1, UTC, after=datetime.fromtimestamp(world.now, UTC)) == [
            kept().last_slot + timedelta(seconds=10)
        ]

    def test_runs_of_many_are_written_in_portions(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("celeriac.beat.timetable._SOME", 4)
        for number in range(10):
            row(world, name=f"r{number}")
        beat = world.beat()
        world.live(9.9, beat)
        while not (sent := names(world)):
            world.go_on(0.01)
            beat.turn()
        assert sent == {f"r{number}": 1 for number in range(10)}
        written = Schedule.objects.filter(total_run_count=1)
        assert written.count() == 4
        assert beat.turn() == 0.0 and written.count() == 8
        beat.turn()
        assert written.count() == 10
        world.live(11, beat)
        assert Schedule.objects.filter(total_run_count=2).count() == 10

    def test_what_a_beat_fired_that_was_killed_before_it_wrote_is_written_by_the_next(
        self, world: World
    ) -> None:
        row(world, name="often")
        row(world, name="once", one_off=True)
        beat = world.beat()
        world.live(1, beat)
        world.go_on(10)
        beat._fire()
        assert kept("once").total_run_count == kept("often").total_run_count == 0
        world.live(TERM + ELECTION + 0.1, world.beat())
        assert names(world) == {"often": 1, "once": 1}
        assert (kept("once").total_run_count, kept("once").enabled) == (1, False)
        assert kept("often").total_run_count == 1

    def test_a_broker_that_was_emptied_counts_on(self, world: World) -> None:
        row(world)
        beat = world.beat()
        world.live(30.5, beat)
        world.broker.unschedule(["a"])
        beat.broker.resign("beat", beat.name)
        world.live(20, world.beat())
        assert kept().total_run_count == names(world)["a"] == 5

    def test_a_task_that_sends_itself(self, world: World) -> None:
        class Own(world.app.Task):  # type: ignore[name-defined,misc]
            def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> None: ...

        world.app.task(name="beaten.own", base=Own)(lambda: None)
        row(world, task="beaten.own", one_off=True)
        row(world, name="b", task="beaten.own")
        world.live(30.5, world.beat())
        assert (kept().total_run_count, kept().enabled) == (1, False)
        assert (kept("b").total_run_count, kept("b").enabled) == (3, True)


class TestCode:
    def test_what_stands_in_code_is_shown_and_may_be_paused(self, world: World) -> None:
        cron = crontab(0, 4, timezone="Asia/Kolkata")
        beat = world.beat(
            a=every(10, args=(1, UUID(int=7)), options={"queue": "slow", "expires": 60}),
            cron={"task": "beaten.add", "schedule": cron},
            sun={"task": "beaten.add", "schedule": solar("sunset", 52.5, 13.4)},
            minutes=every(300),
            other={"task": "beaten.add", "schedule": schedule(30, relative=True)},
        )
        world.live(10.5, beat)
        found = kept()
        assert (found.from_code, found.words, found.queue) == ("beat_schedule", "every 10 seconds", "slow")
        assert (found.total_run_count, found.expires_after, found.args) == (1, 60, [1, str(UUID(int=7))])
        assert kept("cron").schedule == cron
        assert kept("sun").schedule == solar("sunset", 52.5, 13.4)
        assert (kept("minutes").every, kept("minutes").unit) == (5, "minutes")
        assert (kept("other").kind, kept("other").words) == ("code", "every 30 seconds, by the clock")
        DatabaseSchedule().pause("a")
        world.live(LOOK, beat)
        world.broker.purge(["slow"])
        world.live(60, beat)
        assert "slow" not in world.broker.depths()
        DatabaseSchedule().resume("a")
        world.live(10.5, beat)
        assert world.broker.depths()["slow"].ready == 1

    def test_what_is_edited_holds_over_what_stands_in_code(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        beat = world.beat(a=every(10))
        world.live(1, beat)
        made = kept()
        made.from_code, made.every = "", 1
        made.full_clean()
        made.save()
        world.live(5.1 + LOOK, beat)
        assert names(world) == {"a": 5}
        assert "'a' stands in the code too" in caplog.text
        world.live(1, world.beat())
        assert kept().every == 1
        made.delete()
        world.live(LOOK, beat)
        world.sent()
        world.live(20, beat)
        assert names(world) == {"a": 2}

    def test_what_has_left_the_code_leaves_the_list_and_a_pause_outlives_that(self, world: World) -> None:
        def start(**entries: Any) -> None:
            beat = world.beat(**entries)
            world.live(TERM + ELECTION + 1, beat)
            beat.broker.resign("beat", beat.name)

        start(a=every(10), b=every(10))
        DatabaseSchedule().pause("b")
        start(c=every(10))
        assert set(Schedule.objects.values_list("name", flat=True)) == {"b", "c"}
        start(a=every(20), b=every(10))
        assert (kept().every, kept("b").enabled) == (20, False)


class TestTrouble:
    def test_a_database_that_is_away_leaves_the_schedule_as_it_was(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        row(world)
        beat = world.beat(b=every(10))
        world.live(5, beat)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE celeriac_schedule RENAME TO elsewhere")
        try:
            world.live(30, beat)
            world.live(TERM + ELECTION + 10, Beat(world.app, "beat@there", lambda: world.running))
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE elsewhere RENAME TO celeriac_schedule")
        sent = names(world)
        assert sent["a"] == 3 and sent["b"] >= 3
        assert caplog.text.count("Until it can be read, the schedule stays as it is.") <= 2
        world.live(LOOK_AGAIN + 20, beat)
        assert "can be read again" in caplog.text
        assert kept().total_run_count == sent["a"] + names(world)["a"]


@pytest.mark.parametrize("seed", range(size(2, 8)))
def test_whatever_people_and_beats_do_each_run_is_sent_once_and_written_down_once(
    world: World, seed: int
) -> None:
    """Two beats of which one is killed now and then, while rows are made, changed, paused and deleted."""
    random = Random(seed)
    beats, sent, made = [world.beat(), world.beat()], Counter[str](), 0

    def change() -> None:
        nonlocal made
        rows = list(Schedule.objects.order_by("name"))
        if len(rows) < 2 or random.random() < 0.3:
            made += 1
            row(world, name=f"entry {made}", every=random.choice([1, 2.5, 7]), one_off=random.random() < 0.2)
            return
        chosen = random.choice(rows)
        match random.randrange(6):
            case 0:
                chosen.delete()
            case 1:
                chosen.every = random.choice([1, 3, 5])
                chosen.save()
            case 2:
                Schedule.objects.filter(pk=chosen.pk).update(enabled=not chosen.enabled)
            case 3:
                DatabaseSchedule().pause(None)
            case 4:
                DatabaseSchedule().resume(None)
            case 5:
                chosen.description += "."
                chosen.save()

    for _ in range(size(30, 1000)):
        change()
        world.live(random.uniform(0, 4), *beats)
        if random.random() < 0.15:  # between firing and writing it down
            dead = next((beat for beat in beats if beat.elected), beats[0])
            world.go_on(random.uniform(0, 3))
            if dead.elected and world.running < dead._election:
                dead._fire()
            beats = [*(beat for beat in beats if beat is not dead), world.beat()]
        sent.update(names(world))
    DatabaseSchedule().resume(None)
    world.live(TERM + ELECTION + LOOK, *beats)
    sent.update(names(world))
    found = dict(Schedule.objects.values_list("name", "total_run_count"))
    assert found == {name: sent[name] for name in found}
