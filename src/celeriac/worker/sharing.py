"""What keeps the memory of a worker's processes one: called by the supervisor before it forks its first children.

A forked process shares each page of memory with its parent until one of them writes into it.
"""

import contextlib
import gc

from celeriac.libc import libc

_LARGE = 4096  # bytes; more than the C library has lists of gaps of the one size for


def settle_memory() -> None:
    """Leave as little as possible that makes a child write into pages that it only has to read."""
    gc.collect()
    gc.freeze()  # or the collector would write into every object
    # The C library puts off joining the gaps that freed memory leaves, and sorting them until something large is asked
    # for; what it notes of a gap stands in the gap. Done here once, each process need not do it for itself, all over
    # its memory; and gaps of whole pages go back to the system. Only the GNU one is known to be like that.
    with contextlib.suppress(AttributeError):
        libc().malloc_trim(0)
        bytes(_LARGE)
