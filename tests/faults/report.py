"""The battery's account as one table, at the end and in var/faults.md: what became of the tasks of each scenario.

`make faults` loads this as a pytest plugin. Each test that is marked `scenario("b")` makes a row, of what
`make_project` has noted when the test was over (`tests.scenarios.account`). The run fails if anything was lost, stuck,
or run twice at a time, whatever the test itself thinks of it.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.account import CONCURRENT, DEAD, LOST, NO_CAUSE, ONCE, REPEATED

#: The scenarios by their letters. i and n are those of schedules and of canvases.
TITLES = {
    "a": "a child is killed",
    "b": "the whole worker is killed",
    "c": "SIGTERM",
    "d": "the broker is killed",
    "e": "the broker is frozen or cut off",
    "f": "poison",
    "g": "hang",
    "h": "garbage",
    "j": "the result store is away",
    "k": "many scheduled tasks",
    "l": "disk or memory full",
    "m": "longer than the lease",
    "o": "the sender is killed",
    "p": "soak",
    "q": "an hour off",
    "kills": "a child is killed every 200 ms",
    "names": "two workers of one name",
    "orphans": "the supervisor is killed",
    "deploys": "deploying in a loop",
    "pid 1": "process 1 of a container",
    "steps": "a crash at every step",
}
COLUMNS = (
    "scenario",
    "test",
    "accepted",
    "done once",
    "repeated",
    "dead letters",
    "lost",
    "stuck",
    "concurrent",
    "recovery",
    "worker deaths",
    "verdict",
)
FILE = Path(__file__).parents[2] / "var" / "faults.md"


class Table:
    """Gathers rows from the tests' reports, in this process or from those that run tests for it."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []
        self.faults = 0
        self._verdicts: dict[str, str] = {}
        self._config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid
        if report.failed:
            self._verdicts[name] = "FAILED"
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self._verdicts[name] = reason.removeprefix("Skipped: ")
        if report.when == "teardown":
            verdict = self._verdicts.pop(name, "passed")
            for key, value in report.user_properties:
                if key == "battery":
                    self._add(name, value, verdict)

    def _add(self, name: str, noted: Any, verdict: str) -> None:
        fates = Counter(noted["fates"])
        repeated = {fate.removeprefix(REPEATED): n for fate, n in fates.items() if fate.startswith(REPEATED)}
        worst = fates[LOST] + noted["stuck"] + fates[CONCURRENT] + fates[NO_CAUSE]
        self.faults += worst
        recoveries = noted["recoveries"]
        row = (
            f"{noted['scenario']}: {TITLES[noted['scenario']]}",
            name.rpartition("::")[2].removeprefix("test_").replace("|", " "),
            str(sum(fates.values())),
            str(fates[ONCE]),
            ", ".join(f"{n} {cause}" for cause, n in repeated.items()) or "0",
            str(fates[DEAD]),
            str(fates[LOST]),
            str(noted["stuck"]),
            str(fates[CONCURRENT]),
            f"{max(recoveries):.2f} s" if recoveries else "",
            str(noted["deaths"]),
            verdict if verdict != "passed" or not worst else "FAULT",
        )
        self.rows.append(row)
        terminal = self._config and self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal:
            terminal.write_line("")
            words = (f"{column} {cell}" for column, cell in zip(COLUMNS[2:], row[2:], strict=True) if cell)
            terminal.write_line(f"  {row[0]}, {row[1]}: " + ", ".join(words))

    @property
    def lines(self) -> list[str]:
        """The table in Markdown, its columns in line."""
        rows = [COLUMNS, *sorted(self.rows)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
        text = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in rows
        ]
        return [text[0], "| " + " | ".join("-" * width for width in widths) + " |", *text[1:]]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.faults and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.rows:
            return
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text("\n".join(self.lines) + "\n")
        terminalreporter.section("the battery")
        for line in self.lines:
            terminalreporter.write_line(line)
        terminalreporter.write_line(
            f"{self.faults} tasks lost, stuck, concurrent, or repeated without a cause. This table: var/{FILE.name}."
        )


def pytest_configure(config: pytest.Config) -> None:
    """Have the table where results come together; processes that only run tests for it have none."""
    if not hasattr(config, "workerinput"):
        table = Table()
        table.pytest_configure(config)
        config.pluginmanager.register(table, "battery")
