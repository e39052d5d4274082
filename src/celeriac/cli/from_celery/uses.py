"""What a Python file does with Celery, place by place: options of tasks and calls, the app, the running call.

Called by `looking` for each file. Settings are `settings_in_code`'s.
"""

import ast
from collections.abc import Iterator

from celeriac.cli.from_celery import verdicts
from celeriac.cli.from_celery.bindings import Bindings, Nodes, assigned, is_off
from celeriac.cli.from_celery.verdicts import MISSING, RENAMED, Verdict

#: A verdict and the line it is about.
Found = tuple[Verdict, int]
_Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Of `multiprocessing.Pool.apply_async`, which has nothing to do with Celery.
_POOLS = frozenset({"args", "callback", "error_callback", "func", "kwds"})
#: Named in a text: `pytest_plugins`.
PYTEST_PLUGIN = "celery.contrib.pytest"
_SIGNATURES = ("s", "si", "signature", "subtask")


def of_imports(bindings: Bindings) -> Iterator[Found]:
    """Return what is said of each name that is imported."""
    for each in bindings.imported:
        if each.star:
            text = "it does not say which names: write them out, then look again"
            yield Verdict(verdicts.IMPORT, f"{each.dotted}.*", MISSING, "", text), each.alias.lineno
        elif isinstance(each.statement, ast.Import) and verdicts.leads_here(each.dotted):
            if each.bound in bindings.rebound | bindings.bare and not verdicts.is_module(each.dotted):
                text = "the module is handed on, or its name used for something else: change it by hand"
                yield Verdict(verdicts.IMPORT, each.dotted, MISSING, "", text), each.alias.lineno
            elif bindings.is_unused(each):
                yield Verdict(verdicts.IMPORT, each.dotted, RENAMED, "celeriac"), each.alias.lineno
            # Otherwise what is used of it counts.
        else:
            yield verdicts.of_import(each.dotted), each.alias.lineno


def in_code(nodes: Nodes, bindings: Bindings) -> Iterator[Found]:
    """Return what is said of all other uses."""
    tasks = {node.name for node in nodes if isinstance(node, _Function) and _maker(node, bindings)}
    # Parts of a longer expression, which has been told of.
    inner: set[int] = set()
    operands: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            yield from _of_attribute(node, bindings, tasks, inner)
        elif isinstance(node, ast.Call):
            yield from _of_call(node)
            yield from _of_loggers(node)
        elif isinstance(node, ast.Dict):
            yield from _of_loggers(node)
            yield from _of_entry(node)
        elif isinstance(node, ast.Constant) and node.value == PYTEST_PLUGIN:
            yield verdicts.of_import(PYTEST_PLUGIN), node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            if id(node) not in operands and (_is_signature(node.left) or _is_signature(node.right)):
                yield verdicts.of_workflow("a | b"), node.lineno
            operands |= {id(node.left), id(node.right)}
        elif isinstance(node, _Function):
            maker = _maker(node, bindings)
            if maker is not None:
                yield from _of_maker(maker)
                yield from _of_body(node, maker)
        elif isinstance(node, ast.ClassDef) and bindings.is_task_class(node):
            yield from _of_class(node)


def _of_attribute(
    node: ast.Attribute, bindings: Bindings, tasks: set[str], inner: set[int]
) -> Iterator[Found]:
    inner.add(id(node.value))
    if id(node) in inner:
        return
    chain: list[ast.Attribute] = [node]
    while isinstance(chain[-1].value, ast.Attribute):
        chain.append(chain[-1].value)
        inner.add(id(chain[-1]))
    found = bindings.dotted(node)
    if found is not None and found[0].partition(".")[0] in verdicts.ROOTS:
        root = bindings.names[found[1].id]
        if found[1].id not in bindings.ours and (root in verdicts.ROOTS or verdicts.is_module(root)):
            yield verdicts.of_import(verdicts.used(found[0])), node.lineno
            return
    for outer, each in zip([None, *chain[:-1]], chain, strict=True):
        if bindings.is_app(each.value):
            if each.attr == "control" and outer is not None:
                yield verdicts.of_control(outer.attr), node.lineno
            elif told := verdicts.of_app(each.attr):
                yield told, node.lineno
            return
    if isinstance(node.value, ast.Name) and node.value.id in tasks:
        told = verdicts.of_task_name(node.attr, node.value.id)
        if told is not None and told.state == MISSING:
            yield told, node.lineno


def _of_call(node: ast.Call) -> Iterator[Found]:
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in ("apply_async", "send_task"):
        return
    given = [keyword for keyword in node.keywords if keyword.arg is not None]
    if node.func.attr == "apply_async" and any(keyword.arg in _POOLS - {"args"} for keyword in given):
        return
    for keyword in given:
        if keyword.arg != "name":
            yield verdicts.of_call_option(str(keyword.arg)), keyword.value.lineno


def _of_entry(node: ast.Dict) -> Iterator[Found]:
    """Return what is said of the options of calls that an entry of a schedule has."""
    parts = {
        key.value: value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    given = parts.get("options")
    if {"task", "schedule"} <= parts.keys() and isinstance(given, ast.Dict):
        for key in given.keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield verdicts.of_call_option(key.value), key.lineno


def _of_loggers(node: ast.Call | ast.Dict) -> Iterator[Found]:
    """Return what is said of loggers that are asked for, or set up in a dict."""
    named: list[ast.expr | None] = []
    if isinstance(node, ast.Call):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        named += node.args[:1] if function in ("getLogger", "get_logger") else []
    else:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "loggers" and isinstance(value, ast.Dict):
                named += value.keys
    for each in named:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            told = verdicts.of_logger(each.value)
            if told is not None:
                yield told, each.lineno


# -- tasks


def _maker(node: _Function, bindings: Bindings) -> ast.expr | None:
    """Return the decorator that makes a function a task."""
    for decorator in node.decorator_list:
        bare = decorator.func if isinstance(decorator, ast.Call) else decorator
        if bindings.is_task_maker(bare):
            return decorator
    return None


def _of_maker(maker: ast.expr) -> Iterator[Found]:
    if isinstance(maker, ast.Call):
        for keyword in maker.keywords:
            if keyword.arg is not None:
                yield verdicts.of_task_option(keyword.arg, is_off(keyword.value)), keyword.value.lineno


def _of_body(node: _Function, maker: ast.expr) -> Iterator[Found]:
    """Return what a bound task does with `self`."""
    bound = isinstance(maker, ast.Call) and any(
        keyword.arg == "bind" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in maker.keywords
    )
    if bound and node.args.args:
        yield from _of_self(node, node.args.args[0].arg)


def _of_class(node: ast.ClassDef) -> Iterator[Found]:
    for each in node.body:
        for target, value in assigned(each):
            if isinstance(target, ast.Name) and _is_option(target.id):
                yield verdicts.of_task_option(target.id, is_off(value)), each.lineno
        if isinstance(each, _Function) and each.args.args:
            yield from _of_self(each, each.args.args[0].arg)


def _is_option(name: str) -> bool:
    """Whether Celery reads an attribute of a task's class; others are the project's own."""
    verdict = verdicts.of_task_option(name)
    return verdict.advice != verdicts.UNKNOWN_OPTION and name != "name"


def _of_self(node: ast.AST, name: str) -> Iterator[Found]:
    for each in ast.walk(node):
        if not isinstance(each, ast.Attribute):
            continue
        value = each.value
        if isinstance(value, ast.Name) and value.id == name and each.attr != "request":
            told = verdicts.of_task_name(each.attr)
        elif isinstance(value, ast.Attribute) and value.attr == "request" and _named(value.value, name):
            told = verdicts.of_request(each.attr)
        else:
            continue
        if told is not None:
            yield told, each.lineno


def _named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_signature(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SIGNATURES
    )
