"""How much of a fault: little in `make test`, all of it in `make faults`, and more of the kills before a release.

`CELERIAC_FAULTS=long` is the long form; `CELERIAC_STRESS=n` multiplies the kills and the races of either.
"""

import os
from typing import TypeVar

LONG = os.environ.get("CELERIAC_FAULTS") == "long"
STRESS = int(os.environ.get("CELERIAC_STRESS", "1"))
_Size = TypeVar("_Size")


def size(short: _Size, long: _Size) -> _Size:
    """Return what the short form or the long one asks for."""
    return long if LONG else short
