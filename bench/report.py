"""From series to verdicts: each goal with our figure, the ratios to the peers, met or not; as text, Markdown, JSON.

A ratio is the median over rounds of ours against theirs in the same round, turned so that more is better.
"""

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .machine import Machine
from .plan import Goal, Row
from .roster import CONTENDERS
from .run import Run, Series

CELERY = "celery"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal beside what was measured."""

    goal: Goal
    row: str
    value: float | None
    spread: tuple[float, float] | None
    over_celery: float | None
    best: str | None
    best_value: float | None
    over_best: float | None
    met: bool | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All that the report says."""

    date: str
    minutes: float
    command: str
    rounds: int
    machine: Machine
    rows: list[Row]
    results: dict[str, dict[str, Series]]
    verdicts: list[Verdict]


def summarise(run: Run, machine: Machine, *, command: str, minutes: float) -> Summary:
    """Judge a finished run."""
    verdicts = [_judge(goal, row, run.results[row.name]) for row in run.rows for goal in row.goals]
    date = datetime.now(UTC).date().isoformat()
    return Summary(date, minutes, command, run.rounds, machine, run.rows, run.results, verdicts)


def _judge(goal: Goal, row: Row, found: dict[str, Series]) -> Verdict:
    ours = found[goal.ours]
    value = ours.median(goal.metric)
    peers = {
        name: ratio
        for name, series in found.items()
        if CONTENDERS[name].kind == "peer"
        and not name.startswith(CELERY)
        and (ratio := _ratio(ours, series, goal)) is not None
    }
    best = min(peers, key=lambda name: peers[name], default=None)
    over_celery = _ratio(ours, found[CELERY], goal) if CELERY in found else None
    over_best = peers[best] if best else None
    taken = ours.values.get(goal.metric)
    return Verdict(
        goal=goal,
        row=row.name,
        value=value,
        spread=(min(taken), max(taken)) if taken else None,
        over_celery=over_celery,
        best=best,
        best_value=found[best].median(goal.metric) if best else None,
        over_best=over_best,
        met=_met(goal, value, over_celery, over_best),
    )


def _met(goal: Goal, value: float | None, over_celery: float | None, over_best: float | None) -> bool | None:
    """Whether the figure and all ratios asked for are reached; None when something was not measured."""
    asked: list[tuple[float | None, float | None]] = [
        (goal.over_celery, over_celery),
        (goal.over_best, over_best),
    ]
    if value is None or any(wanted is not None and got is None for wanted, got in asked):
        return None
    reached = value >= goal.target if goal.better == "more" else value <= goal.target
    return reached and all(wanted is None or (got or 0) >= wanted for wanted, got in asked)


def _ratio(ours: Series, theirs: Series, goal: Goal) -> float | None:
    mine, other = ours.values.get(goal.metric), theirs.values.get(goal.metric)
    if not mine or not other:
        return None
    pairs = list(zip(mine, other, strict=False))
    turned = [(a, b) if goal.better == "more" else (b, a) for a, b in pairs]
    return statistics.median(a / b if b > 0 else float("inf") for a, b in turned)


def number(value: float | None) -> str:
    """A figure with as many digits as it deserves."""
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{number(ratio)} x"


def _asked(goal: Goal) -> str:
    sign = ">=" if goal.better == "more" else "<="
    words = [f"{sign} {goal.target:,g} {goal.unit}"]
    words += [f">= {goal.over_celery:g} x Celery"] if goal.over_celery else []
    words += [f">= {goal.over_best:g} x the best peer"] if goal.over_best else []
    return ", ".join(words)


def _met_word(met: bool | None) -> str:
    return {True: "met", False: "not met", None: "not measured"}[met]


def _rounds(summary: Summary) -> str:
    return "1 round" if summary.rounds == 1 else f"{summary.rounds} rounds"


def _lines(summary: Summary) -> Iterator[tuple[str, ...]]:
    for verdict in summary.verdicts:
        goal = verdict.goal
        best = f"{_times(verdict.over_best)} ({CONTENDERS[verdict.best].label})" if verdict.best else "-"
        value = f"{number(verdict.value)} {goal.unit}" if verdict.value is not None else "-"
        yield goal.title, _asked(goal), value, _times(verdict.over_celery), best, _met_word(verdict.met)


RATIOS = (
    "A ratio is taken within a round, where both sides ran seconds apart, and the median of the rounds is shown; "
    "more is better for us, also where less of something is the goal."
)
#: What `bench.beat` and `bench.admin_pages` have measured.
ASIDE = tuple(Path(__file__).with_name(name) for name in ("beat.md", "admin_pages.md"))
HEADINGS = ("", "goal", "celeriac", "over Celery", "over the best other peer", "")


def show(summary: Summary, console: Console) -> None:
    """Print the verdicts."""
    table = Table(*HEADINGS, title=f"median of {_rounds(summary)}, {summary.minutes:.1f} minutes")
    colours = {"met": "green", "not met": "red"}
    for *cells, met in _lines(summary):
        table.add_row(*(cell.replace("`", "") for cell in cells), met, style=colours.get(met))
    console.print(table)


def as_markdown(summary: Summary) -> str:
    """The page for readers."""
    machine = summary.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    met = sum(verdict.met is True for verdict in summary.verdicts)
    taken_on = (
        f"{summary.date}, {machine.cores} cores ({machine.architecture}), {machine.memory_gb:g} GB of memory, "
        f"load {machine.load:g} at the start; Python {machine.python}, SQLite {machine.sqlite}, "
        f"Redis {machine.redis} without persistence. {packages}."
    )
    taken_how = (
        f"`{summary.command}` gave them in {summary.minutes:.0f} minutes: medians of {_rounds(summary)}, a no-op "
        f"task with one int argument, 2 worker processes. {met} of {len(summary.verdicts)} goals met."
    )
    out = [
        "# Results",
        "",
        taken_on,
        "",
        taken_how,
        "",
        "![celeriac beside its peers](results.svg)",
        "",
        "## Goals",
        "",
        _row(HEADINGS),
        _row(["---"] * len(HEADINGS)),
        *(_row(line) for line in _lines(summary)),
        "",
        RATIOS,
        "",
        "## All figures",
        "",
        "Median, and in brackets the least and the most of the rounds.",
    ]
    for row in summary.rows:
        out += [
            "",
            f"### {row.title}",
            "",
            *([row.remark, ""] if row.remark else []),
            *_row_table(row, summary.results[row.name]),
        ]
    for page in ASIDE:
        if page.exists():
            out += ["", page.read_text().rstrip()]
    out += ["", "## How the contenders were run", ""]
    out += [
        f"- {c.label}: {c.remark}." for c in CONTENDERS.values() if c.remark and c.name in _present(summary)
    ]
    return "\n".join(out) + "\n"


def _row_table(row: Row, found: dict[str, Series]) -> Iterator[str]:
    units = {goal.metric: goal.unit for goal in row.goals}
    metrics = list(dict.fromkeys(m for series in found.values() for m in series.values if m in units))
    yield _row(["", "tasks", *(f"{_metric(name)}, {units[name]}" for name in metrics)])
    yield _row(["---", *["---:"] * (len(metrics) + 1)])
    for name, series in found.items():
        if series.error and not series.values:
            cells = [f"failed: {series.error.splitlines()[0]}"] + [""] * (len(metrics) - 1)
        else:
            cells = [_spread(series, metric) for metric in metrics]
        kind = CONTENDERS[name].kind
        label = CONTENDERS[name].label
        shown = f"**{label}**" if kind == "ours" else f"*{label}*" if kind == "reference" else label
        yield _row([shown, f"{series.count:,}" if series.count else "", *cells])


def _metric(name: str) -> str:
    words = {"cpu": "CPU", "late": "lateness p99", "start": "start to first task, over `django.setup()`"}
    return words.get(name, name)


def _spread(series: Series, metric: str) -> str:
    taken = series.values.get(metric, [])
    if not taken:
        return "-"
    middle = number(series.median(metric))
    return middle if len(taken) == 1 else f"{middle} ({number(min(taken))} to {number(max(taken))})"


def _present(summary: Summary) -> set[str]:
    return {name for found in summary.results.values() for name in found}


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def as_json(summary: Summary) -> str:
    """The raw figures."""
    raw = {
        "date": summary.date,
        "minutes": round(summary.minutes, 1),
        "command": summary.command,
        "rounds": summary.rounds,
        "machine": asdict(summary.machine),
        "rows": {
            row: {name: asdict(series) for name, series in found.items()}
            for row, found in summary.results.items()
        },
        "goals": [asdict(verdict) for verdict in summary.verdicts],
    }
    return json.dumps(raw, indent=1) + "\n"
