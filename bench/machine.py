"""What the figures were taken on: cores, memory, versions, and how busy the machine was."""

import os
import platform
import sqlite3
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .roster import PACKAGES


def _memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0


def _packages() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(slots=True)
class Machine:
    """The facts for the report."""

    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    architecture: str = field(default_factory=platform.machine)
    memory_gb: float = field(default_factory=lambda: round(_memory() / 2**20, 1))
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))
    python: str = field(default_factory=platform.python_version)
    sqlite: str = sqlite3.sqlite_version
    redis: str = "none"
    packages: dict[str, str] = field(default_factory=_packages)
