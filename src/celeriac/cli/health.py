"""`celeriac health`: whether workers of this host live, by the files that they touch about once a second.

The console script answers by itself where it can (`celeriac_health`); this is the same for who comes by another door,
and says what is wrong with the words. Loads no project.
"""

import click

from celeriac.cli.program import Command
from celeriac_health import MAX_AGE, check

EXAMPLES = """\b
Examples:
  celeriac health                          all workers of this user on this host
  celeriac health --worker mails --max-age 20
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
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with what each worker says.")
def health(worker: str | None, max_age: float, state_dir: str | None, as_json: bool) -> int:
    """Whether the workers of this host live: status 0 if all do, 1 if one has not been heard of, or there is none.

    Answers within milliseconds and looks at neither project nor broker: for probes.
    """
    return check(worker, max_age, state_dir, as_json)
