"""When a schedule is due, shown before it is saved: in words, the next five times, and times that clocks skip.

Made on the server for the page as it is loaded, and asked for by `schedule.js` whenever a field changes.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from celeriac.django.admin import code_entries
from celeriac.django.models import Schedule
from celeriac.django.schedule import Kind
from celeriac.django.schedule_rules import WRONG, project_zone
from celeriac.schedules import crontab
from celeriac.schedules.walltime import next_change, wall_time, zone_of

COUNT = 5
#: How far ahead times are looked for that clocks skip. From one last Sunday of March to the next it is up to 371 days.
_YEAR = timedelta(days=372)
_MINUTE = timedelta(minutes=1)


def preview(row: Schedule, errors: list[str] | None = None) -> dict[str, Any]:
    """Return what there is to show of a schedule, as JSON has it; `errors` are those of its fields."""
    if errors:
        return {"words": "", "problem": " ".join(errors), "zone": "", "runs": [], "warnings": []}
    try:
        zone = zone_of(row.timezone or None) or project_zone()
        runs = _runs(row, zone)
        words = row.words
        warnings = _skipped(row, zone)
    except WRONG as error:
        return {"words": "", "problem": str(error), "zone": "", "runs": [], "warnings": []}
    return {
        "words": words,
        "problem": "",
        "zone": str(zone),
        "runs": [
            {"at": run.astimezone(UTC).isoformat(), "there": _text(run, zone), "here": _here(run)}
            for run in runs
        ],
        "warnings": warnings,
    }


def _runs(row: Schedule, zone: tzinfo) -> list[datetime]:
    if row.kind == Kind.CODE:
        entry = code_entries.of([row]).get(row.name)
        return [] if entry is None else code_entries.next_runs(row, entry, COUNT, zone)
    enabled, row.enabled = row.enabled, True  # what is paused would run then
    try:
        return row.next_runs(COUNT, zone)
    finally:
        row.enabled = enabled


def _text(moment: datetime, zone: tzinfo) -> str:
    local = moment.astimezone(zone)
    return f"{date_format(local, 'D')} {local:%Y-%m-%d %H:%M:%S} {local:%Z}"


def _here(moment: datetime) -> str:
    """The time as the viewer's clock shows it, as far as the server knows: a script does it better."""
    return _text(moment, timezone.get_current_timezone())


def _skipped(row: Schedule, zone: tzinfo) -> list[str]:
    """Tell of times within a year that clocks skip, as they are put forward."""
    when = None if row.kind == Kind.CODE else row.schedule
    # What is due in every hour goes by real hours and misses nothing.
    if not isinstance(when, crontab) or len(when.hour) == 24:
        return []
    found, moment, end = [], datetime.now(UTC), datetime.now(UTC) + _YEAR
    while (change := _next_change(moment, zone)) is not None and change < end:
        before, after = wall_time(change - _MINUTE, zone) + _MINUTE, wall_time(change, zone)
        minute = before
        while minute < after and not _matches(when, minute):
            minute += _MINUTE
        if minute < after:
            found.append(
                _(
                    "%(time)s does not exist on %(day)s in %(zone)s: the clocks go forward. It runs at %(then)s."
                )
                % {
                    "time": f"{minute:%H:%M}",
                    "day": date_format(minute.date(), "DATE_FORMAT"),
                    "zone": zone,
                    "then": f"{after:%H:%M}",
                }
            )
        moment = change
    return found


def _next_change(moment: datetime, zone: tzinfo) -> datetime | None:
    """Return when clocks change next within a year; steps are short enough that two changes do not hide each other."""
    for days in range(0, _YEAR.days, 14):
        start = moment + timedelta(days=days)
        change = next_change(start, start + timedelta(days=14), zone)
        if change is not None:
            return change
    return None


def _matches(when: crontab, wall: datetime) -> bool:
    return (
        wall.minute in when.minute
        and wall.hour in when.hour
        and wall.day in when.day_of_month
        and wall.month in when.month_of_year
        and wall.isoweekday() % 7 in when.day_of_week
    )


def shown(found: dict[str, Any], url: str) -> SafeString:
    """Return it as HTML, in the form that `schedule.js` makes as well; it asks `url` for more."""
    rows = format_html_join(
        "",
        '<tr><td>{}</td><td><time datetime="{}">{}</time></td></tr>',
        ((run["there"], run["at"], run["here"]) for run in found["runs"]),
    )
    warnings = format_html_join(
        "", '<p class="celeriac-note celeriac-warning">{}</p>', ((text,) for text in found["warnings"])
    )
    return format_html(
        '<div id="celeriac-preview" data-url="{}" aria-live="polite">'
        '<p class="celeriac-words">{}</p><p class="celeriac-error"{}>{}</p>'
        '<table{} aria-label="{}"><thead><tr><th scope="col">{}</th>'
        '<th scope="col">{}</th></tr></thead><tbody>{}</tbody></table>'
        '<p class="celeriac-quiet celeriac-never"{}>{}</p><div class="celeriac-warnings">{}</div></div>',
        url,
        found["words"],
        "" if found["problem"] else SafeString(" hidden"),
        found["problem"],
        "" if found["runs"] else SafeString(" hidden"),
        _("The next runs"),
        found["zone"],
        _("your time"),
        rows,
        SafeString(" hidden") if found["runs"] or found["problem"] else "",
        _("It is not due any more."),
        warnings,
    )
