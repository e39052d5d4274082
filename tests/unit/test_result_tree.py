"""Results and what their tasks have sent: Celery 5.7 and we must agree."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac.errors import IncompleteStream
from celeriac.store import Record
from tests.unit.test_results import World, agree, worlds

__all__ = ["worlds"]


def tree(world: World) -> Any:
    """Three generations, of which Celery and we are told by the same meta."""
    group = [["g", None], [[["b", None], None], [["c", None], None]]]
    for task_id, children in {"a": [group], "b": [[["d", None], None]], "c": [], "d": []}.items():
        if world.ours:
            world.app.store.store(
                [Record(task_id, "SUCCESS", json.dumps(task_id).encode(), children=children)]
            )
        else:
            meta = {"status": "SUCCESS", "result": task_id, "traceback": None, "children": children,
                    "date_done": None, "task_id": task_id}  # fmt: skip
            world.app.backend.set(world.app.backend.get_key_for_task(task_id), json.dumps(meta))
    return world.one("a")


TREE: list[Callable[[Any], Any]] = [
    lambda r: r.children,
    lambda r: r.get_leaf(),
    lambda r: list(r.collect()),
    lambda r: list(r.iterdeps()),
    lambda r: sorted(map(str, r.graph)),
]


@pytest.mark.parametrize("question", range(len(TREE)))
def test_what_a_task_has_sent(worlds: tuple[World, World], question: int) -> None:
    agree(worlds, lambda world: TREE[question](tree(world)))


def test_the_graph(worlds: tuple[World, World]) -> None:
    ours = worlds[1]
    graph = {str(node): list(map(str, children)) for node, children in tree(ours).graph.items()}
    assert graph == {"a": ["g"], "g": ["b", "c"], "b": ["d"], "c": [], "d": []}
    with pytest.raises(IncompleteStream, match="has not ended"):
        ours.one("unknown").graph  # noqa: B018
