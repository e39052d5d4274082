"""The settings that a Python file gives: Django's, `celeryconfig`'s, and those given to the app; and INSTALLED_APPS.

Called by `looking` for each file. Which file is which is told by its names: CELERY_ and the older beginnings anywhere,
lower-case ones where an app reads them.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from msgspec import Struct

from celeriac import config
from celeriac.cli.from_celery import verdicts
from celeriac.cli.from_celery.bindings import Bindings, Nodes, assigned, is_off
from celeriac.cli.from_celery.uses import Found

_OLD = re.compile(r"(CELERYD?|CELERYBEAT)_[A-Z0-9_]+")
#: Parameters of `Celery` that are settings.
_PARAMETERS = {"broker": "broker_url", "backend": "result_backend"}
#: Names of Django packages that only begin alike.
_OTHERS = re.compile(r"CELERY_(EMAIL|ONCE|HAYSTACK|PROGRESS|RESULTS|FLOWER)_|CELERY_TASK_PUBLISH_.*_SENTRY")


class Reading(Struct):
    """How the project's apps read their settings: the namespaces, and the modules of lower-case names."""

    namespaces: set[str]
    modules: set[str]

    def names_module(self, name: str) -> bool:
        """Return whether a file is one of the modules of lower-case names."""
        module = ".".join(PurePosixPath(name).with_suffix("").parts)
        return any(f".{module}".endswith(f".{each}") for each in self.modules | {"celeryconfig"})


def how(nodes: Nodes, reading: Reading) -> None:
    """Note what a file's calls of `config_from_object` say."""
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in ("config_from_object", "config_from_envvar") or not node.args:
            continue
        named = {each.arg: _text(each.value) for each in node.keywords}
        namespace = named.get("namespace") or (_text(node.args[3]) if len(node.args) > 3 else None)
        module = _text(node.args[0])
        if namespace:
            reading.namespaces.add(namespace.removesuffix("_"))
        elif module and module != "django.conf:settings":
            reading.modules.add(module.partition(":")[0])


def settings(nodes: Nodes, name: str, reading: Reading, bindings: Bindings) -> Iterator[Found]:
    """Return what is said of each setting that a file gives."""
    plain = reading.names_module(name)
    bodies = (node.body for node in nodes if isinstance(node, ast.Module | ast.ClassDef | ast.If | ast.Try))
    for body in bodies:
        for node in body:
            for target, value in assigned(node):
                yield from _given(target, value, node.lineno, plain, reading)
    yield from _of_apps(nodes, bindings)


def _given(target: ast.expr, value: ast.expr, line: int, plain: bool, reading: Reading) -> Iterator[Found]:
    if not isinstance(target, ast.Name):
        return
    told = None
    if plain and config.canonical(target.id, None) in config._KNOWN:
        told = verdicts.of_setting(target.id, None, texts(value), is_off(value))
    elif target.id.isupper():
        namespace = _namespace(target.id, reading)
        if namespace is not None and not _OTHERS.match(target.id):
            told = verdicts.of_setting(target.id, namespace, texts(value), is_off(value))
    if told is not None:
        yield told, line


def _namespace(written: str, reading: Reading) -> str | None:
    """Return the namespace in which an upper-case name is a setting; None if it is none."""
    for namespace in reading.namespaces:
        if written.startswith(namespace + "_"):
            return namespace
    if _OLD.fullmatch(written) or (written.startswith("BROKER_") and config.canonical(written, "CELERY")):
        return "CELERY"
    return None


def _of_apps(nodes: Nodes, bindings: Bindings) -> Iterator[Found]:
    """Return what is said of settings in `Celery(...)`, `app.conf.update(...)`, `app.conf.name = ...`."""
    for node in nodes:
        if isinstance(node, ast.Call):
            made = bindings.dotted(node.func)
            if made is not None and verdicts.of_import(made[0]).here == "celeriac.Celery":
                yield from _of_keywords(node.keywords)
            elif (
                isinstance(node.func, ast.Attribute)
                and node.func.attr == "update"
                and _conf(node.func.value, bindings)
            ):
                yield from _of_keywords(node.keywords)
                for argument in node.args:
                    yield from _of_dict(argument)
        for target, value in assigned(node):
            name = None
            if isinstance(target, ast.Attribute) and _conf(target.value, bindings):
                name = target.attr
            elif isinstance(target, ast.Subscript) and _conf(target.value, bindings):
                name = _text(target.slice)
            if name is not None and (told := _of_lower(name, value)):
                yield told, target.lineno


def _conf(node: ast.expr, bindings: Bindings) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "conf" and bindings.is_app(node.value)


def _of_keywords(keywords: Iterable[ast.keyword]) -> Iterator[Found]:
    for keyword in keywords:
        if keyword.arg == "task_cls":
            yield verdicts.of_parameter(keyword.arg), keyword.value.lineno
        elif keyword.arg is not None:
            told = _of_lower(_PARAMETERS.get(keyword.arg, keyword.arg), keyword.value)
            if told is not None:
                yield told, keyword.value.lineno


def _of_dict(node: ast.expr) -> Iterator[Found]:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            name = None if key is None else _text(key)
            if name is not None and (told := _of_lower(name, value)):
                yield told, value.lineno


def _of_lower(name: str, value: ast.expr) -> verdicts.Verdict | None:
    known = config.canonical(name, None)
    return verdicts.of_setting(name, None, texts(value), is_off(value)) if known in config._KNOWN else None


def texts(value: ast.expr) -> list[str]:
    """Return the texts in a value that may be the value: its own, defaults in calls, the beginning of an f-string."""
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) else []
    if isinstance(value, ast.JoinedStr):
        first = value.values[0] if value.values else None
        return [text for text in texts(first) if "://" in text] if isinstance(first, ast.Constant) else []
    constants = (node.value for node in ast.walk(value) if isinstance(node, ast.Constant))
    return [each for each in constants if isinstance(each, str) and "://" in each]


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


# -- INSTALLED_APPS


def assigned_names(nodes: Nodes, added: bool = True) -> Iterator[tuple[str, ast.expr]]:
    """Return each name that is given a value, with the value; with `added` also what `+=` adds to one."""
    for node in nodes:
        pairs = list(assigned(node))
        if added and isinstance(node, ast.AugAssign):
            pairs.append((node.target, node.value))
        for target, value in pairs:
            if isinstance(target, ast.Name):
                yield target.id, value


def app_lists(nodes: Nodes) -> Iterator[tuple[str, ast.List | ast.Tuple]]:
    """Return the lists of apps that a file names, each with the name of its setting."""
    for name, value in assigned_names(nodes):
        if name.endswith("APPS"):
            for part in ast.walk(value):
                if isinstance(part, ast.List | ast.Tuple):
                    yield name, part


def installed(nodes: Nodes) -> Iterator[Found]:
    """Return what is said of the entries of INSTALLED_APPS that belong to Celery."""
    for _, apps in app_lists(nodes):
        for each in apps.elts:
            told = verdicts.of_installed_app(_text(each) or "")
            if told is not None:
                yield told, each.lineno


def entries(apps: ast.List | ast.Tuple) -> list[str]:
    """Return the texts in a list of apps."""
    return [text for text in map(_text, apps.elts) if text is not None]
