"""When a failed task is to run again: pure arithmetic, as Celery does it (celery/utils/time.py)."""

import random


def backoff(retries: int, factor: float, maximum: float, jitter: bool) -> float:
    """Return the seconds to wait before retry number `retries` (0 for the first).

    `factor` * 2**retries, at most `maximum`; with `jitter` a random whole number between 0 and that.
    """
    # 2**63 is beyond any maximum; the bound keeps a huge count of retries from making a huge number.
    seconds: float = min(maximum, int(max(1.0, factor)) * 2 ** min(retries, 63))
    if jitter:
        seconds = random.randrange(int(seconds) + 1)  # noqa: S311 - spreads load, guards nothing
    return max(0, seconds)
