"""The command line: `celeriac ...` and `python manage.py celeriac ...` are one program.

The console script and the management command both call `main`. A command's module is imported when that command is
asked for. Nothing below this package imports it.
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, door: str = "") -> int:
    """Run a command and return the exit status. `door` is the word after manage.py by which it was entered."""
    from celeriac.cli.program import run

    return run(arguments, door)
