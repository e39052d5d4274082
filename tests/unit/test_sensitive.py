"""What is not to be shown of a call: not in the message's reprs, so nowhere that these are shown."""

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import Celeriac
from celeriac.errors import CallError, EncodeError, MaxRetriesExceededError
from celeriac.message import protocol
from celeriac.sensitive import is_secret


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("sensitive", broker="memory://sensitive", backend="memory://sensitive")
    yield app
    app.broker.purge(["celery"])
    app.close()


def sent(app: Celeriac) -> list[Any]:
    """Take what was sent; return the headers and bodies."""
    app.broker.register("look", 100)
    messages = [protocol.decode(each.payload) for each in app.broker.claim("look", ["celery"], 10, 1)]
    return [(message.headers, message.body) for message in messages]


@pytest.mark.parametrize(
    "name",
    "password new_password passwd pwd token access_token api_key apikey secret client_secret private_key pin otp auth "
    "authorization cookie session_cookie credentials signature cvv JWT Password".split(),
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    "key keys cache_key author author_id passenger compass pinned option monkey signed email user_id".split(),
)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret(name)


def test_by_the_names_of_parameters(app: Celeriac) -> None:
    @app.task(name="log_in")
    def log_in(user: str, password: str, /, remember: bool = False, *, token: str = "") -> None: ...

    log_in.delay("ada", "hunter2", token="t0ps3cret")
    ((headers, body),) = sent(app)
    assert headers.argsrepr == "('ada', '********')"
    assert headers.kwargsrepr == "{'token': '********'}"
    assert b"hunter2" in body and b"t0ps3cret" in body, "the task gets them"


def test_by_the_task_s_option(app: Celeriac) -> None:
    @app.task(name="pay", sensitive=["card"])
    def pay(order: int, card: str, *more: str) -> None: ...

    @app.task(name="all", sensitive=True)
    def everything(order: int, *more: str) -> None: ...

    @app.task(name="none", sensitive=[])
    def nothing(order: int, token: str) -> None: ...

    pay.delay(1, "4111", "x")
    pay.apply_async((1,), {"card": "4111"})
    everything.delay(1, "4111")
    nothing.delay(1, "public")
    shown = {(headers.argsrepr, headers.kwargsrepr) for headers, _ in sent(app)}
    assert shown == {
        ("(1, '********', 'x')", "{}"),
        ("(1,)", "{'card': '********'}"),
        ("('********', '********')", "{}"),
        ("(1, 'public')", "{}"),
    }


def test_names_that_the_function_does_not_list(app: Celeriac) -> None:
    @app.task(name="any")
    def anything(**options: str) -> None: ...

    anything.delay(user="ada", password="hunter2")
    app.send_task("elsewhere.entirely", [1], {"api_key": "k", "user": "ada"})
    shown = {headers.kwargsrepr for headers, _ in sent(app)}
    assert shown == {"{'user': 'ada', 'password': '********'}", "{'api_key': '********', 'user': 'ada'}"}


def test_a_bound_task_s_self_is_not_counted(app: Celeriac) -> None:
    @app.task(name="bound", bind=True)
    def bound(self: Any, password: str, user: str) -> None: ...

    bound.delay("hunter2", "ada")
    assert sent(app)[0][0].argsrepr == "('********', 'ada')"


def test_results_retries_and_errors_show_no_more(app: Celeriac) -> None:
    @app.task(name="again", bind=True, max_retries=1)
    def again(self: Any, user: str, password: str) -> None:
        assert password.startswith("hunter")
        assert "hunter" not in repr(self.request)
        raise self.retry(args=(user, "hunter3"), countdown=0)

    result = again.apply(("ada", "hunter2"))
    record = result.record
    assert record is not None and record.args == "('ada', '********')"
    assert isinstance(result.result, MaxRetriesExceededError)
    assert "hunter" not in str(result.result) and "'********'" in str(result.result)


def test_tasks_without_secrets_cost_nothing(app: Celeriac) -> None:
    plain = app.task(name="plain")(lambda order, key: None)
    assert plain.covers is None


class TestErrors:
    """Whoever reads the log of an error of E102, E103 or E104 reads no secret."""

    @pytest.mark.parametrize(
        ("args", "kwargs"),
        [
            (("ada", "hunter2", "hunter2"), {}),
            (("hunter2",), {}),  # the user was forgotten
            (("ada",), {"password": "hunter2", "x": 1}),
            ((), {"pasword": 1, "token": "hunter2"}),
        ],
    )
    def test_arguments_that_do_not_fit(
        self, app: Celeriac, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        @app.task(name="log_in")
        def log_in(user: str, password: str) -> None: ...

        with pytest.raises(CallError) as caught:
            log_in.apply_async(args, kwargs)
        text = str(caught.value)
        assert text.startswith("log_in(user: str, password: str) was called with (")
        assert "hunter2" not in text
        assert "'********'" in text
        assert "  At " in text

    def test_a_name_that_the_task_has_not(self, app: Celeriac) -> None:
        @app.task(name="add")
        def add(x: int) -> None: ...

        with pytest.raises(CallError, match=r"was called with \(1, api_key='\*\*\*\*\*\*\*\*'\)"):
            add.apply_async((1,), {"api_key": "hunter2"})

    @pytest.mark.parametrize(
        ("serializer", "value"),
        [
            ("json", {"hunter2": {1}}),
            ("json", {("hunter2", 1): 1}),
            ("json", ["hunter2", object()]),
            ("yaml", [object()]),
            ("pickle", [lambda: "hunter2"]),
        ],
    )
    def test_what_cannot_be_serialised(self, app: Celeriac, serializer: str, value: Any) -> None:
        @app.task(name="pay", sensitive=["card"], serializer=serializer)
        def pay(order: int, card: Any, *, token: Any = None) -> None: ...

        class Secret:
            _meta = "of a model"
            pk = "hunter2"

        for args, kwargs in (((1, value), {}), ((1,), {"card": value}), ((1, Secret()), {})):
            with pytest.raises(EncodeError, match="card") as caught:
                pay.apply_async(args, kwargs)
            assert "hunter2" not in str(caught.value)
            assert "0x" not in str(caught.value), "no repr of it"

    def test_what_is_no_secret_is_shown(self, app: Celeriac) -> None:
        @app.task(name="pay", sensitive=["card"])
        def pay(order: Any, card: Any) -> None: ...

        with pytest.raises(EncodeError, match=r"holds a set at order\['lines'\], which JSON cannot hold"):
            pay.delay({"lines": {1}}, "4111")
