"""The C library of this process, for the few of its functions that Python does not have.

One for all who call them: a worker's children share what was loaded before the fork. It runs nothing by itself.
"""

import ctypes
from functools import cache


@cache
def libc() -> ctypes.CDLL:
    """Return the library. A function that it lacks raises AttributeError; why one failed says `ctypes.get_errno`."""
    return ctypes.CDLL(None, use_errno=True)
