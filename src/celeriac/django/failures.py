"""A driver's errors in our words: what `celeriac.django.broker` raises, and whether a task was queued.

Every text is one line, names the database, and says what to do where that is known.
"""

from collections.abc import Sequence

from celeriac.broker import Publication
from celeriac.django.session import Session
from celeriac.errors import BrokerDown, BrokerError, CeleriacError

_LOCKED = " Something holds a write transaction open on it; keep those short (WAL and IMMEDIATE help)."


def failed(session: Session, error: Exception) -> CeleriacError:
    """Return what to raise for an error in a call of a worker or of somebody who looks."""
    lacking = session.explain(error)
    if lacking is not None:
        return lacking
    text = f"{session.place}: {one_line(error)}."
    if session.is_unreachable(error):
        return BrokerDown(f"Cannot reach {text}")
    return BrokerError(f"Refused by {text}")


def not_queued(session: Session, error: Exception, publications: Sequence[Publication]) -> CeleriacError:
    """Return what to raise for an error while `publications` were written: were they queued or not?"""
    lacking = session.explain(error)
    if lacking is not None:
        return lacking
    first = publications[0]
    maybe = session.may_have_been_done(error)
    what = f"The task {first.task}" if len(publications) == 1 else f"The {len(publications)} tasks"
    was = "was" if len(publications) == 1 else "were"
    fate = f"may have been queued (id {first.id})" if maybe else f"{was} NOT queued"
    text = f"Cannot write to {session.place}: {one_line(error)}. {what} {fate}."
    if not session.is_unreachable(error):
        return BrokerError(text)
    return BrokerDown(text + (_LOCKED if "locked" in text else ""), maybe_queued=maybe, task_id=first.id)


def one_line(error: Exception) -> str:
    """Return a driver's text on one line, without a full stop."""
    return " ".join(str(error).split()).rstrip(".")
