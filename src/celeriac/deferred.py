"""What is published when a transaction commits: a callback for the framework to keep until then.

Made by `celeriac.app`; kept by `Framework.defer`, which finds its own kind again by the class.
"""

import logging
from collections.abc import Callable, Sequence

from celeriac.broker import Publication

logger = logging.getLogger("celeriac")


class AfterCommit:
    """Publishes when it is called; called again, it does nothing more."""

    __slots__ = ("_publications", "_publish", "_published")

    def __init__(
        self, publish: Callable[[Sequence[Publication]], None], publications: Sequence[Publication]
    ) -> None:
        self._publish = publish
        self._publications = publications
        self._published = False

    def __call__(self) -> None:
        """Publish; what cannot be published is logged, for no one else has it any more."""
        if self._published:
            return
        try:
            self._publish(self._publications)
        except Exception:
            for lost in self._publications:
                logger.error(
                    "After the commit the task %s[%s] could not be queued: %r",
                    lost.task,
                    lost.id,
                    lost.payload,
                )
            raise
        self._published = True

    def pending(self) -> bool:
        """Return whether the publishing is still to come."""
        return not self._published
