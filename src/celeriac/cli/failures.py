"""How the command line fails: one line on stderr and an exit status, no traceback for what the user can mend.

Called by `celeriac.cli.program` and by the commands. The statuses are Celery's where it has one:

    0  done        2  wrong usage                             75  broker or result store cannot be reached
    1  a problem   3  app or settings cannot be loaded       130  Ctrl-C
"""

import sys

from celeriac.cli.paint import Paint, wants_colour
from celeriac.errors import BrokerDown, CeleriacError, ImproperlyConfigured, StoreError

OK = 0
PROBLEM = 1
USAGE = 2
NOT_LOADED = 3
UNREACHABLE = 75
INTERRUPTED = 130


def exit_status(error: CeleriacError) -> int:
    """Return the exit status that stands for `error`."""
    if isinstance(error, ImproperlyConfigured):
        return NOT_LOADED
    if isinstance(error, BrokerDown | StoreError):
        return UNREACHABLE
    return PROBLEM


def one_line(error: CeleriacError) -> str:
    """Return the error with its number and where there is more to read."""
    text = str(error)
    if not error.code:
        return text
    return f"{error.code}: {text}  (celeriac help {error.code})"


def tell(error: CeleriacError, no_color: bool = False) -> None:
    """Print the error on stderr."""
    paint = Paint(wants_colour(sys.stderr, no_color))
    code, separator, rest = one_line(error).partition(": ") if error.code else ("Error", ": ", str(error))
    print(paint(code, "red", "bold") + separator + rest, file=sys.stderr)


def note(text: str, no_color: bool = False) -> None:
    """Print a line that the user should see and that stops nothing."""
    paint = Paint(wants_colour(sys.stderr, no_color))
    print(paint("!", "yellow", "bold") + " " + text, file=sys.stderr)
