"""Which of a worker's idle children waits at the broker.

If all did, each message would wake them all, and all but one in vain. So one is on lookout, and passes it on when it
has claimed something; the others sleep until it comes to them. Made by the supervisor before the fork, which also
sends it round again when a child has died. A lookout too many costs a wake-up; one that is stuck with a process
that cannot run is made up for by the others, who look for themselves now and then.
"""

import select

from celeriac.waker import Waker


class Lookout:
    """One token that children of one supervisor hand to each other."""

    __slots__ = ("_poller", "_token", "ours")

    def __init__(self) -> None:
        self._token = Waker()
        self._token.poke()
        self._poller: select.epoll | select.poll | None = None
        #: Whether this process is on lookout.
        self.ours = False

    def wait(self, waker: Waker, seconds: float) -> bool:
        """Wait for the lookout to come round, for a poke of `waker`, or `seconds`; return whether it is ours."""
        poller = self._poller or self._open(waker)
        ready = poller.poll(seconds if hasattr(select, "epoll") else seconds * 1000)
        if any(fd == self._token.fileno() for fd, _ in ready):
            self.ours = self._token.clear()
        return self.ours

    def pass_on(self) -> None:
        """Let another child have it."""
        self.ours = False
        self._token.poke()

    def _open(self, waker: Waker) -> "select.epoll | select.poll":
        poller: select.epoll | select.poll
        if hasattr(select, "epoll"):
            poller = select.epoll()
            poller.register(waker, select.EPOLLIN)
            poller.register(self._token, select.EPOLLIN | select.EPOLLEXCLUSIVE)  # wake one, not all
        else:
            poller = select.poll()
            poller.register(waker, select.POLLIN)
            poller.register(self._token, select.POLLIN)
        self._poller = poller
        return poller
