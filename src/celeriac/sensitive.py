"""Which arguments of a task are not to be shown: in reprs, and so in results, logs and the admin.

Worked out once for each task (`of_task`), from its option `sensitive` and from the names of its parameters. The
message itself keeps the values, as the task needs them.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

_SECRET_WORDS = re.compile(
    r"(?:^|_)(?:pass|passwd|passphrase|passcode|pwd|pin|otp|auth|authorization|bearer|jwt|cookies?|credentials?|signature"
    r"|cvv|cvc|ssn)(?:_|$)|password|secret|token|api_?key|(?:private|access|signing|encryption)_?key",
    re.IGNORECASE,
)


class _Covered:
    def __repr__(self) -> str:
        return "'********'"


COVERED: Any = _Covered()


class Sensitive(Struct, frozen=True):
    """What of a call is covered: positions and names; where `guess` is set, other names by what they say."""

    positions: frozenset[int]
    names: frozenset[str]
    everything: bool = False
    guess: bool = False

    def cover(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with COVERED in place of what is not to be shown."""
        positions, names, everything = self.positions, self.names, self.everything
        shown = tuple(
            COVERED if everything or number in positions else value for number, value in enumerate(args)
        )
        named = {
            name: COVERED if everything or name in names or (self.guess and is_secret(name)) else value
            for name, value in kwargs.items()
        }
        return shown, named

    def hides(self, name: str, position: int | None = None) -> bool:
        """Return whether an argument is covered: one given by name, or at a position."""
        if self.everything or name in self.names:
            return True
        return position in self.positions if position is not None else self.guess and is_secret(name)

    def cover_misfit(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """`cover`, for a call that does not fit its task: any value may have been meant for any parameter."""
        guarded = self.everything or bool(self.positions)
        shown = tuple(COVERED if guarded else value for value in args)
        named = {
            name: COVERED if self.hides(name) or is_secret(name) else value for name, value in kwargs.items()
        }
        return shown, named


#: For tasks of which no parameters are known.
BY_NAME = Sensitive(frozenset(), frozenset(), guess=True)


def is_secret(name: str) -> bool:
    """Return whether the name of an argument says that it is a secret."""
    return _SECRET_WORDS.search(name) is not None


def of_task(
    parameters: Sequence[str], keywords: Iterable[str], others: bool, declared: bool | Collection[str] | None
) -> Sensitive | None:
    """Return what to cover of a task's calls; None where there is nothing.

    `parameters` are those that can be given by position, in order, and `keywords` all that can be given by name;
    `others` says that it takes names besides. `declared` is the task's option: names, True for all, False or an empty
    list for none whatever they are called, None to go by the names.
    """
    if declared is True:
        return Sensitive(frozenset(), frozenset(), everything=True)
    if declared is False or (declared is not None and not declared):
        return None
    named = frozenset(declared or ())
    names = named | {name for name in {*parameters, *keywords} if is_secret(name)}
    positions = frozenset(number for number, name in enumerate(parameters) if name in names)
    if not names and not others:
        return None
    return Sensitive(positions, names, guess=others)
