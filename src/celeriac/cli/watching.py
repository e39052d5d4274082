"""Which Python files of the project have changed since it was last asked.

Used by `reload`. Files are looked at where they lie, not by what is imported: a file that a task imports late, or one
that is new, counts as well. Tests and installed packages do not.
"""

import os
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "tests", "test"})
_MOST = 20_000

Stamp = tuple[int, int]


class Watch:
    """The Python files below `roots`."""

    def __init__(self, roots: list[Path]) -> None:
        self._roots = _without_nested(roots)
        self._seen = self._look()
        self.pause = 0.5

    @property
    def count(self) -> int:
        """How many files are watched."""
        return len(self._seen)

    def changed(self) -> list[str]:
        """Return the files that were written, made or deleted since the last call."""
        before, began = self._seen, time.monotonic()
        self._seen = now = self._look()
        # A large tree is looked at less often, so that watching stays below a twentieth of a CPU.
        self.pause = max(0.5, 20 * (time.monotonic() - began))
        if now == before:
            return []
        return sorted(path for path in now.keys() | before.keys() if now.get(path) != before.get(path))

    def _look(self) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        for root in self._roots:
            for entry in _python_files(str(root)):
                try:
                    stat = entry.stat()
                except OSError:
                    continue
                found[entry.path] = (stat.st_mtime_ns, stat.st_size)
                if len(found) >= _MOST:
                    return found
        return found


def project_roots(manage: Path | None) -> list[Path]:
    """Return where the project's code lies: beside manage.py or here, and what else is on the path but no library."""
    libraries: tuple[str | Path, ...] = (
        sys.prefix,
        sys.base_prefix,
        *sysconfig.get_paths().values(),
        Path(__file__).parents[2],
    )
    prefixes = {Path(path).resolve() for path in libraries}
    roots = [manage.parent if manage is not None else Path.cwd()]
    for name in sys.path:
        path = Path(name).resolve()
        if (
            name
            and path.is_dir()
            and not any(path == prefix or prefix in path.parents for prefix in prefixes)
        ):
            roots.append(path)
    return roots


def _without_nested(roots: list[Path]) -> list[Path]:
    unique = list(dict.fromkeys(root.resolve() for root in roots))
    return [root for root in unique if not any(other in root.parents for other in unique)]


def _python_files(directory: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        name = entry.name
        if name.endswith(".py"):
            if not name.startswith("test_") and name != "conftest.py":
                yield entry
        elif not name.startswith(".") and name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
            yield from _python_files(entry.path)
