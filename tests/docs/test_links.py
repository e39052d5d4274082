"""Links lead somewhere, images are there, and every page can be reached."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest

from tests.docs.pages import DOCS, TOP, all_pages, anchors, links, page_id, prose

PAGES = all_pages()
INDEX = DOCS / "index.md"
#: Made by `make bench`; a checkout may be without it.
MADE = frozenset({TOP / "bench" / "RESULTS.md"})


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link.target)
        if parts.scheme:
            assert parts.scheme in ("http", "https"), link.target
            assert parts.scheme == "https" or parts.hostname == "127.0.0.1", link.target
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.is_relative_to(TOP), link.target
        assert target.exists() or target in MADE, link.target
        if parts.fragment:
            assert parts.fragment in anchors(target), link.target


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, todo = set(), [INDEX]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in links(page):
            target = (page.parent / urlsplit(link.target).path).resolve()
            if target.suffix == ".md" and target.exists() and not urlsplit(link.target).scheme:
                todo.append(target)
    assert set(DOCS.rglob("*.md")) <= reached


def test_the_index_names_each_page_by_its_title() -> None:
    text = INDEX.read_text()
    for page in DOCS.rglob("*.md"):
        if page != INDEX:
            title = page.read_text().split("\n")[0].removeprefix("# ").partition(":")[0]
            assert f"[{title}]({page.relative_to(DOCS).as_posix()})" in text


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.svg")), ids=lambda path: path.name)
def test_pictures_need_nothing_from_elsewhere(picture: Path) -> None:
    text = picture.read_text()
    ET.fromstring(text)
    assert not re.search(r"""(href|src)=|url\((?!["']?#)|@import|<script|<image""", text)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_page_has_one_title_and_no_tabs(page: Path) -> None:
    text = prose(page)
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert "\t" not in text
