"""The edits of a Python file that need no thought: imports, what hangs on them, and the entry in INSTALLED_APPS.

Called by `looking`. Each edit replaces a span of the text; all that lies between stays as it is written.
"""

import ast
import re
from collections.abc import Collection, Iterator

from msgspec import Struct

from celeriac.cli.from_celery import settings_in_code, tree, verdicts
from celeriac.cli.from_celery.bindings import CURRENT, Bindings, Imported
from celeriac.cli.from_celery.tree import Source
from celeriac.cli.from_celery.uses import PYTEST_PLUGIN
from celeriac.cli.from_celery.verdicts import RENAMED

OURS = "celeriac.django"
_FROM = re.compile(rb"(from[ \t]+)([\w.]+)(?=[ \t]+import\b)")
_LONGEST = 88


class Edit(Struct):
    """What stands from `start` to `end` of a text becomes `text`."""

    start: int
    end: int
    text: str


def rewritten(source: Source, bindings: Bindings) -> bytes | None:
    """Return the file as it should be; None if there is nothing to change. Raises CannotRead if it came out wrong."""
    edits = [*_imports(source, bindings), *_entry(source)]
    if not edits:
        return None
    text = source.utf8
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        text = text[: edit.start] + edit.text.encode() + text[edit.end :]
    raw = text.decode().encode(source.encoding)
    tree.parse(raw, source.path, source.name)
    return raw


def installs(source: Source) -> bool:
    """Return whether our app is among the file's apps, or an edit adds it."""
    apps = (apps for _, apps in settings_in_code.app_lists(source.nodes))
    return any(map(_ours, apps)) or any(_entry(source))


def _ours(apps: ast.List | ast.Tuple) -> bool:
    return any(entry.partition(".")[0] == "celeriac" for entry in settings_in_code.entries(apps))


def _imports(source: Source, bindings: Bindings) -> Iterator[Edit]:
    statements: dict[int, list[Imported]] = {}
    for each in bindings.imported:
        statements.setdefault(id(each.statement), []).append(each)
    chains = _Chains(source, bindings)
    current = _uses_of_current_app(source, bindings)
    for listed in statements.values():
        statement = listed[0].statement
        if isinstance(statement, ast.ImportFrom):
            yield from _of_from(source, statement, listed, current)
        else:
            yield from _of_import(source, statement, listed, bindings, chains)
    yield from chains.edits
    # Celery's is an object, ours a function: each use of it becomes a call.
    yield from (Edit(end, end, "()") for ends in current.values() for end in ends)
    for node in source.nodes:
        if isinstance(node, ast.Constant) and node.value == PYTEST_PLUGIN:
            start, end = source.span(node)
            written = source.utf8[start:end].decode()
            yield Edit(start, end, written.replace(PYTEST_PLUGIN, verdicts.of_import(PYTEST_PLUGIN).here))


# -- from celery import ...


def _of_from(
    source: Source, statement: ast.ImportFrom, listed: list[Imported], current: Collection[str]
) -> Iterator[Edit]:
    groups: dict[str, list[str]] = {}
    alike = True
    for each in listed:
        told = None if each.star else verdicts.of_import(each.dotted)
        if told is None or told.state != RENAMED or (each.dotted in CURRENT and each.bound not in current):
            module, name = str(statement.module), each.alias.name
        else:
            module, _, name = told.here.rpartition(".")
        bound = each.alias.asname or each.alias.name
        groups.setdefault(module, []).append(name if name == bound else f"{name} as {bound}")
        alike = alike and name == each.alias.name
    if list(groups) == [statement.module]:
        return
    start, end = source.span(statement)
    module = next(iter(groups))
    found = _FROM.match(source.utf8, start)
    if len(groups) == 1 and alike and found is not None:
        yield Edit(found.start(2), found.end(2), module)
        return
    yield Edit(start, end, _statements(source, statement, [_from(*group) for group in groups.items()]))


def _from(module: str, listed: list[str]) -> tuple[str, list[str]]:
    return f"from {module} import ", listed


def _statements(source: Source, statement: ast.stmt, parts: list[tuple[str, list[str]]]) -> str:
    """Return import statements in place of one, on lines of their own where it stands on one, with its comments."""
    start, end = source.span(statement)
    line = source.starts[source.line_of(start) - 1]
    before = source.utf8[line:start].decode()
    newline = "\r\n" if b"\r\n" in source.utf8 else "\n"
    if before.strip():
        return "; ".join(head + ", ".join(listed) for head, listed in parts)
    comments = re.findall(r"#[^\r\n]*", source.utf8[start:end].decode())
    lines = [comment.rstrip() for comment in comments]
    for head, listed in parts:
        whole = head + ", ".join(listed)
        if len(before) + len(whole) <= _LONGEST or head == "import ":
            lines.append(whole)
        else:
            lines += [f"{head}(", *(f"    {name}," for name in listed), ")"]
    return f"{newline}{before}".join(lines)


# -- import celery


class _Chains:
    """What is used of modules that are imported as such: the edits of it, and whether all of it is here."""

    def __init__(self, source: Source, bindings: Bindings) -> None:
        self.edits: list[Edit] = []
        self.modules: dict[str, set[str]] = {}
        #: What is used and not here, by the name that it begins with.
        self.left: dict[str, set[str]] = {}
        roots = {
            each.bound: bindings.names[each.bound]
            for each in bindings.imported
            if isinstance(each.statement, ast.Import) and not _taken_whole(each)
        }
        for bound in roots.keys() & bindings.bare:
            self.left.setdefault(bound, set()).add(roots[bound])
        inner: set[int] = set()
        for node in source.nodes:
            if isinstance(node, ast.Attribute) and id(node) not in inner:
                self._take(source, bindings, roots, node, inner)

    def need(self, each: Imported, alone: bool) -> bool:
        """Return whether an import has to stay: for what is not here. `alone` is one that is all of its name."""
        left = self.left.get(each.bound, set())
        return any(alone or f"{dotted}.".startswith(f"{each.dotted}.") for dotted in left)

    def _take(
        self, source: Source, bindings: Bindings, roots: dict[str, str], node: ast.Attribute, inner: set[int]
    ) -> None:
        found = bindings.dotted(node)
        part: ast.expr = node
        while isinstance(part, ast.Attribute):
            part = part.value
            inner.add(id(part))
        if found is None or found[1].id not in roots:
            return
        dotted, name = found
        told = verdicts.of_import(dotted)
        start, end = source.span(node)
        written = "".join(source.utf8[start:end].decode().split())
        if told.state != RENAMED or written != name.id + dotted.removeprefix(roots[name.id]):
            self.left.setdefault(name.id, set()).add(dotted)
            return
        here = told.here
        for current in CURRENT:
            if f"{dotted}.".startswith(f"{current}."):
                here = here.replace("celeriac.current_app", "celeriac.current_app()", 1)
        self.modules.setdefault(name.id, set()).add(verdicts.module_of(dotted))
        self.edits.append(Edit(start, end, here))


def _alone(each: Imported, bindings: Bindings) -> bool:
    """Whether no plain `import celery` stands beside `import celery.result`."""
    plain = {other.alias.name for other in bindings.imported if other.bound == each.bound}
    return each.alias.asname is not None or not plain & verdicts.ROOTS


def _taken_whole(each: Imported) -> bool:
    """Whether `import celery.signals as signals` becomes the same of ours, and its uses stay."""
    return each.alias.asname is not None and verdicts.is_module(each.dotted)


def _of_import(
    source: Source, statement: ast.Import, listed: list[Imported], bindings: Bindings, chains: _Chains
) -> Iterator[Edit]:
    by_alias = {id(each.alias): each for each in listed}
    parts: list[str] = []
    for alias in statement.names:
        each = by_alias.get(id(alias))
        written = alias.name + (f" as {alias.asname}" if alias.asname else "")
        if each is None:
            parts.append(written)
        elif _taken_whole(each):
            parts.append(f"{verdicts.of_import(each.dotted).here} as {alias.asname}")
        else:
            parts += sorted(chains.modules.get(each.bound, ()))
            here = verdicts.leads_here(each.dotted) and each.bound not in bindings.rebound
            if here and bindings.is_unused(each):
                parts.append("celeriac")  # for what it does when it is imported, or for nothing
            elif not here or each.bound not in bindings.loaded or chains.need(each, _alone(each, bindings)):
                parts.append(written)
    parts = list(dict.fromkeys(parts))
    if parts != [alias.name + (f" as {alias.asname}" if alias.asname else "") for alias in statement.names]:
        yield Edit(
            *source.span(statement), _statements(source, statement, [("import ", [part]) for part in parts])
        )


def _uses_of_current_app(source: Source, bindings: Bindings) -> dict[str, list[int]]:
    """Return where each use of Celery's `current_app` ends, by what it is called in the file.

    Names are left out that mean something else as well, or stand where Python does not tell the place of: in a long
    f-string, before 3.12.
    """
    found: dict[str, list[int]] = {
        each.bound: []
        for each in bindings.imported
        if isinstance(each.statement, ast.ImportFrom) and each.dotted in CURRENT
    }
    for name in found.keys() & bindings.rebound:
        del found[name]
    for node in source.nodes:
        if isinstance(node, ast.Name) and node.id in found:
            start, end = source.span(node)
            if source.utf8[start:end].decode(errors="replace") == node.id:
                found[node.id].append(end)
            else:
                del found[node.id]
    return found


# -- INSTALLED_APPS


def _entry(source: Source) -> Iterator[Edit]:
    """Add our app to a list of apps that is whole: other settings begin with that of another file, and add to it."""
    listed = [each for each in settings_in_code.app_lists(source.nodes) if settings_in_code.entries(each[1])]
    entries = {entry for _, apps in listed for entry in settings_in_code.entries(apps)}
    whole = any(entry.startswith("django.contrib.") for entry in entries)
    names = {name for name, _ in settings_in_code.assigned_names(source.nodes, added=False)}
    if not whole or "INSTALLED_APPS" not in names or any(_ours(apps) for _, apps in listed):
        return
    last = [apps for _, apps in listed if any(map(_of_celery, settings_in_code.entries(apps)))]
    last += [apps for name, apps in listed if name == "INSTALLED_APPS"] or [apps for _, apps in listed]
    yield from _appended(source, last[0])


def _of_celery(entry: str) -> bool:
    return verdicts.of_installed_app(entry) is not None


def _appended(source: Source, apps: ast.List | ast.Tuple) -> Iterator[Edit]:
    """Add an entry after the last one: on a line of its own if that has one, and after the comment beside it."""
    start, end = source.span(apps.elts[-1])
    text = source.utf8
    quote = chr(text[end - 1])
    rest = text[end : source.span(apps)[1]]
    line_end = re.search(rb"\r\n|\r|\n", rest)
    line = source.starts[source.line_of(start) - 1]
    before = text[line:start].decode()
    entry = f"{quote}{OURS}{quote}"
    if line_end is None or before.strip():
        yield Edit(end, end, f", {entry}")
        return
    beside = rest[: line_end.start()]
    if not beside.lstrip().startswith(b","):
        yield Edit(end, end, ",")
    after = end + line_end.start()
    yield Edit(after, after, f"{line_end[0].decode()}{before}{entry},")
