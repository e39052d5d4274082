"""Colours for a terminal, as plain ANSI codes: on where the output is a terminal that wants them.

Used by everything here that writes. Never decides what is written.
"""

import os
from typing import TextIO

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


def wants_colour(stream: TextIO, no_color: bool = False) -> bool:
    """Return whether to colour what goes to `stream`: -C, NO_COLOR and FORCE_COLOR win over what it is."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def terminal_width(default: int = 100) -> int:
    """Return how many columns the terminal has; `shutil` would be slow to import for that."""
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(2).columns or default
    except (OSError, ValueError):
        return default


class Paint:
    """Wraps text in colour codes, or returns it as it is."""

    __slots__ = ("on",)

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, text: str, *styles: str) -> str:
        """Return `text` in `styles`: bold, dim, or the name of a colour."""
        if not self.on or not text:
            return text
        return f"\033[{';'.join(str(_CODES[style]) for style in styles)}m{text}\033[0m"
