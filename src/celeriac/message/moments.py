"""Times as headers write them: ISO 8601 text, and unix seconds."""

from datetime import UTC, datetime


def parse_time(moment: str) -> float | None:
    """Return the unix time of an ISO 8601 text, None if it is none. Without an offset it counts as UTC."""
    try:
        when = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def is_past(moment: str, now: float) -> bool:
    """Return whether an ISO 8601 time is over at the unix time `now`; one that cannot be read is not."""
    due = parse_time(moment)
    return due is not None and due <= now


def retry_time(when: float | datetime | None, now: float) -> float:
    """Return the unix time that a Retry names at the unix time `now`."""
    if isinstance(when, datetime):
        return when.timestamp()
    return now + (when or 0.0)
