"""Messages made ahead of their due time, while the engine has nothing else to do.

Many entries are due at the start of a minute: then their messages only have to be handed to the broker. A message says
nothing of when it was made: its clock is the due time. One whose entry has changed meanwhile, or whose due time is not
simply now, is not used.
"""

from datetime import tzinfo

from msgspec import Struct

from celeriac import signals
from celeriac.app import Celeriac
from celeriac.beat import due
from celeriac.beat.calls import call_for, is_lazy
from celeriac.beat.entries import Entry
from celeriac.broker import Publication

#: How long before its due time a message may be made, and how long after it is used. Seconds.
LEAD, FRESH = 10.0, 5.0


class _Made(Struct):
    entry: Entry
    slot: float
    publication: Publication
    #: The entry's next due time.
    following: float | None


class Ahead:
    """Messages of entries for their next due times."""

    def __init__(self, app: Celeriac, zone: tzinfo) -> None:
        self._app = app
        self._zone = zone
        self._made: dict[str, _Made] = {}
        self._moment = 0.0
        self._sender = app.sender(lambda: self._moment)

    def make(self, entry: Entry, slot: float) -> None:
        """Make the message of an entry for a due time, unless it has to be made then."""
        self._made.pop(entry.name, None)
        task = self._app.tasks.get(entry.task)
        if (
            signals.before_task_publish.receivers
            or is_lazy(entry)
            or (task is not None and task.sends_itself)
        ):
            return
        self._moment = slot
        try:
            call = call_for(entry, slot, slot)
            publication = self._app.publication(entry.task, *call, sender=self._sender)
            following = due.next_slot(entry, slot, self._zone)
        except Exception:
            return  # It is told when it is due, if it still is so then.
        self._made[entry.name] = _Made(entry, slot, publication, following)

    def take(self, entry: Entry, slot: float, now: float) -> Publication | None:
        """Return the message of an entry that is due at `slot` and at no later time; None: it has to be made."""
        made = self._made.pop(entry.name, None)
        if made is None or made.entry is not entry or made.slot != slot:
            return None
        late = now - slot
        if late > FRESH or (entry.deadline is not None and late > entry.deadline):
            return None
        return made.publication if made.following is None or made.following > now else None

    def drop(self, name: str) -> None:
        """Forget the message of an entry."""
        self._made.pop(name, None)

    def clear(self) -> None:
        """Forget all."""
        self._made.clear()
