"""Dead processes that process 1 has inherited: asked after, so that they do not fill the kernel's table.

A program that a task has started and left behind becomes a child of process 1 when its own parent ends. In a container
that is the supervisor, unless an init was put before it. Called by the supervisor alone: a worker without one runs
tasks itself, and must not take from them the programs that they wait for.
"""

import os
from collections.abc import Collection


def bury(ours: Collection[int]) -> None:
    """Ask after all dead children but `ours`, where this is process 1."""
    if os.getpid() != 1:
        return
    try:
        # WNOWAIT: look first. One of ours has its own way to be asked after, at the next turn.
        while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if found.si_pid in ours:
                return
            os.waitpid(found.si_pid, os.WNOHANG)
    except ChildProcessError:
        return  # it has no children
