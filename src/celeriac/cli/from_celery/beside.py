"""What stands beside the code: packages that are installed, and command lines that start Celery.

Called by `looking` for files that are no Python.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from celeriac.cli.from_celery import verdicts
from celeriac.cli.from_celery.names import COMMANDS_OF_CELERY
from celeriac.cli.from_celery.uses import Found

_PACKAGES = re.compile(r"(?i)(requirements|constraints).*\.(txt|in)|.*\.(txt|in)")
_QUOTED_PACKAGES = frozenset({"pyproject.toml", "Pipfile", "setup.py", "setup.cfg", "environment.yml"})
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_LINE = re.compile(rf"\s*-?\s*({_NAME})(?=\s*($|[\[<>=!~;@#,]))")
_IN_QUOTES = re.compile(rf"""["']({_NAME})(?=\s*["'\[<>=!~;@])""")
_SCRIPTS = re.compile(
    r"(?i).*\.(sh|bash|service|conf|cfg|ini|ya?ml|toml|nomad|hcl|tmpl|j2)|(.*\.)?(docker|make|proc)file.*"
    r"|.*procfile.*|justfile|entrypoint.*|[^.]+"
)
_LOCKS = re.compile(r"(?i).*lock.*|package\.json")
_CELERY = re.compile(r"(?<![\w./-])(?:[\w./-]*/)?celery\s+(?=\S)(?!=)")
_MOST = 40  # words of a command line that are looked at


def wanted(path: Path) -> bool:
    """Return whether a file may name packages or commands."""
    return path.name in _QUOTED_PACKAGES or any(each.fullmatch(path.name) for each in (_PACKAGES, _SCRIPTS))


def in_packages(path: Path, text: str) -> Iterator[Found]:
    """Return what is said of each package that a file of requirements names."""
    if path.name in _QUOTED_PACKAGES:
        patterns = [_IN_QUOTES, _LINE]
    elif _PACKAGES.fullmatch(path.name) and (
        "requirement" in path.as_posix().lower() or "constraint" in path.name.lower()
    ):
        patterns = [_LINE]
    else:
        return
    for number, line in enumerate(text.splitlines(), 1):
        named = {
            found[1]
            for pattern in patterns
            for found in pattern.finditer(line)
            if pattern is _IN_QUOTES or not found.start()
        }
        for name in sorted(named):
            told = verdicts.of_package(name)
            if told is not None:
                yield told, number


def in_scripts(path: Path, text: str) -> Iterator[Found]:
    """Return what is said of each command line of Celery's in a file that starts processes."""
    if not _SCRIPTS.fullmatch(path.name) or _LOCKS.fullmatch(path.name):
        return
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith(("#", ";")) or _CELERY.search(_plain(line)) is None:
            continue
        after = number
        while line.endswith("\\") and after < len(lines):
            line = line[:-1] + lines[after]
            after += 1
        found = _CELERY.search(_plain(line))
        if found is not None:
            yield from ((told, number) for told in _of_words(_plain(line)[found.end() :]))


def _plain(line: str) -> str:
    """Return a line without the marks in which a list of words may stand."""
    line = re.sub(r"celery\.__main__\.main(\s+--args)?", "celery", line)  # watchfiles
    return re.sub(r"""["'\[\],`]""", " ", line)


def _of_words(text: str) -> Iterator[verdicts.Verdict]:
    words = re.split(r"[|;&]|\s#", text)[0].split()[:_MOST]
    command = next((n for n, word in enumerate(words) if word in COMMANDS_OF_CELERY | {"flower"}), None)
    if command is None or not _options_only(words[:command]):
        return
    yield verdicts.of_command(words[command])
    if words[command] not in ("worker", "beat"):
        return
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-"):
            flag, _, value = word.partition("=")
            told = verdicts.of_flag(words[command], flag, value or following)
            if told is not None:
                yield told


def _options_only(words: list[str]) -> bool:
    """Whether words are options and their values, as they stand before the name of a command."""
    before = ["", *words[:-1]]
    return all(
        word.startswith("-") or previous.startswith("-")
        for word, previous in zip(words, before, strict=False)
    )
