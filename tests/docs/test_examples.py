"""Every block of every page is run, or checked for what can be checked without running it."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import click
import pytest

from celeriac.cli.program import Session, make_program
from tests.docs.pages import TOP, Block, all_pages, blocks, page_id
from tests.docs.terminal import commands
from tests.servers import RedisServer

RUN_PAGE = Path(__file__).with_name("run_page.py")
PROJECT = Path(__file__).with_name("project")
TUTORIAL = TOP / "docs" / "tutorial.md"
README = TOP / "README.md"
WITHIN = 300

#: Lists and drawings, each with a test of its own: kind to where it is tested.
DRAWINGS = {
    "output": "test_tutorial",
    "moving": "test_celerys_names",
    "map": "test_architecture",
    "life": "test_architecture",
    "floors": "test_architecture",
    "tree": "test_reference",
    "example": "test_reference",
}
#: Programs that commands in the docs may begin with, besides our own.
PROGRAMS = frozenset(
    ". cd cp curl django-admin git mkdir pip pkill python python3 redis-cli sudo systemctl journalctl".split()
)
PAGES = [page for page in all_pages() if page.exists() and page.name != "CONTRIBUTING.md"]
RUNNABLE = [page for page in PAGES if page not in (TUTORIAL, README)]


@pytest.fixture
def own_redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis for one page. Asks for the common one, which says what is to be done where there is none."""
    with RedisServer() as server:
        yield server


def kind_of(block: Block) -> str:
    """Return how a block is tested; empty if it is not."""
    if block.language == "python":
        if block.attributes.get("title"):
            return "file"
        return "settings" if "settings" in block.words else "python"
    if block.language == "html":
        return "html"  # looked at in tests/browser
    if block.language in ("pycon", "console", "ini", "conf", "yaml", "dockerfile"):
        return block.language
    if block.language == "text" and block.words[:1] and block.words[0] in DRAWINGS:
        return "drawing"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_block_says_how_it_is_tested(page: Path) -> None:
    untested = [
        f"{block.name}: {block.language} {block.words}" for block in blocks(page) if not kind_of(block)
    ]
    assert not untested


# -- Python


@pytest.mark.parametrize(
    "page", [page for page in RUNNABLE if any(kind_of(block) for block in blocks(page))], ids=page_id
)
def test_python(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    runnable = [block for block in blocks(page) if kind_of(block) in ("python", "pycon", "file", "settings")]
    if not runnable:
        pytest.skip("no Python")
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("CELER", "DJANGO"))
    }
    if "<!-- needs redis -->" in page.read_text():
        environment["CELERY_BROKER_URL"] = request.getfixturevalue("own_redis").url
    facts = [
        {
            "kind": kind_of(block),
            "page": page_id(page),
            "line": block.line,
            "text": block.text,
            "title": block.attributes.get("title", ""),
            "append": "append" in block.words,
        }
        for block in runnable
    ]
    listing = tmp_path / "blocks.json"
    listing.write_text(json.dumps(facts))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RUN_PAGE), str(listing)],
        cwd=project,
        env=environment | {"PYTHONPATH": str(TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "all blocks ran" in done.stdout, done.stdout


# -- commands


def _console_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == "console"]


@pytest.mark.parametrize("block", _console_blocks(), ids=lambda block: block.name)
def test_commands_are_ours_or_known(block: Block) -> None:
    assert "run" not in block.words or block.page in (TUTORIAL, README), "only these pages' commands are run"
    found = commands(block.text)
    assert found, "no command"
    for command in found:
        check_command(command.line)


def check_command(line: str) -> None:
    words = list(shlex.split(line.replace("\\\n", " "), comments=True))
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[0] == "sudo":
        words = [word for word in words[1:] if not word.startswith("-")] or words
    if words[0] == "celeriac":
        parse(words[1:])
    elif words[:3] == ["python", "manage.py", "celeriac"]:
        parse(words[3:])
    elif words[0] == "make":
        targets = set(re.findall(r"^([a-z]+):.*## ", (TOP / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in words[1:] if "=" not in word} <= targets, line
    elif words[0] == "pip":
        for extra in re.findall(r"\[([\w,]+)\]", line):
            assert set(extra.split(",")) <= _extras(), line
    else:
        assert words[0] in PROGRAMS, line


def _extras() -> set[str]:
    return set(tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def parse(words: list[str]) -> None:
    """Read a command line of ours as the program would, without doing what it says."""
    program = make_program()
    with mock.patch.dict(os.environ):
        if words in (["--help"], ["--version"]):
            return
        with program.make_context("celeriac", list(words), obj=Session()) as ctx:
            name, command, rest = program.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
            assert command is not None, words
            try:
                command.make_context(name, rest, parent=ctx)
            except click.exceptions.Exit:
                pass


# -- files of other programs


def _blocks_of(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


@pytest.mark.parametrize("block", _blocks_of("ini"), ids=lambda block: block.name)
def test_units_are_understood_by_systemd(block: Block, tmp_path: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(block.text)
    command = parser["Service"]["ExecStart"]
    parse(shlex.split(command.replace("%%", "%"))[3:])
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    name = Path(block.attributes["title"]).name
    # The program and the user of the example are not on this machine.
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", block.text, flags=re.MULTILINE)
    text = re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE)
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if name in line]
    assert not told, done.stderr


@pytest.mark.parametrize("block", _blocks_of("dockerfile"), ids=lambda block: block.name)
def test_containers_run_our_commands(block: Block) -> None:
    for line in block.text.splitlines():
        name, _, rest = line.partition(" ")
        assert name in ("HEALTHCHECK", "CMD"), line
        command = rest.partition("CMD ")[2] if name == "HEALTHCHECK" else rest
        words = json.loads(command) if command.startswith("[") else shlex.split(command)
        assert words[0] == "celeriac"
        parse(words[1:])


@pytest.mark.parametrize("block", _blocks_of("yaml"), ids=lambda block: block.name)
def test_probes_ask_for_what_a_worker_answers(block: Block) -> None:
    yaml = pytest.importorskip("yaml")
    for container in yaml.safe_load(block.text).get("containers", ()):
        words = container["command"]
        assert words[0] == "celeriac"
        parse(words[1:])
        probes = [facts["httpGet"] for name, facts in container.items() if name.endswith("Probe")]
        assert probes
        assert {probe["path"] for probe in probes} <= {"/live", "/ready"}
        assert {str(probe["port"]) for probe in probes} == {words[words.index("--health-port") + 1]}


@pytest.mark.parametrize("block", _blocks_of("yaml"), ids=lambda block: block.name)
def test_alerts_ask_for_metrics_that_the_page_has(block: Block) -> None:
    yaml = pytest.importorskip("yaml")
    page = block.page.read_text()
    for group in yaml.safe_load(block.text).get("groups", ()):
        for rule in group["rules"]:
            metrics = re.findall(r"celeriac_\w+", rule["expr"])
            assert metrics, rule
            assert [name for name in metrics if f"| `{name}` |" not in page] == [], rule


@pytest.mark.parametrize("block", _blocks_of("conf"), ids=lambda block: block.name)
def test_redis_accepts_its_settings_and_our_check_is_content(block: Block, own_redis: RedisServer) -> None:
    from celeriac.brokers.redis import RedisBroker

    for line in block.text.splitlines():
        if line.strip() and not line.startswith("#"):
            assert own_redis.command("CONFIG", "SET", *line.split(maxsplit=1)) == "+OK", line
    broker = RedisBroker(own_redis.url)
    try:
        assert broker.check() == []
    finally:
        broker.close()
