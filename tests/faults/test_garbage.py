"""Garbage on the queue, and tasks that end in odd ways: each leaves a record or a dead letter, no process dies."""

import base64
from pathlib import Path
from typing import Any

import pytest

from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from tests.faults.load import PATIENT, run_soon
from tests.scenarios.account import DEAD
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account
from tests.unit.test_worker import GARBAGE


def envelope(headers: str = "", properties: str = "", body: str = '"W1sib2RkIl0se30se31d"') -> bytes:
    """Return a message for `work`, one field of which is not as it should be."""
    head = f'{{"id":"odd-1","task":"jobs.tasks.work"{headers}}}'
    tail = f'{{"body_encoding":"base64"{properties}}}'
    return f'{{"body":{body},"headers":{head},"properties":{tail}}}'.encode()


def body(content: bytes) -> str:
    """Return what stands for `content` in the field of that name."""
    return f'"{base64.b64encode(content).decode()}"'


#: Messages that no task can be made of.
UNREADABLE: dict[str, bytes] = {
    **GARBAGE,
    "a body of wrong type": envelope(body="5"),
    "id is a list": envelope(',"id":[1]'),
    "retries is a text": envelope(',"retries":"many"'),
    "retries is enormous": envelope(',"retries":' + "9" * 400),
    "priority is a list": envelope(properties=',"priority":[1]'),
    "timestamp is a text": envelope(properties=',"timestamp":"now"'),
    "an invalid escape": envelope(',"shadow":"\\ud800"'),
    "not UTF-8": b'{"body":"","headers":{"id":"\xff\xfe","task":"x"},"properties":{}}',
    "a NUL": b"\0",
    "NaN": envelope(',"custom":NaN'),
    "twice": envelope() * 2,
    "too large": b"z" * (9 * 1024 * 1024),
    "zeros": b"\0" * 1_000_000,
    "an enormous integer among the headers": envelope(',"custom":' + "9" * 5000),
    "an enormous integer among the arguments": envelope(body=body(b'[["odd",' + b"9" * 5000 + b"],{},{}]")),
}
#: Messages that are odd and can be run.
ODD: dict[str, bytes] = {
    "eta in the year 1": envelope(',"eta":"0001-01-01T00:00:00+14:00"'),
    "eta before the year 1": envelope(',"eta":"0001-01-01T00:00:00+23:59"'),
    "eta is nonsense": envelope(',"eta":"tomorrow"'),
    "expires in the year 9999": envelope(',"expires":"9999-12-31T23:59:59-23:59"'),
    "expires is nonsense": envelope(',"expires":"never"'),
    "a headers' name that we use inside": envelope(',"__class__":"x","self":1'),
    "unknown headers": envelope(',"x":{"y":[1,2,{"z":null}]},"":1'),
    "a very long id": envelope(',"id":"' + "i" * 5000 + '"'),
    "an id of control characters": envelope(',"id":"\\u0000\\u001b[2J\\n"'),
    "negative retries": envelope(',"retries":-7'),
    "priority out of range": envelope(properties=',"priority":12345'),
    "times out of range": envelope(properties=',"timestamp":1e300'),
    "negative losses": envelope(properties=',"celeriac_losses":-1'),
    "losses out of range": envelope(properties=',"celeriac_losses":1000000'),
    "a suspect": envelope(properties=',"celeriac_suspect":true'),
    "time limits are odd": envelope(',"timelimit":[-1,null]'),
    "a group that is not there": envelope(',"group":"nowhere","group_index":-5'),
}


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def project(request: pytest.FixtureRequest, make_project: MakeProject) -> Project:
    """A project on each broker."""
    return make_project(request.param, **PATIENT)


@pytest.mark.scenario("h")
def test_garbage_becomes_dead_letters_and_the_next_task_runs_at_once(project: Project) -> None:
    wanted = [*UNREADABLE.values()]
    wanted.remove(
        GARBAGE["eta of nonsense but fine"]
    )  # its task is unknown here, which makes it unreadable again
    with project.working() as worker:
        children = worker.children()
        for name, payload in (UNREADABLE | ODD).items():
            project.client.ask("put", payloads=[payload.hex()])
            project.client.send("work", [[name.replace(" ", "-")]])
        project.journal.wait_done(name.replace(" ", "-") for name in UNREADABLE | ODD)
        project.client.wait_empty()
        after = run_soon(project, "next")
        assert worker.children() == children, f"a process died of it:\n{worker.log[-3000:]}"
        assert not worker.said("Traceback (most"), worker.log
    letters = {
        bytes.fromhex(letter["payload"]): letter["reason"] for letter in project.client.ask("dead_letters")
    }
    missing = [name for name, payload in UNREADABLE.items() if payload in wanted and payload not in letters]
    assert not missing
    assert all(letters.values())
    assert [name for name, payload in ODD.items() if payload in letters] == []
    for name, word in {"too large": "too large: 9,437,184 bytes", "random": "not a task message"}.items():
        assert word in letters[UNREADABLE[name]]
    names = [*after, *(name.replace(" ", "-") for name in UNREADABLE | ODD)]
    account(project.journal, names)
    project.journal.fates |= {f"garbage: {name}": DEAD for name in UNREADABLE}
    assert len(project.journal.of("odd")) == len(ODD)
    print(
        f"{len(UNREADABLE)} kinds of garbage, {len(letters)} dead letters; {len(ODD)} odd ones ran; "
        f"{len(names)} good ones ran once"
    )


def peak(pid: int) -> int:
    """Return the most memory that a process ever had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_a_message_of_fifty_megabytes_is_refused_unread(project: Project) -> None:
    """The worker never has it; but SQLite is part of its process, and writes the whole row anew to add the reason."""
    size = 50 * 1024 * 1024
    with project.working("-c", "1") as worker:
        project.client.send("work", [["before"]])
        project.client.wait_empty()
        (child,) = worker.children()
        before = peak(child)
        project.client.ask("put_large", size=size)
        project.client.wait_empty()  # a busy Redis moves it in seconds, and answers nobody meanwhile
        project.client.send("work", [["after"]])
        project.client.wait_empty()
        assert worker.children() == [child]
        grown = (peak(child) - before) / 1024
    assert project.journal.done() == {"before", "after"}
    (letter,) = project.client.ask("dead_letter_sizes")
    assert "too large: 52,428,800 bytes" in letter["reason"]
    assert letter["size"] == size, "it is kept whole"
    print(f"the process that refused it grew by {grown:.0f} MB")
    in_process = "broker_url" not in project.settings and "sqlite" in project.database["ENGINE"]
    assert grown < (130 if in_process else 20)


def test_garbage_in_one_batch_keeps_no_good_task_from_running(project: Project) -> None:
    """All at once, so that each claim brings good and bad ones."""
    good = [f"good-{n}" for n in range(200)]
    small = [payload.hex() for payload in (UNREADABLE | ODD).values() if len(payload) < 2_000_000]
    for first in range(0, 200, 20):
        project.client.send("work", [[key] for key in good[first : first + 20]])
        project.client.ask("put", payloads=small[first // 4 : first // 4 + 5])
    with project.working() as worker:
        children = worker.children()
        project.client.wait_empty()
        assert worker.children() == children
    assert project.journal.done() == {*good, "odd"}


def test_a_message_cut_off_anywhere_is_a_dead_letter(project: Project) -> None:
    whole = envelope(',"retries":0,"eta":null', ',"priority":3')
    pieces = [whole[:length] for length in range(len(whole))]
    project.client.ask("put", payloads=[piece.hex() for piece in pieces])
    with project.working() as worker:
        children = worker.children()
        project.client.send("work", [["good"]])
        project.client.wait_empty()
        assert worker.children() == children
    assert project.journal.done() == {"good"}
    letters = {
        bytes.fromhex(letter["payload"]): letter["reason"] for letter in project.client.ask("dead_letters")
    }
    assert letters.keys() == set(pieces)
    assert all(letters.values())
    print(f"{len(pieces)} lengths, {len(letters)} dead letters")


FAILURES = {
    "lone surrogate": "ValueError",
    "NUL": "ValueError",
    "unspeakable": "Unspeakable",
    "endless recursion": "RecursionError",
    "no memory": "MemoryError",
    "MemoryError": "MemoryError",
    "SystemExit": "SystemExit",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "GeneratorExit": "GeneratorExit",
    "StopIteration": "StopIteration",
    "long text": "ValueError",
    "result: an object": "UnstorableResult",
    "result: deep": None,
    "result: circular": "UnstorableResult",
    "result: NaN": None,
    "result: huge int": "UnstorableResult",
    "result: lone surrogate": None,
}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_tasks_that_end_in_odd_ways_have_a_result_and_hurt_nobody(project: Project, pool: str) -> None:
    with project.working("-P", pool) as worker:
        children = worker.children()
        ids = project.client.send("odd", [[how.replace(" ", "-"), how] for how in FAILURES])
        good = project.client.send("work", [[n] for n in range(50)])
        project.client.wait_empty()
        assert worker.children() == children, f"a process died of it:\n{worker.log[-3000:]}"
    runs = project.journal.by_key()
    assert all(len(runs[how.replace(" ", "-")]) == 1 for how in FAILURES)
    records: list[dict[str, Any]] = project.client.records(ids)
    for (how, error), record in zip(FAILURES.items(), records, strict=True):
        expected = "FAILURE" if error else "SUCCESS"
        assert record["state"] == expected, (how, record["state"], record["result"][:300])
        assert error is None or f'"exc_type":"{error}"' in record["result"], (how, record["result"][:300])
    assert {record["state"] for record in project.client.records(good)} == {"SUCCESS"}


def test_a_message_that_was_made_here_runs() -> None:
    """The envelope of this file's own making is otherwise as it should be."""
    message = protocol.decode(envelope())
    assert (message.headers, message.body) == (Headers("jobs.tasks.work", "odd-1"), b'[["odd"],{},{}]')
    assert message.properties == Properties(body_encoding="base64")
    assert isinstance(message, Message)
