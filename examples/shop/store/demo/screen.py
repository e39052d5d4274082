"""What the demo prints: a heading, a progress bar (or a line now and then where there is no terminal), a table, a list
of checks, and what to do next. The command calls it; it asks nobody anything.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.theme import Theme

from store.jobs import error_of

from .account import Check, Line, Tally, percentile

WIDTH = 100  # where nobody says how wide it is: in a file, in a pipe
THEME = Theme({"good": "green", "bad": "bold red", "soft": "bright_black", "name": "bold", "odd": "yellow"})


class Bar(Protocol):
    """Shows how far the demo is."""

    def __enter__(self) -> "Bar": ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, steps: int, ended: int, asked: int) -> None: ...


class Screen:
    """Where the demo prints."""

    def __init__(self) -> None:
        narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
        self.console = Console(theme=THEME, highlight=False, width=None if narrow else WIDTH)

    def bar(self, steps: int) -> Bar:
        return LiveBar(self.console, steps) if self.console.is_terminal else LineBar(self.console, steps)

    def heading(self, text: str, facts: Mapping[str, str]) -> None:
        self.console.print(f"\n  [name]{text}[/]\n")
        self.facts(facts)
        self.console.print()

    def facts(self, facts: Mapping[str, str]) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="soft")
        grid.add_column(overflow="fold")
        for name, text in facts.items():
            grid.add_row(f"  {name}", text)
        self.console.print(grid)

    def title(self, text: str) -> None:
        self.console.print(f"\n  [name]{text}[/]")

    def line(self, text: str) -> None:
        self.console.print(f"  {text}", soft_wrap=True)

    def trouble(self, text: str, log: str = "") -> None:
        self.console.print(f"\n  [bad]✕[/] {text}", soft_wrap=True)
        if log:
            self.console.print(log, style="soft", markup=False, soft_wrap=True)

    def tally(self, tally: Tally) -> None:
        table = Table(
            box=box.SIMPLE_HEAD,
            show_footer=True,
            header_style="soft",
            footer_style="name",
            pad_edge=False,
            collapse_padding=True,
        )
        total = tally.total
        table.add_column("task", total.name, no_wrap=True)
        for heading, value in (
            ("succeeded", total.succeeded),
            ("retried", total.retried),
            ("failed", total.failed),
        ):
            table.add_column(heading, f"{value:,}", justify="right", no_wrap=True)
        for times, values in (("wait", total.waits), ("run", total.runs)):
            for heading, part in ((f"{times}\np50", 0.5), ("\np95", 0.95)):
                table.add_column(heading, duration(percentile(values, part)), justify="right", no_wrap=True)
        for line in tally.lines:
            table.add_row(*_cells(line))
        self.console.print(Padding(table, (0, 0, 0, 1), expand=False))
        count = total.succeeded + total.failed
        pace = f"{count / tally.seconds:,.0f} tasks/s" if tally.seconds else "–"
        self.line(
            f"{count:,} tasks in {duration(tally.seconds)}: [name]{pace}[/], first request to last result"
        )

    def failures(self, tally: Tally) -> None:
        for result in tally.failures:
            self.console.print(
                f"  [bad]✕[/] {_short(result.name)}  [soft]{result.task_id}[/]", soft_wrap=True
            )
            self.console.print(f"    {error_of(result)}", markup=False, soft_wrap=True)

    def checks(self, checks: list[Check]) -> None:
        for check in checks:
            self.line(f"[good]✓[/] {check.text}" if check.ok else f"[bad]✕ {check.text}[/]")


class LiveBar:
    """Two bars that move, on a terminal."""

    def __init__(self, console: Console, steps: int) -> None:
        self._progress = Progress(
            TextColumn("  {task.description:<10}"),
            BarColumn(bar_width=40, complete_style="green", finished_style="green"),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._placed: TaskID = self._progress.add_task("requests", total=steps)
        self._ended: TaskID = self._progress.add_task("tasks done", total=None)

    def __enter__(self) -> "LiveBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, steps: int, ended: int, asked: int) -> None:
        self._progress.update(self._placed, completed=steps)
        self._progress.update(self._ended, completed=ended, total=asked)


class LineBar:
    """A line for every tenth of the way, where there is no terminal."""

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._said = -1

    def __enter__(self) -> "LineBar":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, steps: int, ended: int, asked: int) -> None:
        tenth = 10 * (steps + ended) // max(1, self._steps + asked)
        if tenth != self._said:
            self._said = tenth
            self._console.print(f"  requests {steps:,} of {self._steps:,}, tasks done {ended:,} of {asked:,}")


def duration(seconds: float | None) -> str:
    """Three digits at most: 6 ms, 1.2 s, 3 min 4 s."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def near(path: Path) -> str:
    """The path as one would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _cells(line: Line) -> list[str]:
    failed = f"[bad]{line.failed:,}[/]" if line.failed else "0"
    retried = f"[odd]{line.retried:,}[/]" if line.retried else "0"
    times = [duration(percentile(values, part)) for values in (line.waits, line.runs) for part in (0.5, 0.95)]
    return [_short(line.name), f"{line.succeeded:,}", retried, failed, *times]


def _short(name: str) -> str:
    return name.removeprefix("store.tasks.")
