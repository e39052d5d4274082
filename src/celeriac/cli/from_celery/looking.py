"""Looks through a project: what is said of each name, where it stands, and which files should be changed how.

Called by the command. Writes nothing.
"""

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct, field

from celeriac.cli.from_celery import beside, bindings, rewriting, settings_in_code, tree, uses, verdicts
from celeriac.cli.from_celery.settings_in_code import Reading
from celeriac.cli.from_celery.tree import CannotRead, Source
from celeriac.cli.from_celery.uses import Found
from celeriac.cli.from_celery.verdicts import FILE, KINDS, MISSING, SAME_HERE, Verdict

_PYTHON = frozenset({".py", ".pyi"})


class Change(Struct):
    """A file that should be changed: as it is and as it should be."""

    path: Path
    name: str
    encoding: str
    before: bytes
    after: bytes


class Report(Struct):
    """What a project has of Celery's. `places` are file and line."""

    files: int = 0
    #: Whether our app is in INSTALLED_APPS, or will be when the changes are made.
    installed: bool = False
    places: dict[Verdict, list[tuple[str, int]]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def note(self, name: str, found: Iterable[Found]) -> None:
        """Take up what was found in a file, each name once a line."""
        for verdict, line in sorted(found, key=lambda each: each[1]):
            listed = self.places.setdefault(verdict, [])
            if (name, line) not in listed:
                listed.append((name, line))

    def verdicts(self) -> list[Verdict]:
        """Return what is said, in the order in which it is shown: by kind, what is missing first."""
        order = [MISSING, verdicts.RENAMED, SAME_HERE]
        return sorted(
            self.places, key=lambda each: (KINDS.index(each.kind), order.index(each.state), each.name)
        )

    def count(self, state: str) -> int:
        """Return of how many names it is said."""
        return sum(verdict.state == state for verdict in self.places)


def look(root: Path) -> Report:
    """Return what stands in the project below `root`, a folder or one file."""
    report = Report()
    sources: list[Source] = []
    reading = Reading(set(), set())
    silent: list[tuple[Path, str]] = []
    for path in tree.files(root):
        name = _shown(path, root)
        try:
            if path.suffix in _PYTHON:
                report.files += 1
                source = tree.read(path, name)
                if source is None:
                    silent.append((path, name))
                else:
                    sources.append(source)
                    settings_in_code.how(source.nodes, reading)
            _look_beside(report, path, name)
        except (CannotRead, OSError) as error:
            report.note(name, [_unread(error)])
    # A module of settings need not name Celery.
    for path, name in silent:
        if reading.names_module(name):
            source = tree.read(path, name, anyway=True)
            sources += [source] if source is not None else []
    for source in sources:
        _look_into(report, source, reading)
    if not report.places:
        report.changes.clear()  # a project that does not use Celery
    return report


def _shown(path: Path, root: Path) -> str:
    """Return a file's name from the root on, in characters that can be printed."""
    name = path.name if path == root else path.relative_to(root).as_posix()
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _look_into(report: Report, source: Source, reading: Reading) -> None:
    bound = bindings.find(source.nodes)
    report.note(
        source.name,
        [
            *uses.of_imports(bound),
            *uses.in_code(source.nodes, bound),
            *settings_in_code.settings(source.nodes, source.name, reading, bound),
            *settings_in_code.installed(source.nodes),
        ],
    )
    report.installed = report.installed or rewriting.installs(source)
    try:
        after = rewriting.rewritten(source, bound)
    except CannotRead as error:
        told = Verdict(FILE, source.name, MISSING, "", f"cannot be edited without harm: {error}")
        report.note(source.name, [(told, error.line)])
        return
    if after is not None and after != source.raw:
        report.changes.append(Change(source.path, source.name, source.encoding, source.raw, after))


def _look_beside(report: Report, path: Path, name: str) -> None:
    if not beside.wanted(path):
        return
    text = tree.text_of(path)
    if text is not None:
        report.note(name, [*beside.in_packages(path, text), *beside.in_scripts(path, text)])


def _unread(error: CannotRead | OSError) -> Found:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    more = (
        ". Run this with the project's Python, or look at it by hand" if isinstance(error, CannotRead) else ""
    )
    line = error.line if isinstance(error, CannotRead) else 1
    return Verdict(FILE, "not read", MISSING, "", why + more), line
