"""A file descriptor that one thread or process pokes and another waits on."""

import os
import select


class Waker:
    """Pokes that came in while nobody waited are not lost, and many count as one."""

    __slots__ = ("_read", "_write")

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self._read = self._write = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self._read, self._write = os.pipe()
            os.set_blocking(self._read, False)
            os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """Return the descriptor to wait on; it is readable after a poke."""
        return self._read

    def poke(self) -> None:
        """Make the descriptor readable."""
        try:
            os.write(self._write, b"\1\0\0\0\0\0\0\0")
        except BlockingIOError:
            pass

    def clear(self) -> bool:
        """Forget all pokes up to now; return whether there were any."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            return False
        return True

    def wait(self, timeout: float | None) -> bool:
        """Return whether there was a poke within `timeout` seconds; it is left standing."""
        return bool(select.select([self._read], [], [], timeout)[0])

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._read)
        if self._write != self._read:
            os.close(self._write)
