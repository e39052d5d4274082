"""What settings name to be imported: keepers by the scheme of a URL, shared by `brokers` and `stores`; dotted names.

A keeper's constructor takes the URL and the settings: `Keeper(url, settings)`.
"""

import difflib
import importlib
import re
from typing import Any, Generic, TypeVar

from celeriac.errors import ImproperlyConfigured, NotInstalled, UnknownScheme

K = TypeVar("K")

# `?password=...`, `&ssl_keyfile_password=...`
_IN_QUERY = re.compile(r"([?&][^=&]*password=)[^&#]*", re.IGNORECASE)


class Keepers(Generic[K]):
    """The known keepers of one contract. `built_in` maps a scheme to ("module:Class", extra to install)."""

    def __init__(self, *, setting: str, group: str, built_in: dict[str, tuple[str, str]]) -> None:
        self._setting = setting
        self._group = group
        self._built_in = built_in

    def open(self, url: str, settings: Any) -> K:
        """Return the keeper that answers to `url`; raises UnknownScheme or NotInstalled."""
        scheme = url.partition("://")[0].partition(":")[0].lower()
        target, extra = self._built_in.get(scheme) or (self._third_party(scheme), "")
        if not target:
            raise UnknownScheme(self._unknown_text(scheme, url))
        module, _, name = target.partition(":")
        try:
            keeper = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if not extra or (error.name or "").startswith("celeriac"):
                raise
            raise NotInstalled(
                f"{self._setting} {mask(url)} needs the package {error.name!r}. Install it: "
                f"pip install 'celeriac[{extra}]'"
            ) from None
        made: K = keeper(url, settings)
        return made

    def _third_party(self, scheme: str) -> str:
        from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and rarely needed

        for entry in entry_points(group=self._group):
            if entry.name == scheme:
                return entry.value
        return ""

    def _unknown_text(self, scheme: str, url: str) -> str:
        near = difflib.get_close_matches(scheme, self._built_in, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return (
            f"{self._setting} is {mask(url)!r}, and there is no {scheme!r} here.{hint} "
            f"Known: {', '.join(sorted(self._built_in))}."
        )


def mask(url: str) -> str:
    """Return `url` with its password replaced by stars, for logs, banners and errors."""
    url = _IN_QUERY.sub(r"\1***", url)
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    credentials, at, host = rest.rpartition("@")
    if not at:
        return url
    user, colon, _password = credentials.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}@{host}"


def imported(path: str, setting: str) -> Any:
    """Return what a dotted name, `module.name` or `module:name`, in a setting stands for."""
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImproperlyConfigured(f"{setting} names {path!r}, which cannot be imported: {error}.") from error
