"""System checks for production, which `manage.py check --deploy` runs: what is for development only, what is open."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks

from celeriac.config import Settings
from celeriac.django.checks.declared import found
from celeriac.django.checks.keepers import urls
from celeriac.django.checks.project import resolved
from celeriac.errors import CeleriacError, ImproperlyConfigured
from celeriac.schemes import mask

_PICKLE = frozenset({"pickle", "application/x-python-serialize"})
#: With TLS, or over a socket of this machine, nobody else reads along.
_PLAIN = ("redis", "valkey")
_HERE = ("", "localhost", "::1")


def check_production(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[checks.CheckMessage]:
    """What must not stay so where others rely on it."""
    try:
        conf = resolved().settings
    except ImproperlyConfigured:
        return []  # said by check_settings
    return [*_check_urls(conf), *_check_eager(conf), *_check_pickle(conf), *_check_expiry(conf)]


def _check_urls(conf: Settings) -> list[checks.CheckMessage]:
    messages = []
    for setting, url, _ in urls(conf):
        if _scheme(url) == "memory":
            kept = "messages are" if setting == "broker_url" else "results are"
            messages.append(
                found("W020", f"{setting} is {url!r}: {kept} lost when a process ends, and seen by no other.")
            )
        elif _scheme(url) in _PLAIN and _is_open(url):
            messages.append(found("W022", f"{setting} is {mask(url)!r}, without a password."))
    return messages


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()


def _is_open(url: str) -> bool:
    from celeriac.redis_client.address import parse  # noqa: PLC0415 - only where Redis is used

    try:
        address = parse(url)
    except CeleriacError:
        return False  # said by check_keepers
    host = address.place.host
    return not (host in _HERE or host.startswith("127.") or address.password)


def _check_eager(conf: Settings) -> list[checks.CheckMessage]:
    if not conf.task_always_eager:
        return []
    return [found("W021", "task_always_eager is on: no task goes to a worker.")]


def _check_pickle(conf: Settings) -> list[checks.CheckMessage]:
    # Messages that are signed are read only where the signature is ours; results are never signed.
    signed = conf.task_signing and conf.task_signing_optional_until is None
    read = {"accept_content": [] if signed else conf.accept_content}
    if conf.result_backend is not None:
        read["result_accept_content"] = (
            conf.accept_content if conf.result_accept_content is None else conf.result_accept_content
        )
    names = [name for name, content in read.items() if not _PICKLE.isdisjoint(content)]
    if not names:
        return []
    return [found("W023", f"Pickle is accepted by {' and '.join(names)}.")]


def _check_expiry(conf: Settings) -> list[checks.CheckMessage]:
    if conf.result_backend is None or conf.result_backend.startswith("disabled") or conf.result_expires:
        return []
    return [found("W024", "result_expires is None: the results of all tasks that ever ran are kept.")]
