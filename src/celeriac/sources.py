"""Where an app's settings come from: objects, modules and mappings, in their order, over what the framework says.

`celeriac.app` reads them when they are first needed; what a setting means is `celeriac.config`'s.
"""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from celeriac import config
from celeriac.hooks import Framework


def read(sources: Iterable[tuple[Any, str | None]], framework: Framework | None) -> config.Resolved:
    """Return the settings that follow from `sources`, each with its namespace; later ones count before earlier ones.

    Raises ImproperlyConfigured for a value that a setting cannot have.
    """
    defaults, origins = ({}, {}) if framework is None else (framework.settings(), framework.sources())
    found = config.Resolved(config.Settings(), {}, [], [])
    for source, namespace in sources:
        found = config.resolve(
            as_mapping(source, namespace),
            namespace=namespace,
            defaults=defaults,
            origins=origins,
            before=found,
        )
    return found


def as_mapping(source: Any, namespace: str | None) -> Mapping[str, Any]:
    """Return the settings in `source`; of an object only what may be ours, as reading others can warn (Django's)."""
    if isinstance(source, str):
        module, _, attribute = source.partition(":")
        source = importlib.import_module(module)
        if attribute:
            source = getattr(source, attribute)
    if isinstance(source, Mapping):
        return source
    names = [name for name in dir(source) if not name.startswith("_")]
    return {name: getattr(source, name) for name in names if config.canonical(name, namespace) is not None}
