"""`celeriac health`: whether workers of this host live, by the files that they touch about once a second.

The console script answers by itself where it can (`celeriac_health`); this is the same for who comes by another door,
and says what is wrong with the words. Loads the project only where a queue is asked for.
"""

import json

import click

from celeriac.broker import QueueDepth
from celeriac.cli.finding import find_app
from celeriac.cli.program import Command, Session
from celeriac.queue_age import ages
from celeriac_health import MAX_AGE, check

MAX_OLDEST = 300.0

EXAMPLES = """\b
Examples:
  celeriac health                          all workers of this user on this host
  celeriac health --worker mails --max-age 20
  celeriac health --queue mails --max-oldest 300   the queue instead: is it worked off in time?
"""


@click.command(cls=Command, epilog=EXAMPLES)
@click.option("--worker", metavar="NAME", help="That one alone: its name, with or without @host.")
@click.option(
    "--max-age",
    type=click.FloatRange(0, min_open=True, max=1e9),
    default=MAX_AGE,
    metavar="SECONDS",
    help="How long ago a worker may have been heard of. [60]",
)
@click.option(
    "--state-dir",
    metavar="DIR",
    help="The workers' worker_state_dir, if they have one. [CELERIAC_STATE_DIR, or a directory in memory]",
)
@click.option("--queue", metavar="QUEUE", help="Ask the broker for this queue, and not for workers.")
@click.option(
    "--max-oldest",
    type=click.FloatRange(0, min_open=True),
    default=MAX_OLDEST,
    metavar="SECONDS",
    help="How long a task of the queue may have been ready without being started. [300]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with what each worker says.")
@click.pass_obj
def health(
    session: Session,
    worker: str | None,
    max_age: float,
    state_dir: str | None,
    queue: str | None,
    max_oldest: float,
    as_json: bool,
) -> int:
    """Whether the workers of this host live: status 0 if all do, 1 if one has not been heard of, or there is none.

    Answers within milliseconds and looks at neither project nor broker: for probes. With --queue it does: status 1 if
    one of the queue's tasks has waited for too long.
    """
    if queue is None:
        return check(worker, max_age, state_dir, as_json)
    if worker is not None:
        raise click.UsageError("Ask for --worker or for --queue: one host's worker, or the broker's queue.")
    return _check_queue(session, queue, max_oldest, as_json)


def _check_queue(session: Session, queue: str, max_oldest: float, as_json: bool) -> int:
    """Print how long the oldest task of a queue has waited; return the exit status."""
    app = find_app(session)
    ready = app.broker.depths().get(queue, QueueDepth()).ready
    age = ages(app.broker).get(queue)
    healthy = age is None or age <= max_oldest
    if not ready:
        text = f"Nothing waits in {queue}."
    elif age is None:
        text = f"{ready} wait in {queue}; since when, the next one does not say."
    else:
        text = f"{ready} wait in {queue}, the oldest for {age:.0f} s; the limit is {max_oldest:g} s."
    if as_json:
        text = json.dumps({"healthy": healthy, "text": text, "queue": queue, "ready": ready, "oldest": age})
    click.echo(text)
    return 0 if healthy else 1
