"""The errors that a newcomer meets: each says what happened and what to do, in a line, with its number.

Those of the command line are met there: a real project, a real process, its exit status, and no traceback.
"""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.small_project import TASKS, Project
from tests.servers import RedisServer

CALLS = """
import json
import sys

from celeriac.errors import CeleriacError
from shop.models import Order
from shop.tasks import add, send_receipt

found = {}


def met(name, call):
    try:
        call()
    except CeleriacError as error:
        bases = [cls.__name__ for cls in type(error).__mro__]
        found[name] = {
            "code": error.code, "text": str(error), "bases": bases,
            "maybe_queued": getattr(error, "maybe_queued", None),
        }


order = Order(pk=4711)
met("model", lambda: send_receipt.delay(order))
met("model in a list", lambda: send_receipt.delay([1, order]))
met("set", lambda: send_receipt.delay({3, 1, 2}))
met("lambda", lambda: send_receipt.delay(lambda: 1))
met("query", lambda: send_receipt.delay(Order.objects.all()))
met("nested", lambda: send_receipt.delay({"items": [1, {2}]}))
met("keys", lambda: send_receipt.delay({(1, 2): 3}))
met("too few", lambda: add.delay(1))
met("too many", lambda: add.delay(1, 2, 3))
met("unknown option", lambda: add.apply_async((1, 2), que="emails"))
met("option to come", lambda: add.apply_async((1, 2), chain=[add.s(1)]))
met("down", lambda: add.delay(1, 2))
print(json.dumps(found))
"""


@pytest.fixture
def project(tmp_path: Path, migrated: Path) -> Project:
    (tmp_path / "db.sqlite3").write_bytes(migrated.read_bytes())
    return Project(tmp_path)


@pytest.fixture(scope="module")
def dead_port() -> Iterator[int]:
    """A port that refuses connections: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory, dead_port: int) -> dict[str, Any]:
    """What a script got to hear that calls tasks in every wrong way, while its Redis is down.

    At once: it has less patience with the script than the script might have with Redis.
    """
    project = Project(tmp_path_factory.mktemp("calls"))
    project.set("CELERY_TASK_PUBLISH_TIMEOUT = 600")
    url = f"redis://:secret@127.0.0.1:{dead_port}/0"
    done = project.python(CALLS, CELERY_BROKER_URL=url)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(done: subprocess.CompletedProcess[str], code: str, status: int = 3) -> str:
    """Check how a command failed and return what it said, without the number."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"{code}: "), done.stderr
    assert line.endswith(f"(celeriac help {code})")
    return line.removeprefix(f"{code}: ")


class TestCalls:
    """Errors of `delay` and `apply_async`."""

    def test_e102_model(self, met: dict[str, Any]) -> None:
        found = met["model"]
        assert found["code"] == "E102"
        assert found["text"].startswith(
            'Argument "order" of shop.tasks.send_receipt is a Django model (Order 4711), which cannot go on the queue. '
            "Pass order.pk and read it in the task: Order.objects.get(pk=order_pk)."
        )
        assert re.search(r"At script\.py:\d+$", found["text"])

    def test_e102_model_in_a_list(self, met: dict[str, Any]) -> None:
        assert met["model in a list"]["code"] == "E102"
        assert "holds at order[1] a Django model (Order 4711)" in met["model in a list"]["text"]

    @pytest.mark.parametrize(
        ("case", "said"),
        [
            (
                "set",
                "is a set, which JSON cannot hold. Pass sorted(order) or list(order). Types that work: None, bool,",
            ),
            (
                "lambda",
                "is a function, which JSON cannot hold. Pass the name of a function or data, not code.",
            ),
            ("query", "is a QuerySet, which JSON cannot hold. Pass list(order.values_list('pk', flat=True))"),
            (
                "nested",
                "holds a set at order['items'][1], which JSON cannot hold. Pass sorted(order['items'][1])",
            ),
            ("keys", '"order" of shop.tasks.send_receipt cannot be serialised as json: keys must be str,'),
        ],
    )
    def test_e103_unserialisable(self, met: dict[str, Any], case: str, said: str) -> None:
        found = met[case]
        assert found["code"] == "E103"
        assert "TypeError" in found["bases"]
        assert said in found["text"]
        assert re.search(r"At script\.py:\d+$", found["text"])

    def test_e104_arguments(self, met: dict[str, Any]) -> None:
        found = met["too few"]
        assert found["code"] == "E104"
        assert "TypeError" in found["bases"]
        assert found["text"].startswith(
            "shop.tasks.add(x, y) was called with (1): missing a required argument: 'y'.  At script.py:"
        )
        assert "was called with (1, 2, 3): too many positional arguments." in met["too many"]["text"]

    def test_e108_option(self, met: dict[str, Any]) -> None:
        found = met["unknown option"]
        assert found["code"] == "E108"
        assert found["text"].startswith(
            "apply_async() has no option 'que'. Did you mean 'queue'?  At script.py:"
        )
        assert "does not support the option 'chain' in this release" in met["option to come"]["text"]

    def test_e109_broker_down(self, met: dict[str, Any], dead_port: int) -> None:
        found = met["down"]
        assert found["code"] == "E109"
        assert found["maybe_queued"] is False
        assert found["text"].startswith(
            f"Cannot reach redis://:***@127.0.0.1:{dead_port}/0 (connection refused"
        )
        assert "The task shop.tasks.add was NOT queued." in found["text"]
        assert "Is Redis running?" in found["text"]
        assert "secret" not in found["text"]


SEND = """
import shop.tasks
from celeriac import current_app

print(current_app().send_task("shop.tasks.ad", [1, 2]).id, current_app().send_task("shop.tasks.add", [1, 2]).id)
"""
WAIT_FOR_ONE = """
from shop.tasks import add

print(add.delay(1, 2).get(timeout=100))
"""
WAIT = """
import sys

from celeriac import current_app

misspelt, right = map(current_app().AsyncResult, sys.stdin.read().split())
assert right.get(timeout=100) == 3
try:
    misspelt.get(timeout=100)
except Exception as error:
    print(error.code, error)
(kept,) = current_app().broker.dead_letters()
print(misspelt.state, misspelt.id in str(kept.payload), kept.reason)
"""


def test_e105_and_e106_unknown_name(project: Project) -> None:
    sent = project.python(SEND)
    assert sent.returncode == 0, sent.stderr
    told, alone = sent.stderr.splitlines()
    assert alone.startswith("E101: shop.tasks.ad is queued (id ")
    assert told.startswith(
        'E105: there is no task "shop.tasks.ad" in this process. Did you mean "shop.tasks.add"? It is sent all the same'
    )
    assert re.search(r"At script\.py:\d+$", told)
    with project.worker():
        seen = project.python(WAIT, stdin=sent.stdout)
    assert seen.returncode == 0, seen.stderr
    error, state = seen.stdout.splitlines()
    assert re.fullmatch(
        r"E105 Task 'shop\.tasks\.ad' is not known to this worker, which has run since 20\S+ \S+ UTC\. The message is "
        r"kept as a dead letter, and a worker that knows the name puts it back when it starts\. If the code is newer "
        r"than this worker, restart it\. To drop it: celeriac deadletter discard [0-9a-f-]{36} \(celeriac help E106\)",
        error,
    )
    log = (project.folder / "worker.log").read_text()
    assert "is not known to this worker, which has run since 20" in " ".join(log.split())
    assert state == "FAILURE True unknown task 'shop.tasks.ad'"


SEND_AND_WAIT = """
import sys

from celeriac.errors import TaskTimeout
from shop.tasks import add

add.delay(1, 2)
add.delay(1, 2)
for queue in sys.argv[1:]:
    try:
        print(add.apply_async((3, 4), queue=queue).get(timeout=1))
    except TaskTimeout as error:
        print(error)
"""


class TestNobodyThere:
    """E101 and E107: a process that sends and ends hears of it, on its standard error."""

    def test_e101_no_worker(self, project: Project) -> None:
        done = project.python(SEND_AND_WAIT)
        (told,) = done.stderr.splitlines()
        assert re.fullmatch(
            r"E101: shop\.tasks\.add is queued \(id [0-9a-f-]{36}\), but no worker is running\. Start one:  "
            r"python manage\.py celeriac dev   \(worker only: celeriac worker\)",
            told,
        )

    def test_e101_only_in_debug_mode(self, project: Project) -> None:
        project.set("DEBUG = False")
        assert project.python(SEND_AND_WAIT).stderr == ""

    def test_e101_who_waits_hears_it_in_any_mode(self, project: Project) -> None:
        project.set("DEBUG = False")
        done = project.python(SEND_AND_WAIT, "mails")
        (told,) = done.stderr.splitlines()
        assert re.match(
            r"E101: The task [0-9a-f-]{36} is waited for, but no worker is running\. Start one:  python", told
        )
        assert 'It still waits in its queue, "mails", or runs.' in done.stdout

    def test_e107_a_queue_that_nobody_reads(self, project: Project) -> None:
        with project.worker():
            assert project.python(WAIT_FOR_ONE).stdout == "3\n"
            done = project.python(SEND_AND_WAIT, "mails")
        (told,) = done.stderr.splitlines()
        assert re.fullmatch(
            r'E107: shop\.tasks\.add is queued \(id [0-9a-f-]{36}\), but its queue "mails" has no worker\. It waits '
            r"there until one starts:  celeriac worker -Q mails\.  Queues with workers: celery\.",
            told,
        )


FIND_ORDER = """
from celeriac import shared_task

from shop.models import Order


@shared_task
def ready(): ...


@shared_task
def find(pk):
    Order.objects.get(pk=pk)
"""
FIND_TOO_EARLY = """
import time

from django.db import transaction
from shop.models import Order
from shop.tasks import find, ready

ready.delay().get(timeout=100)
hints = 0
for _ in range(20):
    began = time.time()
    with transaction.atomic():
        order = Order.objects.create()
        result = find.delay(order.pk)
        error = result.get(timeout=100, propagate=False)
    hints += "E115" in result.traceback
    if time.time() - began < 5:
        break  # else somebody was halted for so long that it may be too late for the hint
print(type(error).__name__, result.traceback.splitlines()[-1])
find.delay(order.pk).get(timeout=100)
result = find.apply_async((4711,), countdown=5.1)
result.get(timeout=100, propagate=False)
print("E115" in result.traceback)
print(hints)
"""


def test_e115_a_row_that_is_not_committed_yet(project: Project, redis: RedisServer) -> None:
    project.write("shop/tasks.py", FIND_ORDER)
    project.set(
        f"CELERY_BROKER_URL = CELERY_RESULT_BACKEND = {redis.url!r}\nCELERY_TASK_PUBLISH_ON_COMMIT = False\n"
    )
    with project.worker():
        done = project.python(FIND_TOO_EARLY)
    assert done.returncode == 0, done.stderr
    early, late, hints = done.stdout.splitlines()
    assert re.fullmatch(
        r"DoesNotExist E115: Order\.DoesNotExist \d{1,4} ms after the task was sent: probably the transaction that it "
        r"was sent in was not committed yet\. task_publish_on_commit is off; turn it on, or send with "
        r"delay_on_commit\(\)\. \(celeriac help E115\)",
        early,
    )
    assert late == "False"
    assert (project.folder / "worker.log").read_text().count("E115: Order.DoesNotExist") == int(hints) > 0


def test_e116_unknown_id(project: Project) -> None:
    done = project.python(
        "from celeriac import AsyncResult\n\nresult = AsyncResult('does-not-exist')\nprint(result.state)\n"
        "try:\n    result.get(timeout=0.1)\nexcept TimeoutError as error:\n    print(error)\n"
    )
    state, text = done.stdout.splitlines()
    assert state == "PENDING"
    assert "Nothing is stored of it: it was never queued here, still waits" in text
    assert text.endswith("(results are kept for 7 days). (celeriac help E116)")


class TestWorkerDoesNotStart:
    """Errors of `celeriac worker`."""

    def test_e110_scheme(self, project: Project) -> None:
        done = project.celeriac("worker", CELERY_BROKER_URL="redsi://user:secret@localhost")
        text = refused(done, "E110")
        assert "broker_url is 'redsi://user:***@localhost'" in text
        assert "Did you mean 'redis'? Known: django, memory, redis," in text
        assert "secret" not in done.stderr

    def test_e110_store(self, project: Project) -> None:
        done = project.celeriac("worker", CELERY_RESULT_BACKEND="djano-db")
        assert "Did you mean 'django-db'?" in refused(done, "E110")

    def test_e111_setting(self, project: Project) -> None:
        project.set("CELERY_BROKER_ULR = 'redis://localhost'")
        text = refused(project.celeriac("worker"), "E111")
        assert "CELERY_BROKER_ULR is not a setting. Did you mean CELERY_BROKER_URL?" in text

    def test_e111_in_the_dict(self, project: Project) -> None:
        project.set("CELERIAC = {'BROKER_ULR': 'redis://localhost'}")
        text = refused(project.celeriac("worker"), "E111")
        assert "Did you mean broker_url?" in text

    def test_e112_not_installed(self, project: Project) -> None:
        settings = (project.folder / "proj/settings.py").read_text()
        project.write("proj/settings.py", settings.replace('"celeriac.django", ', ""))
        text = refused(project.celeriac("worker"), "E112")
        assert text.startswith('celeriac is not in INSTALLED_APPS; add "celeriac.django".')

    def test_e112_not_migrated(self, project: Project) -> None:
        (project.folder / "db.sqlite3").unlink()
        text = refused(project.manage("celeriac", "worker"), "E112")
        assert re.match(
            r"The database lacks \d+ celeriac migrations?\. Run:  python manage\.py migrate ", text
        )

    def test_e113_no_tasks(self, project: Project) -> None:
        (project.folder / "shop/tasks.py").rename(project.folder / "shop/jobs.py")
        project.write("blog/__init__.py", "")
        project.write("blog/tasks.py", TASKS)
        text = refused(project.celeriac("worker"), "E113")
        assert text.startswith("No tasks found. Looked for tasks.py in: shop. ")
        assert (
            'Found shop/jobs.py with 2 @task functions: rename it to tasks.py or set CELERY_IMPORTS = ["shop.jobs"].'
        ) in text
        assert '"blog" has tasks.py but is not in INSTALLED_APPS.' in text

    def test_e113_without_django(self, tmp_path: Path) -> None:
        project = Project(tmp_path / "other")
        project.folder = tmp_path
        project.write(
            "app.py", "from celeriac import Celeriac\n\nqueue = Celeriac('x', broker='memory://')\n"
        )
        project.write("jobs.py", TASKS)
        text = refused(project.celeriac("worker", "-A", "app:queue"), "E113")
        assert "Found jobs.py with 2 @task functions: name it:  celeriac worker -I jobs" in text

    def test_e114_import(self, project: Project) -> None:
        project.write("shop/tasks.py", "import notthere\n" + TASKS)
        text = refused(project.manage("celeriac", "worker"), "E114")
        assert text.startswith(
            "shop/tasks.py, line 1: import notthere → ModuleNotFoundError: No module named 'notthere'. "
            "Its 2 tasks are unavailable."
        )

    def test_e114_names_the_projects_line_not_the_librarys(self, project: Project) -> None:
        project.write("shop/tasks.py", "import json\n\njson.loads('x')\n")
        assert "shop/tasks.py, line 3: json.loads('x') → JSONDecodeError" in refused(
            project.celeriac("worker"), "E114"
        )

    def test_e114_syntax(self, project: Project) -> None:
        project.write("shop/tasks.py", "def x(:\n")
        assert "shop/tasks.py, line 1: def x(: → SyntaxError" in refused(project.celeriac("worker"), "E114")

    def test_e123_no_such_module(self, project: Project) -> None:
        text = refused(project.celeriac("-A", "projj", "worker"), "E123")
        assert text.startswith("There is no module 'projj'. Found here: proj → `-A proj`, or leave -A out.")

    def test_a_value_of_the_wrong_type(self, project: Project) -> None:
        project.set("CELERY_TASK_PUBLISH_TIMEOUT = 'soon'")
        done = project.celeriac("worker")
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert "CELERY_TASK_PUBLISH_TIMEOUT = 'soon'" in done.stderr

    def test_settings_that_do_not_import(self, project: Project) -> None:
        project.set("import notthere")
        done = project.celeriac("worker")
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert "Django cannot be set up: proj/settings.py, line " in done.stderr
        assert "No module named 'notthere'" in done.stderr
