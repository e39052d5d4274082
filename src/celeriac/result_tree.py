"""Walks from a result to those of the tasks that it has sent: `collect`, `get_leaf`, `iterdeps`, the graph.

Used by `celeriac.result`. A result knows its children once it is ready, and only if the task keeps a trail.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from celeriac.errors import IncompleteStream


class Node(Protocol):
    """A result, or a group of them."""

    @property
    def children(self) -> Sequence[Any] | None:
        """The results of the tasks that it has sent."""

    def ready(self) -> bool:
        """Whether it has ended."""


def iterdeps(root: Any, intermediate: bool) -> Iterator[tuple[Any, Any]]:
    """Yield (parent, result) for `root` and all below it, level by level.

    Raises IncompleteStream at a result that has not ended, unless `intermediate` is set.
    """
    waiting: deque[tuple[Any, Node]] = deque([(None, root)])
    while waiting:
        parent, node = waiting.popleft()
        yield parent, node
        if node.ready():
            waiting.extend((node, child) for child in node.children or ())
        elif not intermediate:
            raise IncompleteStream(
                f"{node} has not ended, so that what it sends is not known yet. Wait for it, or pass intermediate=True."
            )


def build_graph(root: Any, intermediate: bool) -> dict[Any, list[Any]]:
    """Return the children of each result in the tree of `root`."""
    graph: dict[Any, list[Any]] = {}
    for parent, node in iterdeps(root, intermediate):
        graph.setdefault(node, [])
        if parent is not None and node not in graph[parent]:
            graph[parent].append(node)
    return graph
