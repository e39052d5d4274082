"""Type variables: what a task takes and returns. Where nothing is said, anything."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    P = ParamSpec("P", default=...)
    R = TypeVar("R", default=Any)
else:
    # Defaults came with Python 3.13, and only type checkers look at them.
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
