"""What both sides' tasks do: they note who ran what."""

import os
from pathlib import Path


def note(side: str, key: object) -> None:
    """Append one line to the journal, in one write."""
    with Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write(f"{side} {key}\n")
