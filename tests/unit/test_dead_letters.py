"""Dead letters: found by what they are, put back, dropped; by the command line, and by a worker when they are old."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celeriac, Reject, Task, dead_letters
from celeriac.broker import Action, Publication, Settlement
from celeriac.cli import main
from celeriac.dead_letters import Amendment, Wanted
from celeriac.errors import CallError, EncodeError, MessageError, QueueNotFound
from celeriac.message import protocol
from celeriac.testing import Queue
from celeriac.worker.caretaker import Caretaker


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("letters", broker="memory://letters", backend="memory://letters")
    app.broker.clear()  # type: ignore[attr-defined]
    yield app
    app.close()


def bury(app: Celeriac, *deaths: tuple[str, tuple[Any, ...], str, str]) -> list[str]:
    """Make dead letters of calls, each (task, args, queue, reason), the last one the newest; return the task ids."""
    broker = app.broker
    broker.register("undertaker", 60)
    ids = []
    for number, (task, args, queue, reason) in enumerate(deaths):
        ids.append(app.send_task(task, args, queue=queue).id)
        (delivery,) = broker.claim("undertaker", [queue], 1, time.time_ns() + number)
        broker.settle("undertaker", [Settlement(delivery.tag, Action.DEAD, reason=reason)])
    return ids


FOUR = (
    ("shop.charge", (1,), "money", "its process died 3 times"),
    ("shop.mail", (2,), "mails", "rejected: no address"),
    ("shop.charge", (3,), "mails", "rejected: no card"),
    ("blog.mail", (4,), "mails", "unknown task 'blog.mail'"),
)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [3, 2, 1, 0]),
        ({"task": "shop.charge"}, [2, 0]),
        ({"task": "*.mail"}, [3, 1]),
        ({"queue": "mails", "task": "shop.*"}, [2, 1]),
        ({"reason": "REJECTED"}, [2, 1]),
        ({"reason": "nothing like it"}, []),
        ({"before": 0.0}, []),
    ],
)
def test_finding(app: Celeriac, wanted: dict[str, Any], numbers: list[int]) -> None:
    ids = bury(app, *FOUR)
    found = list(dead_letters.find(app.broker, Wanted(**wanted)))
    assert [each.id for each in found] == [ids[number] for number in numbers]
    for each in found:
        by_key = dead_letters.find(app.broker, Wanted(ids=frozenset([each.letter.key])))
        assert [one.id for one in by_key] == [each.id]


def test_what_is_put_back_runs_as_if_it_were_sent_now() -> None:
    app = Celeriac("letters", broker="memory://letters", backend="memory://letters")
    runs = []

    @app.task(name="job", bind=True, max_retries=1, default_retry_delay=0)
    def job(self: Task, n: int) -> int:
        runs.append((n, self.request.retries))
        if len(runs) < 3:
            if self.request.retries:
                raise Reject("not twice")
            raise self.retry()
        return n

    with Queue(app) as queue:
        result = job.delay(7)
        queue.drain(raise_errors=False)
        assert runs == [(7, 0), (7, 1)]
        assert result.state == "FAILURE"
        assert dead_letters.retry(app.broker, Wanted(task="job")) == 1
        assert app.broker.count_dead_letters() == 0
        queue.drain()
        assert runs[2:] == [(7, 0)]
        assert app.AsyncResult(result.id).get() == 7
    app.close()


def test_hundreds_go_back_in_their_order_and_what_dies_again_meanwhile_stays(app: Celeriac) -> None:
    ids = bury(app, *(("job", (number,), "q", "why") for number in range(350)))
    broker = app.broker
    publish, died = broker.revive, []

    def revive(publications: Any) -> int:
        """Put them back, and have one that came die at once."""
        count = publish(publications)
        (delivery,) = broker.claim("undertaker", ["q"], 1, time.time_ns())
        died.append(protocol.decode(delivery.payload).headers.id)
        broker.settle("undertaker", [Settlement(delivery.tag, Action.DEAD, reason="again")])
        return count

    broker.revive = revive  # type: ignore[method-assign]
    assert dead_letters.retry(broker, Wanted(reason="why")) == 350
    waiting = broker.claim("undertaker", ["q"], 1000, time.time_ns())
    assert [protocol.decode(each.payload).headers.id for each in waiting] == [
        task_id for task_id in ids if task_id not in died
    ]
    assert [each.id for each in dead_letters.find(broker, Wanted())] == died[::-1]
    assert len(died) == 4


def test_what_cannot_be_read_is_found_and_dropped_and_never_put_back(app: Celeriac) -> None:
    bury(app, *FOUR)
    app.broker.publish([Publication("x", "x", "q", b"garbage")], 1)
    (delivery,) = app.broker.claim("undertaker", ["q"], 1, time.time_ns())
    app.broker.settle("undertaker", [Settlement(delivery.tag, Action.DEAD, reason="it is no JSON")])
    assert dead_letters.retry(app.broker, Wanted()) == 4
    (left,) = dead_letters.find(app.broker, Wanted())
    assert (left.task, left.id, left.letter.payload) == ("", "", b"garbage")
    assert dead_letters.discard(app.broker, Wanted(task="shop.*")) == 0
    assert dead_letters.discard(app.broker, Wanted(ids=frozenset([left.letter.key]))) == 1
    assert app.broker.count_dead_letters() == 0
    assert dead_letters.discard(app.broker, Wanted()) == 0


def test_dropping_some(app: Celeriac) -> None:
    ids = bury(app, *FOUR)
    assert dead_letters.discard(app.broker, Wanted(queue="mails", task="shop.*")) == 2
    assert [each.id for each in dead_letters.find(app.broker, Wanted())] == [ids[3], ids[0]]
    assert app.broker.depths() == {}


def test_a_worker_drops_what_is_too_old(app: Celeriac, tmp_path: Path) -> None:
    ids = bury(app, *(("job", (number,), "q", "why") for number in range(60)))
    for letter in app.broker.dead_letters(100)[5:]:
        letter.died -= 3600
    now = 1000.0
    caretaker = Caretaker(
        app.broker, None, None, (tmp_path, "b"), "me", 15, list, lambda: now  # type: ignore[arg-type]
    )  # fmt: skip
    caretaker.arrive(lambda seconds: False)
    now += 61
    caretaker.turn()
    assert app.broker.count_dead_letters() == 60
    caretaker.keep_letters = 1800
    now += 61
    caretaker.turn()
    assert caretaker.trouble == ""
    assert [each.id for each in dead_letters.find(app.broker, Wanted())] == ids[:54:-1]


# -- changed before they run again


def the_only(app: Celeriac) -> dead_letters.Found:
    """Return the one dead letter that there is."""
    (found,) = dead_letters.find(app.broker, Wanted())
    return found


def test_what_is_changed_runs_with_other_arguments_and_all_else_as_it_was() -> None:
    app = Celeriac("letters", broker="memory://letters", backend="memory://letters")
    ran = []

    @app.task(name="pay", bind=True)
    def pay(self: Task, order: int, *, token: str = "", note: str = "") -> int:
        if order < 0:
            raise Reject("no such order")
        ran.append((order, token, note, self.request.delivery_info["routing_key"], self.request.headers))
        return order

    @app.task(name="after")
    def after(order: int) -> None:
        ran.append((order,))

    with Queue(app) as queue:
        result = pay.apply_async(
            (-1,),
            {"token": "hunter2"},
            headers={"tenant": "a"},
            priority=7,
            link=after.s(),
            compression="gzip",
        )
        queue.drain(raise_errors=False)
        found = the_only(app)
        changed = dead_letters.amend(found, Amendment(args=[5], queue="slow"), app.tasks, app.conf)
        assert changed.message is not None
        headers = changed.message.headers
        assert (headers.argsrepr, headers.kwargsrepr) == ("(5,)", "{'token': '********'}")
        assert (headers.id, changed.message.properties.priority) == (result.id, 7)
        assert dead_letters.put_back(app.broker, [changed]) == 1
        assert dead_letters.put_back(app.broker, [changed]) == 0
        queue.drain()
        assert ran[0][:4] == (5, "hunter2", "", "slow")
        assert ran[0][4]["tenant"] == "a"
        assert ran[1:] == [(5,)]
        assert app.AsyncResult(result.id).get() == 5
    app.close()


def test_what_cannot_be_changed_like_that(app: Celeriac) -> None:
    @app.task(name="shop.charge")
    def charge(order: int, pin: int = 0) -> None: ...

    bury(app, FOUR[0])
    found = the_only(app)
    with pytest.raises(CallError, match=r"^shop\.charge\(order: int.*too many positional arguments\.$"):
        dead_letters.amend(found, Amendment(args=[1, 2, 3]), app.tasks, app.conf)
    with pytest.raises(CallError) as raised:
        dead_letters.amend(found, Amendment(args=[], kwargs={"pin": 1234}), app.tasks, app.conf)
    assert "1234" not in str(raised.value)
    unknown = dead_letters.amend(found, Amendment(args=[1, 2, 3]), {}, app.conf)
    assert unknown.message is not None
    assert unknown.message.headers.argsrepr == "(1, 2, 3)", "who does not know the task cannot say more"
    app.conf.update(worker_max_message_bytes=100)
    with pytest.raises(EncodeError, match="worker_max_message_bytes allows 100"):
        dead_letters.amend(found, Amendment(kwargs={"pin": "x" * 200}), app.tasks, app.conf)
    app.conf.update(task_queues=["money"], task_create_missing_queues=False)
    with pytest.raises(QueueNotFound):
        dead_letters.amend(found, Amendment(queue="slow"), app.tasks, app.conf)
    with pytest.raises(MessageError):
        dead_letters.amend(dead_letters.Found(found.letter, None), Amendment(args=[]), {}, app.conf)


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        (
            "[1",
            None,
            'Arguments by position are a JSON list, such as [4711, "pdf"]; this is not readable as JSON',
        ),
        ('{"a": 1}', None, "Arguments by position are a JSON list"),
        (None, "[1]", 'Arguments by name are a JSON object, such as {"order": 4711}; this is [1].'),
        ("[" * 10_000, None, "Arguments by position are a JSON list"),
        ("[1] [2]", None, "Arguments by position are a JSON list"),
    ],
)
def test_arguments_that_are_not_what_they_should_be(args: str | None, kwargs: str | None, why: str) -> None:
    with pytest.raises(CallError) as raised:
        Amendment.read(args, kwargs, None)
    assert str(raised.value).startswith(why)
    assert len(str(raised.value)) < 400


def test_what_is_left_empty_stays() -> None:
    assert Amendment.read("", " ", "") == Amendment()
    day = Amendment.read('[{"__type__": "date", "__value__": "2026-11-21"}]', "{}", "q")
    assert (str(day.args), day.kwargs, day.queue) == ("[datetime.date(2026, 11, 21)]", {}, "q")


# -- the command line

PROJECT = "from celeriac import Celeriac\n\napp = Celeriac('jobs', broker='memory://letters')\n"


class Shell:
    """Calls the program in a project whose broker is that of the fixture `app`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str, status: int = 0) -> str:
        assert main(["-A", "letters_project", "deadletter", *words]) == status
        output = self.capsys.readouterr()
        self.error = output.err
        return output.out


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], app: Celeriac
) -> Shell:
    (tmp_path / "letters_project.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Shell(capsys)


def test_list_and_show(app: Celeriac, shell: Shell) -> None:
    assert shell("list") == "No dead letters.\n"
    ids = bury(app, *FOUR, ("shop.log_in", (), "q", "w" * 200))
    told = shell("list", "-n", "2")
    lines = told.splitlines()
    assert lines[0].split()[2:] == ["shop.log_in", ids[4], "q"]
    assert lines[1] == "    " + "w" * 75 + "…"
    assert lines[2].split()[2:] == ["blog.mail", ids[3], "mails"]
    assert "of 5 in all the newest 2 are shown" in lines[4]
    assert shell("list", "--task", "nothing") == "No dead letters like that.\n"
    one, other = map(json.loads, shell("list", "--task", "shop.charge", "--json").splitlines())
    assert (one["id"], one["args"], one["reason"]) == (ids[2], "(3,)", "rejected: no card")
    assert other["id"] == ids[0]
    shown = shell("show", ids[0])
    assert "its process died 3 times" in shown
    assert "shop.charge" in shown
    assert json.loads(shell("show", one["key"], "-j")) == one
    assert shell("show", "unknown", status=1) == ""
    assert "There is no dead letter 'unknown'" in shell.error


def test_secrets_are_not_shown(app: Celeriac, shell: Shell) -> None:
    app.send_task("shop.log_in", kwargs={"password": "hunter2"}, queue="q")
    app.broker.register("undertaker", 60)
    (delivery,) = app.broker.claim("undertaker", ["q"], 1, time.time_ns())
    app.broker.settle("undertaker", [Settlement(delivery.tag, Action.DEAD, reason="why")])
    told = shell("list", "--json")
    assert "password" in told
    assert "hunter2" not in told


def test_retry_and_discard(app: Celeriac, shell: Shell) -> None:
    ids = bury(app, *FOUR)
    assert shell("retry", ids[0]) == "1 dead letter went back.\n"
    assert shell("retry", "--task", "shop.mail", "--yes") == "1 dead letter went back.\n"
    assert app.broker.depths()["money"].ready == 1
    assert shell("discard", ids[2], ids[0], status=1) == "1 dead letter were dropped.\n".replace(
        "were", "was"
    )
    assert "1 of those named are not there" in shell.error
    assert shell("discard", "--older-than", "1", "-y") == "0 dead letters were dropped.\n"
    assert shell("discard", "--all", "-y") == "1 dead letter was dropped.\n"
    assert app.broker.count_dead_letters() == 0
    for command in ("retry", "discard"):
        assert shell(command, status=2) == ""
        assert "Say which" in shell.error


def test_retry_with_other_arguments(app: Celeriac, shell: Shell) -> None:
    ids = bury(app, *FOUR)
    words = ("--args", "[9]", "--kwargs", '{"n": 1}', "--to", "slow")
    assert shell("retry", ids[0], *words) == "1 dead letter went back.\n"
    (delivery,) = app.broker.claim("undertaker", ["slow"], 9, time.time_ns())
    headers = protocol.decode(delivery.payload).headers
    assert (headers.id, headers.argsrepr, headers.kwargsrepr) == (ids[0], "(9,)", "{'n': 1}")
    assert shell("retry", ids[0], *words, status=1) == ""
    assert "There is no dead letter" in shell.error
    assert shell("retry", ids[1], "--args", "9", status=1) == ""
    assert "Arguments by position are a JSON list" in shell.error
    for more in ((ids[1], ids[2]), ("--all",), (ids[1], "--task", "x"), ()):
        assert shell("retry", *more, "--args", "[9]", status=2) == ""
        assert "for one dead letter: give its id alone" in shell.error
    assert app.broker.count_dead_letters() == 3


def test_it_asks_first(app: Celeriac, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    bury(app, *FOUR)
    answers = iter(["n", "y"])
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: next(answers))
    shell("discard", "--queue", "mails", status=1)
    assert app.broker.count_dead_letters() == 4
    assert "3 dead letters were dropped" in shell("discard", "--queue", "mails")
    assert app.broker.count_dead_letters() == 1
