"""Writes the changed files: shown as a diff first, each whole or not at all, and only where they can be taken back.

Called by the command.
"""

import contextlib
import difflib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from celeriac.cli.from_celery.looking import Change

_PATIENCE = 60.0  # seconds that git may take


def diff(changes: list[Change]) -> Iterator[str]:
    """Return the lines of a diff that `git apply` and `patch -p1` take."""
    for change in changes:
        before, after = (each.decode(change.encoding) for each in (change.before, change.after))
        for line in difflib.unified_diff(
            _lines(before), _lines(after), f"a/{change.name}", f"b/{change.name}"
        ):
            whole = line.endswith("\n")
            yield line.removesuffix("\n")
            if not whole:
                yield "\\ No newline at end of file"


def _lines(text: str) -> list[str]:
    """Return the lines as a diff counts them, which knows one end of a line."""
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def uncommitted(root: Path) -> list[str]:
    """Return the files below `root` that git knows as changed or does not know; none where there is no git."""
    root = root.resolve()
    folder = root if root.is_dir() else root.parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "--", str(root)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except FileNotFoundError:
        return []
    # Outside of a repository it fails.
    return [line[3:] for line in done.stdout.splitlines()] if done.returncode == 0 else []


def write(changes: list[Change]) -> list[Change]:
    """Write the files, each in one step; return those that were changed by somebody else meanwhile and left alone."""
    left = []
    for change in changes:
        if change.path.read_bytes() != change.before:
            left.append(change)
            continue
        handle, name = tempfile.mkstemp(dir=change.path.parent, prefix=f".{change.path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(change.after)
                file.flush()
                os.fsync(file.fileno())
            _make_alike(name, change.path.stat())
            Path(name).replace(change.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return left


def _make_alike(name: str, kept: os.stat_result) -> None:
    """Give a file the owner and the rights of the one in whose place it comes."""
    with contextlib.suppress(PermissionError):
        os.chown(name, kept.st_uid, kept.st_gid)
    Path(name).chmod(kept.st_mode & 0o7777)
