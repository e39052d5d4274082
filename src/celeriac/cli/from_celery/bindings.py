"""Which names of a Python file stand for something of Celery's: what is imported, the app, tasks.

Made once for each file, read by `uses` and `rewriting`.
"""

import ast
from collections.abc import Iterator, Sequence

from msgspec import Struct

from celeriac.cli.from_celery import verdicts

_APPS = ("celery.Celery", "celery.app.base.Celery")
#: A file's nodes, outer ones first: `tree.Source.nodes`.
Nodes = Sequence[ast.AST]
_OURS = "celeriac"
_ROOTS = verdicts.ROOTS | {_OURS}
#: What is an object in Celery and a function here.
CURRENT = ("celery.current_app", "celery._state.current_app")


class Imported(Struct):
    """One name of an import statement: where it leads, and what it is called in the file."""

    statement: ast.Import | ast.ImportFrom
    alias: ast.alias
    dotted: str
    bound: str

    @property
    def star(self) -> bool:
        """Whether it takes all that there is."""
        return self.alias.name == "*"


class Bindings(Struct):
    """What a file's names stand for, as Celery calls it.

    `ours` are those that are imported from Celeriac already, `rebound` names that are given something else somewhere
    as well, `loaded` names that are used at all, `bare` those that are used without a dot behind them.
    """

    imported: list[Imported]
    names: dict[str, str]
    ours: set[str]
    rebound: set[str]
    loaded: set[str]
    bare: set[str]
    apps: set[str]

    def dotted(self, node: ast.expr) -> tuple[str, ast.Name] | None:
        """Return what an expression such as `celery.signals.task_prerun` leads to, and the name that it begins with."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names or node.id in self.rebound:
            return None
        dotted = ".".join([self.names[node.id], *reversed(parts)])
        return (verdicts.theirs(dotted) if node.id in self.ours else dotted), node

    def is_unused(self, each: Imported) -> bool:
        """Return whether Celery is imported as a module and nothing of it is used."""
        return each.bound not in self.loaded and each.dotted.partition(".")[0] == "celery"

    def is_app(self, node: ast.expr) -> bool:
        """Return whether an expression is a Celery app, as far as its name tells."""
        if isinstance(node, ast.Call):  # current_app()
            return isinstance(node.func, ast.Name) and self.names.get(node.func.id) in CURRENT
        if isinstance(node, ast.Name):
            return node.id in self.apps or self._sounds(node.id)
        return isinstance(node, ast.Attribute) and self._sounds(node.attr)

    def _sounds(self, name: str) -> bool:
        known = self.names.get(name)
        if known is not None:
            return known in CURRENT
        return name in ("celery", "capp") or name.endswith(("celery_app", "celeryapp"))

    def is_task_maker(self, node: ast.expr) -> bool:
        """Return whether a decorator, without its call, makes a task."""
        found = self.dotted(node)
        if found is not None and found[0] in ("celery.shared_task", "celery.app.shared_task"):
            return True
        return isinstance(node, ast.Attribute) and node.attr == "task" and self.is_app(node.value)

    def is_task_class(self, node: ast.ClassDef) -> bool:
        """Return whether a class is a task's."""
        for base in node.bases:
            found = self.dotted(base)
            if found is not None and (verdicts.of_import(found[0]).here == "celeriac.Task"):
                return True
            if isinstance(base, ast.Attribute) and base.attr == "Task" and self.is_app(base.value):
                return True
        return False


def find(nodes: Nodes) -> Bindings:
    """Return what the names of a file stand for."""
    every = [each for node in nodes for each in _of_statement(node)]
    imported = [each for each in every if each.dotted.partition(".")[0] != _OURS]
    ours = {each.bound for each in every} - {each.bound for each in imported}
    names = {each.bound: _root(each) for each in every if not each.star}
    names |= {name: verdicts.theirs(names[name]) for name in ours & names.keys()}
    rebound = {name for name in _others(nodes, every) if name in names}
    loads = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    dotted = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    bare = {node.id for node in loads if id(node) not in dotted}
    found = Bindings(imported, names, ours, rebound, {node.id for node in loads}, bare, set())
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = found.dotted(node.value.func)
            if made is not None and made[0] in _APPS:
                found.apps |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and _is_module_of_app(node):
            found.apps |= {each.asname or each.name for each in node.names if "app" in each.name}
    return found


def _is_module_of_app(node: ast.ImportFrom) -> bool:
    """Whether it imports from a module such as the project's own `celery`: `from .celery import app`."""
    first, _, _ = (node.module or "").partition(".")
    return "celery" in (node.module or "").rpartition(".")[2] and (node.level > 0 or first not in _ROOTS)


def _root(each: Imported) -> str:
    """What the bound name stands for: `import celery.signals` binds `celery`."""
    if isinstance(each.statement, ast.Import) and each.alias.asname is None:
        return each.dotted.partition(".")[0]
    return each.dotted


def _of_statement(node: ast.AST) -> Iterator[Imported]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] in _ROOTS:
                yield Imported(node, alias, alias.name, alias.asname or alias.name.partition(".")[0])
    elif isinstance(node, ast.ImportFrom) and not node.level:
        module = node.module or ""
        for alias in node.names if module.partition(".")[0] in _ROOTS else ():
            dotted = module if alias.name == "*" else f"{module}.{alias.name}"
            yield Imported(node, alias, dotted, alias.asname or alias.name)


def _others(nodes: Nodes, imported: list[Imported]) -> Iterator[str]:
    """Return the names that are given something other than what is imported from Celery."""
    ours = {id(each.alias) for each in imported}
    # `import celery` beside `import celery.signals` is one and the same; two names of one place are so, too.
    places: dict[str, str] = {}
    for each in imported:
        root = _root(each)
        if places.setdefault(each.bound, root) != root:
            yield each.bound
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
            yield node.name or ""
        elif isinstance(node, ast.alias) and id(node) not in ours:
            yield node.asname or node.name.partition(".")[0]


# -- what both readers of code ask for


def assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Return what a statement gives a value to, with the value."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value


def is_off(value: ast.expr) -> bool:
    """Return whether a value is None or False."""
    return isinstance(value, ast.Constant) and value.value in (None, False)
