"""How a delivery is settled and what is stored of its run, given the outcome that `execute` returned.

Asked by the pools, by what settles for processes that died, by the eager mode and by the test kit. Never talks to a
broker or a store.
"""

import time

from celeriac import states
from celeriac.broker import Action, Settlement
from celeriac.config import Settings
from celeriac.message.message import details_of
from celeriac.overlap import ended
from celeriac.run import Outcome, Run
from celeriac.store import Record
from celeriac.unpacking import Codec


class Settling:
    """Tells it for the worker `hostname`."""

    def __init__(self, conf: Settings, codec: Codec, hostname: str) -> None:
        self._codec = codec
        self._hostname = hostname
        self._ignore_result = conf.task_ignore_result
        self._store_errors = conf.task_store_errors_even_if_ignored

    def stores(self, run: Run, state: str = states.SUCCESS) -> bool:
        """Return whether a record of `state` is to be stored for this run."""
        if state == states.IGNORED:
            return False
        task = run.task
        ignored = run.message.headers.ignore_result
        if ignored is None:
            ignored = task.ignore_result if task is not None else None
        if ignored is None:
            ignored = self._ignore_result
        if not ignored:
            return True
        errors = task.store_errors_even_if_ignored if task is not None else None
        return state == states.FAILURE and (self._store_errors if errors is None else errors)

    def settlement(self, run: Run, outcome: Outcome) -> Settlement:
        """Return how the delivery of a run ends, given its outcome."""
        state = outcome.state
        record = self.record(run, outcome) if self.stores(run, state) else None
        frees = ended(run.message) if run.message.custom else None
        if state == states.SUCCESS:
            return Settlement(run.tag, publish=outcome.publish, record=record, frees=frees)
        if outcome.dead is not None:
            return Settlement(
                run.tag, Action.DEAD, reason=outcome.dead, publish=outcome.publish, record=record, frees=frees
            )
        if outcome.requeue:
            payload = self._codec.encode(run.message, run.queue) if outcome.counted else None
            return Settlement(run.tag, Action.PUT_BACK, payload=payload)
        if outcome.retry is not None:
            return Settlement(run.tag, publish=(outcome.retry,), record=record)
        return Settlement(run.tag, publish=outcome.publish, record=record, frees=frees)

    def record(self, run: Run, outcome: Outcome) -> Record:
        """Return what is to be stored of a run."""
        headers = run.message.headers
        properties = run.message.properties
        request = run.request
        children = None if request is None else request.children
        return Record(
            headers.id,
            outcome.state,
            outcome.result,
            outcome.traceback,
            headers.task,
            headers.argsrepr or "",
            headers.kwargsrepr or "",
            run.queue,
            self._hostname,
            headers.retries or 0,
            properties.celeriac_losses,
            properties.timestamp,
            run.started or None,
            outcome.finished or time.time(),
            headers.root_id,
            headers.parent_id,
            headers.group,
            [child.as_tuple() for child in children] if children else None,
            details_of(run.message),
        )
