"""`celeriac schedule`: entries in code and in the database, seen, run, paused; with and without Django."""

import json
import os
import pty
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from celeriac import Celeriac, registry
from celeriac.beat.engine import Beat
from celeriac.cli import main
from celeriac.django.models import Schedule
from celeriac.message import protocol

PROJECT = """\
from celeriac import Celeriac
from celeriac.schedules import crontab

app = Celeriac("planned", broker="memory://planned")


@app.task(name="shop.poll")
def poll(*args): ...


app.conf.beat_schedule = {
    "poll": {"task": "shop.poll", "schedule": 30, "args": [1], "options": {"queue": "slow"}},
    "menu": {"task": "shop.poll", "schedule": crontab(0, 11, timezone="Asia/Kolkata")},
}
"""


class Shell:
    """Calls the program in a project with two entries in code."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        assert main(["-A", "planned_project", *words]) == status
        output = self.capsys.readouterr()
        self.error = output.err
        return output.out

    def facts(self, *words: str) -> dict[str, dict[str, object]]:
        return {
            each["entry"]: each for each in map(json.loads, self("schedule", *words, "--json").splitlines())
        }


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    (tmp_path / "planned_project.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    yield Shell(capsys)
    app = sys.modules.pop("planned_project").app
    app.broker.clear()
    app.close()


@pytest.fixture
def bare(shell: Shell) -> Shell:
    """Without Django."""
    registry._framework.clear()
    return shell


def sent(app: Celeriac, queue: str) -> list[bytes]:
    app.broker.register("c", 60)
    return [protocol.decode(each.payload).body for each in app.broker.claim("c", [queue], 9, 1)]


class TestSeeing:
    def test_entries_in_code_and_in_the_database(self, shell: Shell) -> None:
        last = datetime(2026, 11, 1, tzinfo=UTC)
        Schedule.objects.create(
            name="stock", task="shop.stock", every=1, unit="hours", last_run_at=last, total_run_count=7
        )
        Schedule.objects.create(name="bad", task="shop.stock", kind="crontab", hour="25")
        facts = shell.facts("list")
        assert list(facts) == ["bad", "menu", "poll", "stock"]
        assert "25" in str(facts["bad"]["problem"]) and facts["bad"]["next"] is None
        assert (facts["poll"]["when"], facts["poll"]["runs"], facts["poll"]["last"]) == (
            "every 30 seconds",
            0,
            None,
        )
        assert (facts["stock"]["runs"], facts["stock"]["last"]) == (7, "2026-11-01T00:00:00+00:00")
        assert (facts["stock"]["from"], facts["poll"]["from"]) == (None, "beat_schedule")
        lines = shell("schedule", "list").splitlines()
        assert lines[1].startswith("menu: at 11:00 every day, Asia/Kolkata; next in ")
        assert lines[1].endswith("; last run never; runs 0; from beat_schedule")

    def test_the_runs_to_come(self, shell: Shell) -> None:
        coming = [json.loads(line) for line in shell("schedule", "next", "-n", "5", "--json").splitlines()]
        assert [each["entry"] for each in coming] == ["poll"] * 5 or "menu" in {
            each["entry"] for each in coming
        }
        assert coming == sorted(coming, key=lambda each: datetime.fromisoformat(each["at"]))
        (line,) = shell("schedule", "next", "menu", "-n", "1").splitlines()
        assert line.split()[-2:] == ["menu", "shop.poll"]
        assert len(shell("beat", "--next", "3").splitlines()) == 3

    def test_how_far_they_are(self, shell: Shell) -> None:
        shell("schedule", "list")
        app = sys.modules["planned_project"].app
        beat = Beat(app, "here")
        beat.turn()
        slot = app.broker.fired(["poll"])["poll"].slot
        facts = shell.facts("list")
        assert datetime.fromisoformat(str(facts["poll"]["next"])).timestamp() == pytest.approx(
            slot + 30, abs=1e-3
        )

    def test_a_table_on_a_terminal(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        theirs, ours = pty.openpty()
        with open(ours, "w") as terminal:  # noqa: PTH123 - a descriptor
            monkeypatch.setattr(sys, "stdout", terminal)
            monkeypatch.setenv("NO_COLOR", "1")
            shell("schedule", "list")
            terminal.flush()
            print("-- the end", file=terminal, flush=True)
            text = b""
            while not text.rstrip().endswith(b"-- the end"):
                text += os.read(theirs, 9999)  # a terminal hands out some of it at a time
            *lines, _ = text.decode().splitlines()
        os.close(theirs)
        assert lines[0].split() == "entry when next last run runs from".split()
        assert lines[1].split()[:4] == "menu at 11:00 every".split()
        assert len(lines) == 3

    def test_nothing_is_scheduled(self, shell: Shell) -> None:
        shell("schedule", "list")
        sys.modules["planned_project"].app.conf.update(beat_schedule={})
        assert shell("schedule", "list") == "Nothing is scheduled.\n"
        assert shell("schedule", "next") == "Nothing will run.\n"


class TestActing:
    def test_run_one_now(self, shell: Shell) -> None:
        Schedule.objects.create(name="stock", task="shop.elsewhere", every=1, args=["north"], enabled=False)
        assert shell("schedule", "run", "poll").startswith("shop.poll was sent with the id ")
        shell("schedule", "run", "stock")
        app = sys.modules["planned_project"].app
        assert [body[:4] for body in sent(app, "slow")] == [b"[[1]"]
        assert [body[:10] for body in sent(app, "celery")] == [b'[["north"]']

    def test_a_name_that_does_not_exist(self, shell: Shell) -> None:
        for command in ("run", "pause", "resume", "next"):
            assert shell("schedule", command, "pol", status=1) == ""
            assert "There is no entry 'pol'. Did you mean 'poll'?" in shell.error
        for words in (["pause"], ["pause", "poll", "--all"]):
            shell("schedule", *words, status=2)

    def test_pause_and_go_on(self, shell: Shell) -> None:
        Schedule.objects.create(name="stock", task="shop.stock", every=1)
        assert shell("schedule", "pause", "poll") == "'poll' is paused. Beats hear of it within a second.\n"
        shell("schedule", "pause", "stock")
        paused = {name: each["paused"] for name, each in shell.facts("list").items()}
        assert paused == {"menu": False, "poll": True, "stock": True}
        shell("schedule", "resume", "poll")
        shell("schedule", "resume", "stock")
        shell("schedule", "resume", "menu")
        assert not any(each["paused"] for each in shell.facts("list").values())

    def test_pause_all(self, shell: Shell) -> None:
        shell("schedule", "pause", "--all")
        assert "The whole schedule is paused" in (shell("schedule", "list") and shell.error)
        assert all(each["paused"] for each in shell.facts("list").values())
        assert shell("schedule", "next") == "Nothing will run: the schedule is paused.\n"
        shell("schedule", "resume", "poll")
        assert "The whole schedule is paused" in shell.error
        shell("schedule", "resume", "--all")
        assert not any(each["paused"] for each in shell.facts("list").values())

    def test_without_a_database_there_is_no_pause(self, bare: Shell) -> None:
        assert set(bare.facts("list")) == {"menu", "poll"}
        bare("schedule", "pause", "poll", status=1)
        assert "Pauses are kept in Django's database" in bare.error
