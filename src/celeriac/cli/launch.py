"""A process that does not outlive the one that started it: `python launch.py PARENT COMMAND...`.

Run as a file of its own by `processes`, before the command takes its place, so that nothing has to be done between
fork and exec. Imports only what every Python has.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGTERM when the parent dies (on Linux only), then be the command."""
    parent, *command = sys.argv[1:]
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        pass
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
