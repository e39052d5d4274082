"""The core imports without Django, without any broker's library, and does nothing while it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import celeriac

FORBIDDEN = (
    "django", "redis", "hiredis", "psycopg", "psycopg2", "sqlite3", "pika", "amqp", "kombu", "celery", "billiard",
    "vine", "prometheus_client", "opentelemetry", "pytest", "hypothesis",
)  # fmt: skip
#: Rooms that may know one of these.
OTHERS = (
    "celeriac.apps", "celeriac.brokers.redis", "celeriac.cli", "celeriac.django", "celeriac.redis_client",
    "celeriac.stores.redis", "celeriac.testing",
)  # fmt: skip
ROOT = Path(celeriac.__file__).parent
NAMES = (
    ".".join(("celeriac", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
)
CORE = [name for name in NAMES if not name.startswith(OTHERS)]

PROGRAM = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} is not to be imported here")

FORBIDDEN = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Blocker())
threads_before = __import__("threading").active_count()
for name in sys.argv[1].split(","):
    __import__(name)
assert FORBIDDEN.isdisjoint(name.partition(".")[0] for name in sys.modules)
assert __import__("threading").active_count() == threads_before
print("fine")
"""


def run(modules: list[str], forbidden: tuple[str, ...] = FORBIDDEN) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-W", "error", "-c", PROGRAM, ",".join(modules), ",".join(forbidden)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COV", "DJANGO"))
    }
    return subprocess.run(words, capture_output=True, text=True, timeout=100, env=environment, check=False)


def test_import_celeriac() -> None:
    done = run(["celeriac"])
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_every_core_module_by_itself() -> None:
    """In an order in which none can lean on what another one imported: each in its own process would be slow."""
    assert {
        "celeriac.app",
        "celeriac.brokers.memory",
        "celeriac.message.protocol",
        "celeriac.execute",
    } <= set(CORE)
    for modules in (CORE, CORE[::-1]):
        done = run(modules)
        assert (done.stdout, done.stderr) == ("fine\n", "")


@pytest.mark.parametrize("module", ["celeriac.brokers.redis", "celeriac.stores.redis"])
def test_redis_without_django(module: str) -> None:
    pytest.importorskip("hiredis")
    done = run([module], tuple(name for name in FORBIDDEN if name != "hiredis"))
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_the_blocker_blocks() -> None:
    done = run(["django"])
    assert done.returncode == 1
    assert "django is not to be imported here" in done.stderr
