"""The command: ``python -m bench [--only ROW] [--rounds N] [--quick] [--no-peers]``.

A whole run writes ``RESULTS.md``, ``results.json`` and ``results.svg`` beside this file; a partial one only prints,
unless ``--out`` names a folder.
"""

import argparse
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from . import chart, report
from .machine import Machine
from .plan import BY_NAME, ROWS, Row
from .procs import Failed
from .redis_server import RedisServer, private_redis
from .roster import CONTENDERS
from .run import Options, Run, Step, Watcher

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run what the command line asks for."""
    arguments = _arguments()
    rows = [BY_NAME[name] for name in arguments.only] or list(ROWS)
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    options = Options(rounds=rounds, quick=arguments.quick, peers=not arguments.no_peers)
    whole = len(rows) == len(ROWS) and options.peers and not options.quick
    out: Path | None = arguments.out or (HERE if whole else None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    machine = Machine()
    started = time.monotonic()
    try:
        run = _take(rows, options, machine, console)
    except KeyboardInterrupt:
        console.print("interrupted; nothing written")
        return 130
    minutes = (time.monotonic() - started) / 60
    summary = report.summarise(run, machine, command=_command(arguments, rounds), minutes=minutes)
    report.show(summary, console)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(report.as_json(summary))
        (out / "RESULTS.md").write_text(report.as_markdown(summary))
        (out / "results.svg").write_text(chart.draw(summary))
        console.print(
            f"\nwritten: {', '.join(str(out / n) for n in ('RESULTS.md', 'results.json', 'results.svg'))}"
        )
    return 0


def _take(rows: list[Row], options: Options, machine: Machine, console: Console) -> Run:
    with ExitStack() as stack:
        scratch = HERE.parent / "var"
        scratch.mkdir(exist_ok=True)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=scratch)))
        redis: RedisServer | None = None
        try:
            redis = stack.enter_context(private_redis(folder / "redis"))
            machine.redis = redis.version
        except Failed as failure:
            console.print(f"[yellow]{failure}[/]")
        run = Run(rows, options, folder, redis)
        if machine.load > 0.5 * machine.cores:
            console.print(
                f"[yellow]The machine is busy (load {machine.load}); trust the ratios, not the figures.[/]"
            )
        columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn())
        progress = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        with progress:
            bar = progress.add_task("starting", total=run.steps())
            heard: set[tuple[str, int]] = set()

            def before(step: Step) -> None:
                if (step.row.name, step.round) not in heard:
                    heard.add((step.row.name, step.round))
                    progress.console.print(
                        f"[bold]{step.row.title}[/] [dim]{step.row.name}, round {step.round}"
                    )
                progress.update(bar, description=f"{step.row.name}: {step.contender}")

            def after(step: Step, outcome: str) -> None:
                label = CONTENDERS[step.contender].label
                progress.console.print(f"  {label:<28} {outcome}", markup=False, highlight=False)
                progress.advance(bar)

            run.take(Watcher(before, after))
        return run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = ", ".join(BY_NAME)
    parser.add_argument(
        "--only", action="append", default=[], choices=list(BY_NAME), metavar="ROW", help=names
    )
    parser.add_argument("--rounds", type=int, help="measure each row so many times (3; 1 with --quick)")
    parser.add_argument(
        "--quick", action="store_true", help="a fifth of the tasks: does it work, not how fast"
    )
    parser.add_argument("--no-peers", action="store_true", help="only celeriac")
    parser.add_argument("--out", type=Path, help="write the report here")
    return parser.parse_args()


def _command(arguments: argparse.Namespace, rounds: int) -> str:
    words = ["python -m bench"]
    words += [f"--only {name}" for name in arguments.only]
    words += [f"--rounds {rounds}"] if rounds != 3 and not arguments.quick else []
    words += ["--quick"] if arguments.quick else []
    words += ["--no-peers"] if arguments.no_peers else []
    return " ".join(words)


if __name__ == "__main__":
    sys.exit(main())
