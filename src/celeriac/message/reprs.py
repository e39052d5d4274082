"""Short texts of values for people: the `argsrepr` and `kwargsrepr` of messages, and what errors show.

Called wherever a value is shown. Never raises, and never spends long on a large value.
"""

import reprlib
from typing import Any

REPR_LIMIT = 1024

short = reprlib.Repr()
short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = 20
short.maxstring = short.maxother = 200
short.maxlevel = 4


def bounded_repr(value: Any, size_hint: int) -> str:
    """Return a repr of at most REPR_LIMIT characters; `size_hint` is about how long the value is."""
    try:
        text = repr(value) if size_hint < REPR_LIMIT else short.repr(value)
    except Exception as error:
        text = f"<repr failed: {type(error).__name__}>"
    return text if len(text) <= REPR_LIMIT else text[: REPR_LIMIT - 3] + "..."
