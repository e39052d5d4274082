"""Times as headers write them: ISO 8601 text, and unix seconds."""

import time
from datetime import UTC, datetime


def parse_time(moment: str) -> float | None:
    """Return the unix time of an ISO 8601 text, None if it is none. Without an offset it counts as UTC."""
    try:
        when = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def is_past(moment: str) -> bool:
    """Return whether an ISO 8601 time is over; one that cannot be read is not."""
    due = parse_time(moment)
    return due is not None and due <= time.time()


def retry_time(when: float | datetime | None) -> float:
    """Return the unix time that a Retry names."""
    if isinstance(when, datetime):
        return when.timestamp()
    return time.time() + (when or 0.0)
