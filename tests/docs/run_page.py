"""Runs the Python of one page in a Django project; started by `test_examples` in a process of its own, in that project.

All blocks are one module, `shop.tasks`, so that tasks have the names that they would have. Hidden blocks find `work()`
in it, which is a worker in this process, and `raises`.
"""

import doctest
import importlib.util
import json
import logging
import logging.config
import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest

MODULE = "shop.tasks"
PATIENCE = 200.0


def main() -> None:
    """Read the blocks from the file that is named and run them in order."""
    blocks = json.loads(Path(sys.argv[1]).read_text())
    sys.path.insert(0, str(Path.cwd()))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    for block in blocks:
        if block["kind"] == "file":
            write(block)
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    module = make_module()
    for block in blocks:
        if block["kind"] == "python":
            run(block, module.__dict__)
        elif block["kind"] == "pycon":
            run_doctest(block, module.__dict__)
        elif block["kind"] == "settings":
            check_settings(block)
    print("all blocks ran")


def write(block: dict[str, Any]) -> None:
    path = Path(block["title"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if block["append"] else "w") as file:
        file.write(block["text"])


def make_module() -> ModuleType:
    module = ModuleType(MODULE)
    module.__spec__ = importlib.util.spec_from_loader(MODULE, loader=None)
    module.__dict__.update(work=work, raises=pytest.raises, logs=Logs)
    sys.modules[MODULE] = module
    return module


def run(block: dict[str, Any], namespace: dict[str, Any]) -> None:
    # Newlines before it, so that a traceback names the line of the page.
    source = "\n" * (block["line"] - 1) + block["text"]
    exec(compile(source, block["page"], "exec"), namespace)


def run_doctest(block: dict[str, Any], namespace: dict[str, Any]) -> None:
    parser = doctest.DocTestParser()
    test = parser.get_doctest(block["text"], {}, block["page"], block["page"], block["line"] - 1)
    test.globs = namespace
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, clear_globs=False)
    if runner.failures:
        sys.exit(1)


def check_settings(block: dict[str, Any]) -> None:
    """Settings must be Python, and those for Celeriac ones that there are; databases and logging must be accepted."""
    from django.conf import settings
    from django.db.utils import ConnectionHandler

    from celeriac import config

    namespace: dict[str, Any] = {
        name: getattr(settings, name) for name in ("BASE_DIR", "INSTALLED_APPS", "DATABASES")
    }
    run(block, namespace)
    given = {name: value for name, value in namespace.items() if name.isupper()}
    resolved = config.resolve(given, namespace="CELERY")
    assert not resolved.errors, resolved.errors
    assert not resolved.warnings, resolved.warnings
    unknown = set(map(str.lower, given.get("CELERIAC", {}))) - set(config.ROWS)
    assert not unknown, unknown
    for alias in namespace["DATABASES"]:
        ConnectionHandler(namespace["DATABASES"])[
            alias
        ]  # makes the wrapper, which reads OPTIONS; connects to nothing
    if "LOGGING" in namespace:
        before = logging.root.handlers[:], logging.root.level
        logging.config.dictConfig({"version": 1, **namespace["LOGGING"]})
        logging.root.handlers[:], logging.root.level = before


# -- for hidden blocks


def work(*, queues: tuple[str, ...] = (), scheduled: bool = False, **options: Any) -> None:
    """Work until nothing is ready or in flight; with `scheduled`, until nothing is scheduled either."""
    from celeriac import registry
    from celeriac.worker.options import WorkerOptions
    from celeriac.worker.solo import SoloWorker

    app = registry.current_app()
    app.load_tasks()
    worker = SoloWorker(app, WorkerOptions(queues=queues, **options).resolve(app.conf))
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while True:
        depths = app.broker.depths().values()
        if not any(depth.ready + depth.in_flight + (scheduled and depth.scheduled) for depth in depths):
            break
        assert time.monotonic() < deadline, app.broker.depths()
        pause.wait(0.02)
    worker.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


class Logs:
    """Collects what is logged in a `with` block."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self.records: list[logging.LogRecord] = []

    def __enter__(self) -> "Logs":
        self._handler = logging.Handler()
        self._handler.emit = self.records.append  # type: ignore[method-assign]
        self._before = self._logger.level
        self._logger.addHandler(self._handler)
        self._logger.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(self._before)


if __name__ == "__main__":
    main()
