"""What a failed exchange means, in words, for the errors of the broker and of the store. Never a password."""

from celeriac.redis_client.connection import Lost, ServerError, Unsent

#: All that the client raises.
FAILURES = (Unsent, Lost, ServerError)
Failure = Unsent | Lost | ServerError

#: Refusals that say something of the server's state, not of what was asked: the same may succeed later.
_STATES = frozenset(
    "LOADING READONLY MISCONF OOM BUSY MASTERDOWN CLUSTERDOWN NOREPLICAS TRYAGAIN UNKILLABLE".split()
)
_LOGIN = frozenset({"WRONGPASS", "NOAUTH", "NOPERM"})


def is_outage(failure: Failure) -> bool:
    """Return whether the server is away or not able, so that it is worth trying again later."""
    return not isinstance(failure, ServerError) or failure.kind in _STATES


def explain(failure: Failure, url: str) -> str:
    """Return one sentence on what happened; `url` is to be without its password."""
    match failure:
        case Unsent():
            tries = f", tried {failure.tries} times in {failure.seconds:.1f} s" if failure.tries > 1 else ""
            return f"Cannot reach {url} ({failure.reason}{tries})."
        case Lost():
            return f"Lost the connection to {url} ({failure.reason})."
    if failure.kind == "TOOOLD":
        return f"{url} cannot be used: {str(failure).removeprefix('TOOOLD ')}."
    words = str(failure).rstrip(".")
    if failure.kind in _LOGIN:
        return f"{url} does not let us in: {words}. Check the user and the password in the URL."
    return f"{url} refuses: {words}."
