"""One run of an entry at a time, where its schedule says `overlap="skip"`: what its messages say of that.

Beat publishes such a message only where the office of the entry is free, and in that step the message's id takes it
(`Broker.fire`). Whoever settles the end of its task resigns it in the step that settles. So a run that waits, is
retried, or runs again since its worker died still holds it, and whoever is killed, it is free when the run has ended.
"""

from celeriac.broker import run_office
from celeriac.message.message import Message

#: After so many seconds the next run is sent all the same: the message may have been purged, or been run by Celery.
LONGEST = 86400.0
#: The header that says for which entry the office is held.
HEADER = "periodic_task_alone"


def ended(message: Message) -> tuple[str, str] | None:
    """Return the office that is to be resigned when the task has ended, and who holds it; None: there is none."""
    entry = message.custom and message.custom.get(HEADER)
    return (run_office(entry), message.headers.id) if isinstance(entry, str) else None
