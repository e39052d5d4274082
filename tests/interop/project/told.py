"""Receivers for the signals about a worker, the same for both libraries: each notes what it was told, in one line."""

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

NAMES = [
    "import_modules", "celeryd_init", "worker_init", "celeryd_after_setup", "worker_before_create_process",
    "worker_process_init", "worker_ready", "worker_shutting_down", "worker_process_shutdown", "worker_shutdown",
]  # fmt: skip
_parent = os.getpid()


def listen(signals: ModuleType, app: Any) -> None:
    """Connect a receiver to each signal, if the test asks for it."""
    if "TOLD" in os.environ:
        for name in NAMES:
            getattr(signals, name).connect(_Receiver(name, app), weak=False)


class _Receiver:
    """Notes the name, whose sender it is, and the arguments as far as they are plain or the app's own."""

    def __init__(self, name: str, app: Any) -> None:
        self.name = name
        self.app = app

    def __call__(self, signal: Any, sender: Any, **named: Any) -> None:
        if sender is self.app:
            said = "the app"
        elif isinstance(sender, str):
            said = sender
        else:
            said = "the app's" if getattr(sender, "app", self.app) is self.app else "another app's"
        told = {name: self._plain(value) for name, value in named.items()}
        where = "parent" if os.getpid() == _parent else "child"
        with Path(os.environ["TOLD"]).open("a") as file:
            file.write(json.dumps([self.name, where, said, told]) + "\n")

    def _plain(self, value: Any) -> Any:
        if value is self.app.conf:
            return "the app's settings"
        if isinstance(value, dict):
            return "options"
        if getattr(value, "app", None) is self.app:
            return f"worker {value.hostname}"
        return "its own" if value == os.getpid() else value
