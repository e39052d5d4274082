"""The pages on architecture and guarantees name what there is."""

import importlib
import re
from typing import Any

from tests.docs.pages import DOCS, TOP, Block, blocks

PACKAGE = TOP / "src" / "celeriac"
ARCHITECTURE = DOCS / "architecture.md"
GUARANTEES = DOCS / "guarantees.md"


def drawing(kind: str) -> Block:
    (found,) = (block for block in blocks(ARCHITECTURE) if block.words[:1] == (kind,))
    return found


def test_every_file_is_on_the_map() -> None:
    on_the_map = set(re.findall(r"^\| `([^`]+)` \| \S", ARCHITECTURE.read_text(), re.MULTILINE))
    endings = (".py", ".lua", ".sql", ".html", ".js", ".css")
    files = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.suffix in endings and path.stat().st_size and "__pycache__" not in path.parts
    }
    assert files - on_the_map == {"__init__.py"}
    assert on_the_map <= files


def test_every_hop_of_a_message_is_there() -> None:
    lines = drawing("life").text.splitlines()
    assert len(lines) > 10
    names = [line.split()[0] for line in lines]
    assert names[0] == "task.Task.delay"
    for name in names:
        assert callable(find(name)), name


def find(name: str) -> Any:
    """Return what a dotted name below `celeriac` stands for. What needs a Django project is only looked for."""
    parts = ["celeriac", *name.split(".")]
    for count in range(len(parts) - 1, 0, -1):
        path = PACKAGE.parent.joinpath(*parts[:count])
        if path.with_suffix(".py").exists():
            break
    if parts[1] == "django":
        assert f"class {parts[-1]}(" in path.with_suffix(".py").read_text(), name
        return object
    found: Any = importlib.import_module(".".join(parts[:count]))
    for part in parts[count:]:
        found = getattr(found, part)
    return found


def test_the_drawing_names_parts_that_exist() -> None:
    text = drawing("floors").text
    for part in ("supervisor", "child", "fetcher", "pool", "recorder"):
        assert part in text
        assert (PACKAGE / "worker" / f"{part}.py").exists()
    for part in ("task", "app", "sending", "broker"):
        assert part in text
        assert (PACKAGE / f"{part}.py").exists()


def test_the_tests_that_are_cited_exist() -> None:
    cited = re.findall(r"`((?:tests|src)/[\w/]+(?:\.py|/))((?:::\w+)*)`", GUARANTEES.read_text())
    assert len(cited) > 15
    for file, names in cited:
        if file.endswith("/"):
            assert (TOP / file).is_dir(), file
            continue
        text = (TOP / file).read_text()
        for name in filter(None, names.split("::")):
            assert re.search(rf"^\s*(class|def|async def) {name}\b", text, re.MULTILINE), (file, name)
