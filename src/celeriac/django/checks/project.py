"""System checks of the settings alone: names, values, routes, time zones.

They make no app of ours, import no task and open nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from celeriac import config, registry
from celeriac.django.checks.declared import found
from celeriac.django.framework import DjangoFramework, project_dict, resolve_project_dict
from celeriac.errors import ImproperlyConfigured, UnknownOption
from celeriac.routing import Router
from celeriac.schedules.walltime import zone_of

#: For how long at most messages may come without a signature before a check says so.
LONG_WAY_OVER = timedelta(days=90)


def resolved() -> config.Resolved:
    """Return the project's settings without making an app of ours for it; raises ImproperlyConfigured."""
    if registry.has_app():
        of_app: config.Resolved = registry.current_app().resolved
        return of_app
    given = {name: getattr(settings, name) for name in dir(settings) if name.startswith("CELERY_")}
    return config.resolve(given, namespace="CELERY", defaults=DjangoFramework().settings())


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[checks.CheckMessage]:
    """Names that are no settings, and values that are of the wrong kind, routes and queues among them."""
    try:
        given, own = resolved(), resolve_project_dict()
    except ImproperlyConfigured as error:
        return [found("E002", str(error))]
    wrong = []
    try:
        Router(given.settings)
    except (ImproperlyConfigured, UnknownOption) as error:
        wrong = [found("E004", str(error))]
    errors = [*given.errors, *(f"In CELERIAC: {text}" for text in own.errors)]
    warnings = [*given.warnings, *(f"In CELERIAC: {text}" for text in own.warnings)]
    return [
        *wrong,
        *(found("E001", text) for text in errors),
        *(found("W001", text) for text in warnings),
        *(found("W013", text) for text in _contradictions(given, own)),
        *(found("W014", text) for text in _way_over(given.settings)),
    ]


def _contradictions(given: config.Resolved, own: config.Resolved) -> list[str]:
    """Return which settings of the CELERIAC dict are overruled. Without their values, which may be secrets."""
    return [
        f"CELERIAC[{written!r}] has no effect: {given.sources[name]} says otherwise, and holds."
        for written in project_dict()
        if (name := config.canonical(written.lower(), None)) in own.sources
        and given.sources.get(name, "").startswith("CELERY_")
        and getattr(given.settings, name) != getattr(own.settings, name)
    ]


def _way_over(conf: config.Settings) -> list[str]:
    """Return what is odd about the time until which messages need not be signed."""
    until = conf.task_signing_optional_until
    if until is None:
        return []
    if not conf.task_signing:
        return ["task_signing_optional_until is set and task_signing is not: nothing is signed or looked at."]
    if until <= datetime.now(UTC):
        return [f"task_signing_optional_until is past ({until}): messages that are not signed are set aside."]
    if until > datetime.now(UTC) + LONG_WAY_OVER:
        what = f"is {until}, more than {LONG_WAY_OVER.days} days ahead"
        return [f"task_signing_optional_until {what}: until then anybody can leave the signature out."]
    return []


def check_times(app_configs: Sequence[AppConfig] | None = None, **options: Any) -> list[checks.CheckMessage]:
    """The time zone: whether there is one of its name, and whether naive times are Django's."""
    try:
        name = resolved().settings.timezone
    except ImproperlyConfigured:
        return []  # said by check_settings
    try:
        ours = zone_of(name)
    except (TypeError, ValueError) as error:
        return [found("E007", f"timezone: {error}")]
    if settings.USE_TZ or same_clocks(ours, zone_of(settings.TIME_ZONE)):
        return []
    return [
        found(
            "W010",
            f"USE_TZ is False, TIME_ZONE is {settings.TIME_ZONE!r} and CELERY_TIMEZONE is {name!r}: a naive time of "
            "Django's, given as eta or expires, is taken for one there.",
        )
    ]


def same_clocks(one: tzinfo | None, other: tzinfo | None) -> bool:
    """Return whether clocks in two zones show the same times this year, under whatever names; None is UTC."""
    year = datetime.now(UTC).year
    months = [datetime(year, month, 1, tzinfo=UTC) for month in range(1, 13)]
    return [month.astimezone(one or UTC).utcoffset() for month in months] == [
        month.astimezone(other or UTC).utcoffset() for month in months
    ]
