"""A real Celery 5.7 and Celeriac: every serializer, compression and protocol of one side runs on the other's worker."""

from collections import Counter

import pytest

from tests.interop.test_celery import ACROSS, Fleet, fleet

__all__ = ["fleet"]
pytestmark = pytest.mark.redis

SERIALIZERS = ["json", "msgpack", "yaml"]  # Celery's worker refuses pickle when it is root, as in a container
PACKINGS = [None, "gzip", "bzip2", "lzma", "zstd", "brotli"]

SCRIPT = """
app.conf.task_protocol = {protocol}
value = {{"text": "ü" * 2000, "list": [1, 2.5, None, True], "raw": b"\\xff"}}
results = [
    echo.apply_async([value], serializer=serializer, compression=packing, headers={{"x-tenant": 7}})
    for serializer in {serializers} for packing in {packings}
]
retried = flaky.apply_async(["{protocol}"], serializer="msgpack", compression="zstd")
soon = add.apply_async([1, {protocol}], countdown=0.5, serializer="yaml", compression="gzip")
own = headers.apply_async(headers={{"x-tenant": 7}}, task_id="my-own-id-{protocol}")
out = [[result.get(timeout=100) == value for result in results], retried.get(timeout=100), soon.get(timeout=100),
       own.get(timeout=100)]
"""


@pytest.mark.parametrize(("producer", "worker"), ACROSS)
def test_each_sides_wire_is_read_by_the_other(fleet: Fleet, producer: str, worker: str) -> None:
    with fleet.worker(worker):
        for protocol in (1, 2):
            script = SCRIPT.format(protocol=protocol, serializers=SERIALIZERS, packings=PACKINGS)
            echoed, retried, soon, own = fleet.call(producer, script)
            assert echoed == [True] * len(SERIALIZERS) * len(PACKINGS)
            assert (retried, soon) == (2, 1 + protocol)
            assert own[0]["x-tenant"] == 7  # Celery's worker adds a name of its own to those of protocol 1
            assert own[1] == f"my-own-id-{protocol}"
    retries = {f"{worker} flaky-{protocol}-{n}": 1 for protocol in (1, 2) for n in range(3)}
    assert fleet.runs() == Counter(retries | {f"{worker} add-1-1": 1, f"{worker} add-1-2": 1})


@pytest.mark.parametrize("worker", ["celery", "celeriac"])
def test_a_worker_retries_in_the_protocol_that_its_settings_name(fleet: Fleet, worker: str) -> None:
    """A retry of ours in protocol 1 is run by Celery, and the other way round."""
    other = "celery" if worker == "celeriac" else "celeriac"
    fleet.environment["PROTOCOL"] = "1"
    with fleet.worker(worker), fleet.worker(other):
        got = fleet.call(
            "celery",
            "out = [flaky.delay(str(n)) for n in range(20)]\nout = [r.get(timeout=100) for r in out]",
        )
    assert got == [2] * 20
    assert set(Counter(line.partition(" ")[2] for line in fleet.runs().elements()).values()) == {1}


RESULTS = """
value = {"text": "ü" * 2000, "list": [1, 2.5, None, True]}
failed, raw = fail.delay("boom"), b"\\xff" if "json" not in app.conf.result_serializer else "text"
results = [echo.apply_async([{**value, "number": n, "raw": raw}], serializer="msgpack") for n in range(20)]
out = [[result.get(timeout=100) == {**value, "number": n, "raw": raw} for n, result in enumerate(results)],
       repr(failed.get(timeout=100, propagate=False)), "ValueError: boom" in failed.traceback, failed.state]
"""


@pytest.mark.parametrize("form", ["msgpack", "yaml", "json+zstd", "msgpack+gzip"])
@pytest.mark.parametrize(("producer", "worker"), ACROSS)
def test_results_of_one_sides_worker_in_the_fleets_format(
    fleet: Fleet, producer: str, worker: str, form: str
) -> None:
    fleet.environment["RESULTS"] = form
    with fleet.worker(worker):
        got = fleet.call(producer, RESULTS)
    assert got == [[True] * 20, "ValueError('boom')", True, "FAILURE"]
