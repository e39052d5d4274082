"""The pages and what is in them: blocks, headings, links. Used by every test here; runs nothing.

What a fenced block's first line says, beside its language:

    python                      run, in order, with the other blocks of the page, as one module of a Django project
    python title="shop/x.py"    a file of the project; with `append` the text goes to its end
    python settings             lines of a settings file: run, and each CELERY_ name must be a setting
    pycon                       run as a doctest in the same module
    console                     commands and what they print: read, and what is ours in them is checked
    console run                 the same, and run; with `background` left running once it has printed what is shown
    text map, text life, ...    a drawing, or a list with a test of its own

A comment that begins with `<!-- run` is Python that is run in its place and not shown: checks, mostly.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from markdown_it import MarkdownIt
from markdown_it.token import Token

TOP = Path(__file__).resolve().parents[2]
DOCS = TOP / "docs"
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_HIDDEN = "<!-- run"


def part_of_docs(name: str) -> ModuleType:
    """Return one of the modules beside the pages, such as `generate`; they import each other as scripts do."""
    if str(DOCS) not in sys.path:
        sys.path.insert(0, str(DOCS))
    return importlib.import_module(name)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, or hidden Python. `line` is the number of its first line of text."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    attributes: dict[str, str] = field(hash=False)
    text: str
    hidden: bool = False

    @property
    def name(self) -> str:
        """Where the block is, for messages."""
        return f"{self.page.relative_to(TOP)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link or an image."""

    page: Path
    target: str


def all_pages() -> list[Path]:
    """Return the README, what lies beside it, and every page of the docs."""
    beside = [TOP / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
    return [*beside, *sorted(DOCS.rglob("*.md"))]


def page_id(page: Path) -> str:
    """Return a page's name for pytest."""
    return page.relative_to(TOP).as_posix()


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """Return the blocks of a page, in order, hidden ones included."""
    return tuple(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    for token in _tokens(page):
        first = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            attributes = dict(_ATTRIBUTE.findall(token.info))
            language, *words = _ATTRIBUTE.sub("", token.info).split() or [""]
            yield Block(page, first + 1, language, tuple(words), attributes, token.content)
        elif token.type == "html_block" and token.content.startswith(_HIDDEN):
            lines = token.content.rstrip().removesuffix("-->").split("\n")
            yield Block(page, first + 1, "python", (), {}, "\n".join(lines[1:]), hidden=True)
        elif token.type == "code_block":
            raise AssertionError(
                f"{page}:{first}: indented code; write a fenced block, so that it can be tested"
            )


def links(page: Path) -> list[Link]:
    """Return all links and images of a page."""
    inline = [child for token in _tokens(page) for child in token.children or ()]
    targets = [
        token.attrGet("href") or token.attrGet("src")
        for token in inline
        if token.type in ("link_open", "image")
    ]
    return [Link(page, str(target)) for target in targets if target]


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    tokens = _tokens(page)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            number = 1
            while slug in found:
                slug = f"{slug.rstrip('0123456789').rstrip('-')}-{number}"
                number += 1
            found.add(slug)
    return found


def prose(page: Path) -> str:
    """Return a page's text without its blocks, as written."""
    lines = page.read_text().split("\n")
    for token in _tokens(page):
        if token.type in ("fence", "html_block") and token.map:
            for number in range(*token.map):
                lines[number] = ""
    return "\n".join(lines)
