"""Signed messages: what a signature covers, what is refused, and that all which we send is signed."""

import json
import pickle
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import Celeriac, Task, dead_letters, schedules
from celeriac.beat.engine import Beat
from celeriac.broker import Action, Publication, Settlement
from celeriac.cli import main
from celeriac.config import Settings
from celeriac.dead_letters import Amendment, Wanted
from celeriac.errors import BadSignature, ImproperlyConfigured
from celeriac.execute import unknown_task
from celeriac.message import protocol
from celeriac.message.message import Headers, Message, Properties
from celeriac.message.signing import Signer
from celeriac.unpacking import Codec
from celeriac.worker.death import Death
from celeriac.worker.recorder import Recorder
from celeriac.worker.recovery import Recovery
from celeriac.worker.revival import Revival

from .running import PATIENCE, until, working

SECRET = "of the project"
SIGNER = Signer([SECRET])
SIGNED = Codec(Settings(), SIGNER)
UNSIGNED = "it is not signed, and task_signing is on (celeriac help E126)"
_REASON = (
    "its signature is wrong: it was changed or moved here from another queue, or its sender has another key"
)
WRONG = _REASON + " (celeriac help E126)"


def message(**more: Any) -> Message:
    headers = Headers(
        "shop.charge", "id-1", eta="2026-11-22T12:00:00+00:00", expires="2026-11-23T12:00:00+00:00"
    )
    properties = Properties(priority=3, timestamp=1795000000.123456)
    return Message(headers, properties, b'[[1],{"a":2},null]', **more)


# -- what a signature covers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.text(), JSON, max_size=3),
    st.binary(),
    st.text(),
    st.sampled_from([None, "application/x-gzip"]),
)
def test_what_is_signed_is_let_through(
    custom: dict[str, Any], body: bytes, queue: str, compression: str | None
) -> None:
    ours = message(custom=custom, compression=compression)
    ours.body = body
    try:
        payload = SIGNED.encode(ours, queue)
    except Exception:
        return  # such headers cannot be sent, signed or not: see test_protocol
    for read in (SIGNED.decode(payload, queue), SIGNED.read(payload)):
        assert (read.headers, read.body, read.compression) == (ours.headers, body, compression)
        assert protocol.SIGNATURE not in (read.custom or {})
    assert SIGNED.decode(SIGNED.encode(SIGNED.decode(payload, queue), "other"), "other").body == body


def test_celery_may_write_it_anew() -> None:
    payload = SIGNED.encode(message(custom={"x": 0.1, "name": "Zoë"}), "q")
    as_kombu_does = json.dumps(json.loads(payload)).encode()
    assert as_kombu_does != payload
    assert SIGNED.decode(as_kombu_does, "q").headers.id == "id-1"


ALTERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "body": lambda fields: fields.update(body="W10="),
    "the body's encoding": lambda fields: fields["properties"].update(body_encoding="utf-8"),
    "content type": lambda fields: fields.update({"content-type": "application/x-python-serialize"}),
    "content encoding": lambda fields: fields.update({"content-encoding": "binary"}),
    "priority": lambda fields: fields["properties"].update(priority=9),
    "time of sending": lambda fields: fields["properties"].update(timestamp=1795000001.0),
    "losses": lambda fields: fields["properties"].update(celeriac_losses=1),
    "suspicion": lambda fields: fields["properties"].update(celeriac_suspect=True),
    "that it waited for its eta": lambda fields: fields["properties"].update(celeriac_scheduled=True),
    "one more header": lambda fields: fields["headers"].update(more=1),
    "compression": lambda fields: fields["headers"].update(compression="application/x-gzip"),
}
ALTERED |= {
    f"header {name}": lambda fields, name=name: fields["headers"].update({name: "other"})  # type: ignore[misc]
    for name in Headers.__struct_fields__
}
ALTERED |= {
    f"no header {name}": lambda fields, name=name: fields["headers"].pop(name)  # type: ignore[misc]
    for name in ("eta", "expires", "retries", "timelimit", "x-own")
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_message_is_refused(what: str) -> None:
    fields = json.loads(SIGNED.encode(message(custom={"x-own": 1}), "q"))
    ALTERED[what](fields)
    with pytest.raises(BadSignature, match=re.escape(WRONG)):
        SIGNED.decode(json.dumps(fields).encode(), "q")


def test_moved_to_another_queue_it_is_refused() -> None:
    with pytest.raises(BadSignature, match="from another queue"):
        SIGNED.decode(SIGNED.encode(message(), "q"), "admin")


@pytest.mark.parametrize("given", [None, "", "1:", "1:00", 7, [], {}, True, "1:" + "é" * 64, "2:" + "0" * 64])
def test_what_is_no_signature(given: object) -> None:
    fields = json.loads(SIGNED.encode(message(), "q"))
    fields["headers"][protocol.SIGNATURE] = given
    with pytest.raises(BadSignature, match=re.escape(UNSIGNED if given is None else WRONG)):
        SIGNED.decode(json.dumps(fields).encode(), "q")


def test_nobody_elses_messages() -> None:
    for payload in (
        protocol.encode(message(), "q"),
        protocol.encode(message(custom={protocol.SIGNATURE: "1:" + "0" * 64}), "q"),
    ):
        with pytest.raises(BadSignature, match=re.escape(UNSIGNED)):
            SIGNED.decode(payload, "q")
    with pytest.raises(BadSignature, match=re.escape(WRONG)):
        SIGNED.decode(protocol.encode(message(), "q", Signer(["of another"])), "q")


def test_nothing_is_unpickled_before_its_signature_is_checked() -> None:
    conf = Settings(accept_content=["json", "pickle"])
    bomb = Message(
        Headers("t", "i"), Properties(), pickle.dumps(Bomb()), "application/x-python-serialize", "binary"
    )
    payload = json.loads(protocol.encode(bomb, "q"))
    payload["headers"] = {}  # protocol 1: its body has to be read to know what it is
    written = json.dumps(payload).encode()
    with pytest.raises(BadSignature):
        Codec(conf, SIGNER).decode(written, "q")
    with pytest.raises(Exploded):
        Codec(conf).decode(written, "q")


class Exploded(BaseException):
    pass


class Bomb:
    def __reduce__(self) -> Any:
        return _explode, ()


def _explode() -> None:
    raise Exploded


def test_protocol_1_is_signed_too() -> None:
    payload = SIGNED.encode_protocol_1(message(), "q")
    assert SIGNED.decode(payload, "q").headers.eta == "2026-11-22T12:00:00+00:00"
    fields = json.loads(payload)
    fields["body"] = json.loads(SIGNED.encode_protocol_1(message(compression=None), "q"))["body"][:-4]
    with pytest.raises(BadSignature):
        SIGNED.decode(json.dumps(fields).encode(), "q")


# -- keys


def test_the_first_key_signs_and_all_are_accepted() -> None:
    old, both, new = Signer(["old"]), Signer([b"new", "old"]), Signer(["new"])
    assert Codec(Settings(), both).decode(protocol.encode(message(), "q", old), "q")
    assert Codec(Settings(), new).decode(protocol.encode(message(), "q", both), "q")
    with pytest.raises(BadSignature):
        Codec(Settings(), old).decode(protocol.encode(message(), "q", both), "q")


@pytest.mark.parametrize("keys", [[], ["long and random", ""]])
def test_no_key_is_told(keys: list[str]) -> None:
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY; elsewhere set task_signing_keys"):
        Signer(keys)


# -- while it is being turned on


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def over(*now: float) -> Codec:
    """Return how messages are read at these times, of a project that takes unsigned ones until noon."""
    times = iter(now)
    return Codec(Settings(), Signer([SECRET], NOON, lambda: next(times)))


def test_until_then_what_is_not_signed_is_run_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    before = over(*[NOON.timestamp() - 1] * 5)
    unsigned = protocol.encode(message(), "q")
    for _ in range(3):
        assert before.decode(unsigned, "q").headers.id == "id-1"
    assert before.decode(protocol.encode_protocol_1(message(), "q"), "q").headers.task == "shop.charge"
    first, second = (record.getMessage() for record in caplog.records)
    assert first == (
        "A message of shop.charge, sent by a process that does not say its name, is not signed. Such messages run "
        "until 2026-11-22T12:00:00+00:00 (task_signing_optional_until), and are set aside from then on: set "
        "task_signing where it is sent."
    )
    assert second.startswith("A message of (in its body), ")
    assert SIGNED.decode(before.encode(before.decode(unsigned, "q"), "q"), "q"), "what is sent on is signed"


def test_from_then_on_it_is_refused() -> None:
    unsigned = protocol.encode(message(), "q")
    for moment in (NOON.timestamp(), NOON.timestamp() + 1e6):
        with pytest.raises(BadSignature, match="it is not signed, and had to be from 2026-11-22T12:00:00"):
            over(moment).decode(unsigned, "q")
    assert over(NOON.timestamp() + 1).decode(SIGNED.encode(message(), "q"), "q")


@pytest.mark.parametrize("seconds", [-1, 1])
def test_a_forged_signature_is_refused_before_and_after(seconds: float) -> None:
    codec = over(NOON.timestamp() + seconds)
    forged = protocol.encode(message(), "q", Signer(["of another"]))
    for payload, queue in ((forged, "q"), (SIGNED.encode(message(), "q"), "elsewhere")):
        with pytest.raises(BadSignature, match=re.escape(WRONG)):
            codec.decode(payload, queue)


def test_an_hour_later_it_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    codec = over(*(NOON.timestamp() - ago for ago in (7300, 7200, 3700, 3600, 100)))
    unsigned, told = protocol.encode(message(), "q"), []
    for _ in range(5):
        codec.decode(unsigned, "q")
        told.append(len(caplog.records))
    assert told == [1, 1, 2, 2, 3]


def test_names_that_strangers_make_up_are_not_all_told(caplog: pytest.LogCaptureFixture) -> None:
    before = over(*[NOON.timestamp() - 1] * 300)
    for number in range(300):
        ours = message()
        ours.headers.task = f"made-up-{number}"
        before.decode(protocol.encode(ours, "q"), "q")
    assert len(caplog.records) == 200


def test_the_time_is_the_apps_clock_and_has_a_zone() -> None:
    app = Celeriac("signed", task_signing=True, task_signing_keys=[SECRET], task_signing_optional_until=NOON)
    codec, unsigned = app.codec, protocol.encode(message(), "q")
    app.clock = lambda: NOON.timestamp() - 1
    assert codec.decode(unsigned, "q")
    app.clock = NOON.timestamp
    with pytest.raises(BadSignature):
        codec.decode(unsigned, "q")
    for wrong in ("2026-12-31", "2026-12-31T00:00:00", datetime(2026, 12, 31)):  # noqa: DTZ001
        app = Celeriac("wrong", task_signing_optional_until=wrong)
        with pytest.raises(ImproperlyConfigured, match="write it with its zone, as 2026-12-31T00:00:00Z"):
            app.conf  # noqa: B018


def test_a_key_is_not_shown() -> None:
    app = Celeriac("wrong", task_signing_keys="hush-hush")
    with pytest.raises(ImproperlyConfigured) as raised:
        app.conf  # noqa: B018
    assert "hush" not in str(raised.value)


# -- a project whose messages are signed


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac(
        "signed",
        broker="memory://signed",
        backend="memory://signed",
        task_signing=True,
        task_signing_keys=[SECRET],
    )
    app.broker.clear()  # type: ignore[attr-defined]
    yield app
    app.close()


def tasks_of(app: Celeriac, ran: list[str]) -> dict[str, Task[..., Any]]:
    @app.task(name="fails", bind=True, max_retries=1, default_retry_delay=0)
    def fails(self: Task[..., Any], word: str) -> None:
        ran.append(f"fails {self.request.retries}")
        raise self.retry(exc=OSError("as it should"))

    @app.task(name="note")
    def note(*words: object) -> str:
        ran.append(f"note {len(words)}")
        return "noted"

    return {"fails": fails, "note": note}


def test_all_that_we_send_is_signed(app: Celeriac) -> None:
    """Calls, batches, retries, what follows a task, what a task sends: nothing of it is refused."""
    ran: list[str] = []
    tasks = tasks_of(app, ran)
    note, fails = tasks["note"], tasks["fails"]

    @app.task(name="sends")
    def sends() -> None:
        note.delay("from", "a", "task")

    with working(app):
        assert note.delay().get(PATIENCE) == "noted"
        assert [each.get(PATIENCE) for each in app.send_many(note.s(n, n) for n in range(3))] == ["noted"] * 3
        note.apply_async((1,), countdown=0.01, headers={"x": 1}, priority=3, link=note.si(1, 2, 3, 4))
        fails.apply_async(("word",), link_error=note.si(1, 2, 3, 4, 5))
        sends.apply_async(compression="gzip")
        expected = ["fails 0", "fails 1", "note 0", "note 1", *["note 2"] * 3, "note 3", "note 4", "note 5"]
        until(lambda: len(ran) >= len(expected))
    assert sorted(ran) == expected
    assert app.broker.dead_letters() == []


def test_what_is_due_is_signed(app: Celeriac) -> None:
    ran: list[str] = []
    tasks_of(app, ran)
    app.conf.update(beat_schedule={"often": {"task": "note", "schedule": schedules.schedule(0.01)}})
    beat = Beat(app, "beat@here")
    with working(app):
        until(lambda: (beat.turn(), ran)[1])
    assert app.broker.dead_letters() == []


def test_what_is_not_signed_is_set_aside_and_the_worker_goes_on(app: Celeriac) -> None:
    ran: list[str] = []
    note = tasks_of(app, ran)["note"]
    theirs = Celeriac("theirs", broker="memory://signed", set_as_current=False)
    result = theirs.send_task("note", ("unsigned",), ignore_result=True)
    moved = note.apply_async(("moved",), queue="elsewhere")
    app.broker.register("thief", 60)
    (delivery,) = app.broker.claim("thief", ["elsewhere"], 1, 1)
    app.broker.publish([Publication(moved.id, "note", "celery", delivery.payload)], 1)
    app.broker.settle("thief", [Settlement(delivery.tag)])
    with working(app):
        assert note.delay().get(PATIENCE) == "noted"
    assert ran == ["note 0"]
    letters = {letter.reason for letter in app.broker.dead_letters()}
    assert letters == {UNSIGNED, WRONG}
    assert result.id != moved.id and app.store.fetch([moved.id]) == {}  # type: ignore[union-attr]


def bury(app: Celeriac, publication: Publication, reason: str) -> None:
    app.broker.register("undertaker", 60)
    app.broker.publish([publication], 1)
    (delivery,) = app.broker.claim("undertaker", [publication.queue], 1, 1)
    app.broker.settle("undertaker", [Settlement(delivery.tag, Action.DEAD, reason=reason)])
    app.broker.unregister("undertaker")


def claim(app: Celeriac) -> list[tuple[str, bytes]]:
    """Return what waits, and take it."""
    app.broker.register("looker", 60)
    deliveries = app.broker.claim("looker", ["celery", "slow"], 10, 1)
    app.broker.settle("looker", [Settlement(delivery.tag) for delivery in deliveries])
    app.broker.unregister("looker")
    return [(delivery.queue, delivery.payload) for delivery in deliveries]


def test_nothing_forged_is_signed_by_us(app: Celeriac, tmp_path: Path) -> None:
    """Neither by what is done for the dead, nor by a worker that knows the task, nor with the other dead letters."""
    forged = Publication("id", "note", "celery", protocol.encode(message(), "celery"))
    app.broker.register("dead", 60)
    app.broker.publish([forged], 1)
    (delivery,) = app.broker.claim("dead", ["celery"], 1, 1)
    recorder = Recorder.create(tmp_path / "dead.flight", "dead", "b", 1)
    recorder.begin(0, delivery.tag, 1.0)
    Recovery(app.broker, app.store, "w@h", 3, app.codec).child(recorder, Death("signal 9 (SIGKILL)"))
    assert claim(app) == [("celery", forged.payload)]

    bury(app, forged, unknown_task("shop.charge"))
    assert Revival(app.broker, {"shop.charge": None}, ["celery"], app.codec).step()
    assert dead_letters.retry(app.broker, Wanted(), app.codec) == 0
    (found,) = dead_letters.find(app.broker, Wanted(), app.codec)
    assert (found.task, found.genuine) == ("shop.charge", False)
    assert claim(app) == []


def test_what_goes_back_is_signed_anew(app: Celeriac, tmp_path: Path) -> None:
    """By what is done for the dead, by a worker that knows the task now, and as an operator changes it."""
    app.send_task("note", ("one",))
    app.broker.register("dead", 60)
    (delivery,) = app.broker.claim("dead", ["celery"], 1, 1)
    recorder = Recorder.create(tmp_path / "dead.flight", "dead", "b", 1)
    recorder.begin(0, delivery.tag, 1.0)
    Recovery(app.broker, app.store, "w@h", 3, app.codec).child(recorder, Death("signal 9 (SIGKILL)"))
    ((queue, payload),) = claim(app)
    assert app.codec.decode(payload, queue).properties.celeriac_losses == 1

    for back in (
        lambda: Revival(app.broker, {"note": None}, ["celery"], app.codec).step(),
        lambda: dead_letters.retry(app.broker, Wanted(), app.codec),
    ):
        bury(app, app.publication("note", ("two",), {}, {"expires": 3600}), unknown_task("note"))
        assert back()
        ((queue, payload),) = claim(app)
        assert json.loads(app.codec.decode(payload, queue).body)[0] == ["two"]

    bury(app, app.publication("note", ("three",), {}, {}), "rejected")
    (found,) = dead_letters.find(app.broker, Wanted(), app.codec)
    changed = dead_letters.amend(found, Amendment(args=["four"], queue="slow"), app.tasks, app.conf)
    assert dead_letters.put_back(app.broker, [changed], app.codec) == 1
    ((queue, payload),) = claim(app)
    assert (queue, json.loads(app.codec.decode(payload, queue).body)[0]) == ("slow", ["four"])


PROJECT = f"""
from celeriac import Celeriac

app = Celeriac("jobs", broker="memory://signed", task_signing=True, task_signing_keys=[{SECRET!r}])
"""


def test_an_operator_may_answer_for_it(
    app: Celeriac, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "signed_project.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def retry(*words: str) -> tuple[int, str]:
        status = main(["-A", "signed_project", "deadletter", "retry", *words])
        output = capsys.readouterr()
        return status, output.out + output.err

    for more in ((), ("--args", "[7]")):
        bury(
            app, Publication("id-1", "shop.charge", "celery", protocol.encode(message(), "celery")), UNSIGNED
        )
        status, told = retry("id-1", *more)
        assert status != 0 and "signed" in told
        status, told = retry("id-1", *more, "--sign")
        assert (status, told) == (0, "1 dead letter went back.\n")
        ((queue, payload),) = claim(app)
        assert json.loads(app.codec.decode(payload, queue).body)[0] == ([7] if more else [1])


def test_without_signing_a_signature_is_no_hindrance() -> None:
    """While a project turns it on, its senders may be ahead of its workers, and the other way round."""
    plain = Codec(Settings())
    read = plain.decode(SIGNED.encode(message(custom={"x": 1}), "q"), "q")
    assert (read.custom, read.headers) == ({"x": 1}, message().headers)
    assert protocol.SIGNATURE.encode() not in plain.encode(read, "q")
