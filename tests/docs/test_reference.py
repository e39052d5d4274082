"""The reference pages say what the code says."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from celeriac import brokers, celery_settings, config, errors, options, stores
from celeriac.cli import failures
from celeriac.cli.codes import CODES
from celeriac.cli.program import COMMANDS
from tests.docs.pages import DOCS, page_id, part_of_docs

PAGES = sorted(DOCS.rglob("*.md"))
REFERENCE = DOCS / "reference"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return part_of_docs("generate")


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_generated_parts_are_up_to_date(page: Path, generate: ModuleType) -> None:
    assert page.read_text() == generate.fresh(page), "run `python docs/generate.py`"


def test_every_generated_part_has_its_place(generate: ModuleType) -> None:
    placed = re.findall(r"<!-- generated: ([\w-]+) -->", "".join(page.read_text() for page in PAGES))
    assert sorted(placed) == sorted(generate.PARTS)


def test_every_option_is_described(generate: ModuleType) -> None:
    assert list(generate.TASK_HELP) == list(options.TASK)
    assert set(generate.CALL_HELP) == options.CALL


def test_settings_commands_errors_and_schemes_are_all_there() -> None:
    text = (REFERENCE / "settings.md").read_text()
    for name in config.ROWS:
        assert f"`CELERY_{name.upper()}`" in text
    celerys = (REFERENCE / "coming-from-celery.md").read_text()
    for name in (*celery_settings.NOT_YET, *celery_settings.MOOT):
        assert f"`{name}`" in celerys
    commands = (REFERENCE / "command-line.md").read_text()
    for name in COMMANDS:
        assert f"## {name}\n" in commands
    raised = (REFERENCE / "errors.md").read_text()
    for code in {
        cls.code for cls in vars(errors).values() if isinstance(cls, type) and getattr(cls, "code", "")
    }:
        assert code in CODES
        assert f"## {code}\n" in raised
    keepers = (REFERENCE / "brokers.md").read_text()
    for kind in (brokers.KEEPERS, stores.KEEPERS):
        for scheme in kind._built_in:
            assert f"`{scheme}`" in keepers


def test_exit_statuses() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", (REFERENCE / "command-line.md").read_text(), re.MULTILINE)
    known = {
        name: value for name, value in vars(failures).items() if name.isupper() and isinstance(value, int)
    }
    assert {int(number) for number, _ in rows} == set(known.values())
