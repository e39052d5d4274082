"""The files of a project: which are looked at, and Python files as they are written, to be edited in place.

Called by `looking`. Imports nothing of the project and follows no links.
"""

import ast
import io
import os
import re
import stat
import sys
import tokenize
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

#: Folders of tools and of other people's code; those whose names begin with a dot besides.
_NOT_OURS = frozenset("__pycache__ bower_components build dist env node_modules site-packages venv".split())
#: A file without any of these says nothing of Celery.
_CELERYS = re.compile(
    rb"celery|CELERY|Celery|kombu|flower|shared_task|BROKER_|INSTALLED_APPS|apply_async|send_task|\.si?\("
)
_NAMES = (b"celery", b"flower", b"Celery", b"Flower")
_LARGEST = 4 * 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\r|\n")


class CannotRead(Exception):
    """A Python file that is none: says why, and at which line."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


class Source(Struct):
    """A Python file. Offsets are those of its text in UTF-8, in which Python counts columns."""

    path: Path
    name: str
    raw: bytes
    encoding: str
    utf8: bytes
    #: The module and all that is in it, outer things first.
    nodes: list[ast.AST]
    starts: list[int]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node begins and ends."""
        at = node.lineno, node.col_offset, node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
        return self.starts[at[0] - 1] + at[1], self.starts[at[2] - 1] + at[3]

    def line_of(self, offset: int) -> int:
        """Return the number of the line, from 1, that an offset lies in."""
        return bisect_right(self.starts, offset)


def files(root: Path) -> Iterator[Path]:
    """Return the project's own files, in the order of their names."""
    if root.is_file():
        yield root
        return
    for folder, folders, listed in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not _passed_over(here / name))
        yield from (here / name for name in sorted(listed) if _is_plain(here / name))


def _is_plain(path: Path) -> bool:
    """Whether it is no link, which leads to what is looked at anyway or is not ours, and no pipe to wait for."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:  # gone meanwhile
        return False


def _passed_over(folder: Path) -> bool:
    return (
        folder.name.startswith(".")
        or folder.name in _NOT_OURS
        or folder.name.endswith(".egg-info")
        or (folder / "pyvenv.cfg").exists()
    )


def read(path: Path, name: str, anyway: bool = False) -> Source | None:
    """Return a Python file; None for one that says nothing of Celery, or `anyway`. Raises CannotRead, or OSError."""
    raw = path.read_bytes()
    if not anyway and _CELERYS.search(raw) is None:
        return None
    if len(raw) > _LARGEST:
        raise CannotRead("it is longer than 4 MiB", 1)
    return parse(raw, path, name)


def parse(raw: bytes, path: Path, name: str) -> Source:
    """Return a Python file from its bytes; raises CannotRead."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the project's code, which is not asked for here
            nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        why = f"Python {sys.version_info[0]}.{sys.version_info[1]} cannot read it: {why}"
        raise CannotRead(why, getattr(error, "lineno", None) or 1) from None
    utf8 = text.encode()
    starts = [0, *(found.end() for found in _LINE_END.finditer(utf8))]
    return Source(path, name, raw, encoding, utf8, nodes, starts)


def text_of(path: Path) -> str | None:
    """Return the text of a file that is no Python; None if it is long, binary or says nothing of Celery."""
    if path.stat().st_size > _LARGEST:
        return None
    raw = path.read_bytes()
    if b"\0" in raw or not any(word in raw for word in _NAMES):
        return None
    return raw.decode("utf-8", "replace")
