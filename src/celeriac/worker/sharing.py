"""What keeps the memory of a worker's processes one: called by the supervisor before it forks its first children.

A forked process shares each page of memory with its parent until one of them writes into it.
"""

import contextlib
import gc

from celeriac.libc import libc


def settle_memory() -> None:
    """Leave as little as possible that makes a child write into pages that it only has to read."""
    gc.collect()
    gc.freeze()  # or the collector would write into every object
    # The C library puts off joining the gaps that were left by what was freed. It is done here once, and gaps of whole
    # pages go back to the system; else each process does it for itself, all over its memory. Only the GNU one has this.
    with contextlib.suppress(AttributeError):
        libc().malloc_trim(0)
