"""The chart: a small panel of bars per row, ours in colour, as plain SVG written by hand."""

from html import escape

from .plan import Row
from .report import Summary, number
from .roster import CONTENDERS
from .run import Series

WIDTH, COLUMNS, GAP, MARGIN = 980, 2, 28, 24
BAR, STEP, LABELS, VALUES = 15, 21, 165, 74
COLOURS = {"ours": "#2f7d4f", "peer": "#9aa5b1", "reference": "#d9c58b"}
_FONT = "font-family='system-ui, Helvetica, Arial, sans-serif'"


def draw(summary: Summary) -> str:
    """The whole picture."""
    panel_width = (WIDTH - 2 * MARGIN - GAP * (COLUMNS - 1)) / COLUMNS
    heights = [float(MARGIN + 58)] * COLUMNS
    parts: list[str] = []
    for row in summary.rows:
        for metric, title in row.charted():
            panel = _panel(row, metric, title, summary.results[row.name], panel_width)
            if panel is None:
                continue
            drawing, height = panel
            column = heights.index(min(heights))
            x = MARGIN + column * (panel_width + GAP)
            parts.append(f"<g transform='translate({x:.0f} {heights[column]:.0f})'>{drawing}</g>")
            heights[column] += height + GAP
    height = max(heights)
    head = f"{summary.machine.cores} cores, 2 worker processes, median of {summary.rounds} rounds, {summary.date}"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' width='{WIDTH}' {_FONT}>"
        f"<rect width='{WIDTH}' height='{height:.0f}' fill='#ffffff'/>"
        f"<text x='{MARGIN}' y='{MARGIN + 8}' font-size='17' font-weight='600' fill='#1f2933'>"
        "celeriac beside its peers</text>"
        f"<text x='{MARGIN}' y='{MARGIN + 27}' font-size='12' fill='#52606d'>{escape(head)}</text>"
        f"{''.join(parts)}</svg>\n"
    )


def _panel(
    row: Row, metric: str, title: str, found: dict[str, Series], width: float
) -> tuple[str, float] | None:
    goal = next(goal for goal in row.goals if goal.metric == metric)
    bars = [
        (CONTENDERS[name], value)
        for name, series in found.items()
        if (value := series.median(metric)) is not None
    ]
    bars = [(contender, max(0.0, value)) for contender, value in bars]
    if not bars:
        return None
    bars.sort(key=lambda bar: bar[1], reverse=goal.better == "more")
    most = max(value for _, value in bars) or 1.0
    room = width - LABELS - VALUES
    less = ", less is better" if goal.better == "less" else ""
    title = f"{title} ({'p50, ' if metric == 'p50' else ''}{goal.unit}{less})"
    out = [f"<text y='0' font-size='12.5' font-weight='600' fill='#1f2933'>{escape(title)}</text>"]
    for index, (contender, value) in enumerate(bars):
        y = 12 + index * STEP
        length = max(1.0, room * value / most)
        weight = " font-weight='600'" if contender.kind == "ours" else ""
        out.append(
            f"<text x='{LABELS - 8}' y='{y + 12}' text-anchor='end' font-size='12' fill='#323f4b'{weight}>"
            f"{escape(contender.label)}</text>"
            f"<rect x='{LABELS}' y='{y}' width='{length:.1f}' height='{BAR}' rx='2' fill='{COLOURS[contender.kind]}'/>"
            f"<text x='{LABELS + length + 6:.1f}' y='{y + 12}' font-size='12' fill='#323f4b'{weight}>"
            f"{escape(number(value))}</text>"
        )
    return "".join(out), 12 + len(bars) * STEP
