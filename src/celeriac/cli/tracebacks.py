"""Tracebacks for people: the frames of the project's own code, without those of libraries and of Celeriac.

Called by `logs` for failed tasks. Works on text, as that is what the worker records.
"""

import re

from celeriac.discovery import is_library

_FRAME = re.compile(r'^  File "(?P<path>[^"]+)", line \d+')


def own_frames(text: str) -> str:
    """Return a traceback's text without the frames of libraries; as it was if there are no others."""
    kept: list[str] = []
    hidden, own, skipping = 0, 0, False
    for line in text.rstrip().splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            skipping = is_library(frame["path"])
            hidden += skipping
            own += not skipping
        elif not line.startswith("    "):
            skipping = False
        if skipping:
            continue
        if hidden:
            kept.append(f"  … {hidden} frame{'s' if hidden > 1 else ''} of libraries (-l debug shows all)")
            hidden = 0
        kept.append(line)
    return "\n".join(kept) if own else text.rstrip()
