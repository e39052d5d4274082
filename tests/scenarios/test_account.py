"""The account itself: what a kill may have hit, and what is a fault whatever was killed."""

from pathlib import Path

import pytest

from tests.scenarios.account import CONCURRENT, LOST, NO_CAUSE, ONCE, REPEATED, take_account
from tests.scenarios.journal import Journal, Kill

KILL = Kill(10.0, 10.1, pid=7)
AGAIN = ["11 start a 8 1 0", "12 end a 8 1 0"]


@pytest.mark.parametrize(
    ("lines", "fate"),
    [
        (["1 start a 7 0 0", "2 end a 7 0 0"], ONCE),
        (["1 start a 7 0 0"], LOST),
        (["9 start a 7 0 0", *AGAIN], REPEATED + "killed"),
        # It had come to its end, and its process was halted before that was on record.
        (["6 start a 7 0 0", "7 end a 7 0 0", *AGAIN], REPEATED + "killed"),
        # Its process had begun something else: then it was on record.
        (["6 start a 7 0 0", "7 end a 7 0 0", "8 start b 7 0 0", *AGAIN], NO_CAUSE),
        # Another process was killed.
        (["6 start a 9 0 0", "7 end a 9 0 0", *AGAIN], NO_CAUSE),
        (["9 start a 7 0 0", "11 start a 8 1 0", "12 end a 7 0 0", "13 end a 8 1 0"], CONCURRENT),
    ],
)
def test_the_fate_of_a_task(tmp_path: Path, lines: list[str], fate: str) -> None:
    journal = Journal(tmp_path / "journal")
    journal.path.write_text("".join(f"{line}\n" for line in lines))
    assert take_account(journal, ["a"], [KILL]).fates == {"a": fate}
