"""Draws docs/images/demo.svg from a run of the demo: `python docs/picture.py` runs it in a terminal.

`python docs/picture.py CAPTURED` draws what was captured before, as a terminal gets it. A change of the demo's output
wants a new picture; no test makes one, as that takes a thousand orders.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

TOP = Path(__file__).resolve().parent.parent
PICTURE = TOP / "docs" / "images" / "demo.svg"
WIDTH = 100
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def _rgb(text: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


# Rich's own template without the fonts that it would fetch from elsewhere.
TEMPLATE = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
        font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
    {styles}
    </style>
    <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
    </defs>
    {chrome}
    <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""

THEME = TerminalTheme(
    (30, 32, 36),
    (215, 218, 224),
    # black, red, green, yellow, blue, magenta, cyan, white; then the bright ones
    [*map(_rgb, "4c5263 e06c75 8cc86e e5c07b 61afef c678dd 56b6c2 d7dae0".split())],
    [*map(_rgb, "808898 f07178 98d278 f0c882 6eb9f5 d287eb 5fc8d2 ffffff".split())],
)


def main() -> None:
    """Run the demo, or read what is named, and draw."""
    captured = Path(sys.argv[1]).read_bytes().decode() if len(sys.argv) > 1 else run_demo()
    PICTURE.write_text(draw(final_screen(captured)))
    sys.stdout.write(f"{PICTURE.relative_to(TOP)} drawn\n")


def run_demo() -> str:
    """Run the demo in a terminal of WIDTH columns and return all that it wrote there."""
    with tempfile.TemporaryDirectory() as folder:
        typescript = Path(folder) / "typescript"
        command = f"stty cols {WIDTH} rows 50; exec {sys.executable} examples/shop/manage.py demo"
        shutil.rmtree(TOP / "examples" / "shop" / "var", ignore_errors=True)
        subprocess.run(
            ["script", "--quiet", "--return", "--command", command, str(typescript)],
            cwd=TOP,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        text = typescript.read_bytes().decode()
    return re.sub(r"^Script started.*\n|\r?\nScript done.*\n?$", "", text)


def final_screen(captured: str) -> str:
    """Return what is on the screen at the end: what was written over is gone. Colours stay."""
    lines, at = [""], 0
    for line in re.split(r"(\n)", captured.replace("\r\n", "\n")):
        if line == "\n":
            at += 1
            if at == len(lines):
                lines.append("")
            continue
        at, lines = _write(line, at, lines)
    return "\n".join(lines)


def _write(text: str, at: int, lines: list[str]) -> tuple[int, list[str]]:
    position = 0
    for control in _CONTROL.finditer(text):
        lines[at] += text[position : control.start()].replace("\r", "")
        position = control.end()
        if control[2] == "m":
            lines[at] += control[0]
        elif control[2] == "A":
            at -= int(control[1] or 1)
        elif control[2] == "K":
            lines[at] = ""
    lines[at] += text[position:].replace("\r", "")
    return at, lines


def draw(screen: str) -> str:
    """Return a picture of the screen."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print("[green]$[/] [bold]make demo[/]", highlight=False)
    console.print()
    console.print(Text.from_ansi(screen.strip("\n"), overflow="fold"))
    svg = console.export_svg(title="make demo", theme=THEME, code_format=TEMPLATE, unique_id="demo")
    return re.sub(r"[ \t]+\n", "\n", svg)


if __name__ == "__main__":
    main()
