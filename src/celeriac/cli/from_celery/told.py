"""The table of Celery's names, with what the code itself says of settings, flags and commands."""

import re
from collections.abc import Mapping

from celeriac import celery_settings, config
from celeriac.cli.from_celery.names import (
    ABSENT_HERE,
    APP,
    CALL,
    COMMANDS_OF_CELERY,
    EXCEPTIONS,
    FIXTURES,
    FLAGS_ABSENT,
    FLAGS_DIFFER,
    FLAGS_SAME,
    LATER,
    OWN_SETTINGS,
    REQUEST,
    RESULT,
    RESULT_SETS,
    SCHEDULES,
    SETTINGS_DIFFER,
    SIGNALS,
    TASK,
    Section,
)
from celeriac.cli.options import IGNORED, REFUSED
from celeriac.cli.program import ABSENT, COMMANDS


def settings() -> Section:
    """Return what the table of settings and `celery_settings` say."""
    both = [name for name in config.ROWS if name not in OWN_SETTINGS]
    others = _apart({**celery_settings.NOT_YET, **celery_settings.MOOT})
    parts: dict[str, str] = {}
    for name, setting in celery_settings.IN_URL.items():
        parts[name] = f"part of `{setting}`"
    beginnings = " ".join(f"{beginning}*" for beginning in celery_settings.OTHER_BACKENDS)
    return Section(
        "Settings",
        "Under their new names; the old ones are understood as well, see [Settings](settings.md). What is not here is "
        "accepted and told when a worker starts.",
        same=" ".join(sorted(set(both) - SETTINGS_DIFFER.keys())),
        differs=SETTINGS_DIFFER,
        later=others[LATER],
        absent={
            **others[ABSENT_HERE],
            **_shared(parts),
            beginnings: "there is no result store of that kind",
        },
    )


def flags() -> Section:
    """Return what `celeriac worker` says of Celery's flags."""
    ignored = {"/".join(names): reason for names, (_, reason) in IGNORED.items()}
    others = _apart(ignored)
    refused = {"/".join(names): reason for names, (_, reason) in REFUSED.items()}
    return Section(
        "Flags of the worker",
        "Those that are not here yet are accepted, and told; `--detach` and those below it are refused.",
        same=FLAGS_SAME,
        differs=FLAGS_DIFFER,
        later=others[LATER],
        absent={**others[ABSENT_HERE], **FLAGS_ABSENT, **refused},
    )


def commands() -> Section:
    """Return what the program says of Celery's commands."""
    others = _apart(ABSENT)
    return Section(
        "Commands",
        same=" ".join(sorted(COMMANDS_OF_CELERY & COMMANDS.keys())),
        later=others[LATER],
        absent=others[ABSENT_HERE],
    )


def sections() -> list[Section]:
    """Return all sections, in the order of the page."""
    return [
        TASK, CALL, REQUEST, APP, RESULT, RESULT_SETS, SCHEDULES, SIGNALS, EXCEPTIONS, settings(), flags(),
        commands(), FIXTURES,
    ]  # fmt: skip


def _apart(reasons: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Part what comes later from what does not come, by what its reason says."""
    found: dict[str, dict[str, str]] = {LATER: {}, ABSENT_HERE: {}}
    for name, reason in reasons.items():
        later = re.search(r"\b(later|yet|in this release)\b", reason) is not None
        found[LATER if later else ABSENT_HERE][name] = reason
    return {state: _shared(each) for state, each in found.items()}


def _shared(reasons: Mapping[str, str]) -> dict[str, str]:
    """Put the names that share a reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in sorted(reasons.items()):
        names.setdefault(reason, []).append(name)
    return {" ".join(shared): reason for reason, shared in names.items()}
