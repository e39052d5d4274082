"""The README's way into an existing project: its settings line, its commands, its task, its call."""

import os
import shutil
import sys
from pathlib import Path

from tests.docs.pages import TOP, blocks
from tests.docs.terminal import Command, Terminal, commands
from tests.servers import free_port

README = TOP / "README.md"
PROJECT = Path(__file__).with_name("project")


def test_the_three_commands_and_the_example(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    settings = project / "shop" / "settings.py"
    settings.write_text(settings.read_text().replace('    "celeriac.django",\n', ""))
    for block in blocks(README):
        if block.attributes.get("title"):
            with (project / block.attributes["title"]).open("a") as file:
                file.write(block.text)
    told = [
        command for block in blocks(README) if block.language == "console" for command in commands(block.text)
    ]
    lines = [command.line for command in told if not command.line.startswith("make ")]
    install, migrate, dev = lines
    assert install == "pip install 'celeriac[django]'"  # that it works is the tutorial's to show
    dropped = ("CELER", "DJANGO", "FORCE_COLOR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CELERIAC_DEV_PORT": str(free_port()),
        "NO_COLOR": "1",
    }
    example = "".join(
        block.text for block in blocks(README) if block.language == "python" and not block.attributes
    )
    (project / "example.py").write_text(
        "import os, django\nos.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\ndjango.setup()\n"
        + example
    )
    with Terminal(project, tmp_path, environment) as terminal:
        terminal.run(Command(migrate, ("...", "  Applying celeriac.0001_initial... OK", "...")))
        running = terminal.start(Command(dev, ("...", "  tasks     1 in shop", "...")))
        terminal.run(Command("python example.py", ()))
        assert running.interrupt() == 0, running.output
    assert "✓ send_receipt('ada@example.com', 12)" in running.output
