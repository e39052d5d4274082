"""Runs console blocks as a reader would: one shell whose folder and environment stay, and servers left running.

A block holds commands after `$ ` and, below each, what it prints. A line of three dots stands for any lines, three dots
in a line for any text. Times of day, durations, ids and version numbers need not be the same.
"""

import codecs
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 300.0

_VARYING = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8}\b|\b[a-f]{8}\b"), "<id>"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s)\b"), "<duration>"),
    (re.compile(r"\b\d+ process(es)?\b"), "<processes>"),
    (re.compile(r"\bwatching \d+ files\b"), "watching <files>"),
    (re.compile(r"\b\d+\.\d+\.\d+\b(?!\.)"), "<version>"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a block and the lines that it is to print."""

    line: str
    output: tuple[str, ...]


def commands(text: str) -> list[Command]:
    """Return the commands of a console block; a command goes on after a backslash."""
    found: list[Command] = []
    lines = iter(text.rstrip("\n").split("\n"))
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command += "\n" + next(lines)
            found.append(Command(command, ()))
        elif found:
            found[-1] = Command(found[-1].line, (*found[-1].output, line))
        else:
            raise AssertionError(f"output before the first command: {line!r}")
    return found


def missing(output: str, expected: tuple[str, ...]) -> str | None:
    """Return the first line of `expected` that `output` does not have in its place, or None."""
    have = [_plain(line) for line in output.split("\n")]
    at, anything = 0, False
    for line in expected:
        if line.strip() in ("...", "…"):
            anything = True
            continue
        wanted = _pattern(line)
        if not line.strip():
            continue
        reach = range(at, len(have)) if anything else _next(have, at)
        found = next((number for number in reach if wanted.fullmatch(have[number])), None)
        if found is None:
            return line
        at, anything = found + 1, False
    return None


def has_line(output: str, line: str) -> bool:
    """Return whether `output` has this line anywhere."""
    wanted = _pattern(line)
    return any(wanted.fullmatch(_plain(had)) for had in output.split("\n"))


def _next(have: list[str], at: int) -> range:
    """The next line that is not empty."""
    while at < len(have) and not have[at]:
        at += 1
    return range(at, min(at + 1, len(have)))


def _plain(line: str) -> str:
    for pattern, stand_in in _VARYING:
        line = pattern.sub(stand_in, line)
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    parts = re.split(r"\.\.\.", _plain(line))
    return re.compile(".*".join(map(re.escape, parts)))


class Terminal:
    """A shell in `folder`. Use as a context manager: what was left running is stopped as by Ctrl-C at the end."""

    def __init__(self, folder: Path, state: Path, environment: Mapping[str, str]) -> None:
        self._cwd = state / "cwd"
        self._state = state / "environment"
        self._cwd.write_text(str(folder))
        self._state.write_text("")
        self._environment = dict(environment)
        self.running: list[Running] = []

    @property
    def folder(self) -> Path:
        """Where the shell is."""
        return Path(self._cwd.read_text().strip())

    def _script(self, command: str) -> str:
        return f'. "{self._state}"\ncd "$(cat "{self._cwd}")"\n{command}\n'

    def run(self, command: Command) -> str:
        """Run a command to its end; it must succeed and print what it is to print."""
        keep = f'status=$?; export -p > "{self._state}"; pwd > "{self._cwd}"; exit $status\n'
        done = subprocess.run(
            ["bash", "-c", self._script(command.line) + keep],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"$ {command.line}\n{done.stdout}\n(exit status {done.returncode})"
        lacking = missing(done.stdout, command.output)
        assert lacking is None, f"$ {command.line}\n{done.stdout}\nlacks the line: {lacking}"
        return done.stdout

    def start(self, command: Command) -> "Running":
        """Start a command, wait until it has printed what it is to print, and leave it running."""
        # A terminal, so that lines come whole and as a reader sees them.
        output, far = os.openpty()
        try:
            process = subprocess.Popen(
                ["bash", "-c", self._script(f"exec {command.line}")],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=far,
                stderr=far,
                start_new_session=True,
            )
        finally:
            os.close(far)
        running = Running(command.line, process, output)
        self.running.append(running)
        running.await_lines(command.output)
        return running

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.running:
            running.end()


class Running:
    """A command in a terminal of its own."""

    def __init__(self, line: str, process: "subprocess.Popen[bytes]", output: int) -> None:
        self.line = line
        self.process = process
        self._fd = output
        self._text = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # the other end is closed
                data = b""
            if not data:
                return
            with self._changed:
                self._text += decode(data).replace("\r", "")
                self._changed.notify_all()

    @property
    def output(self) -> str:
        """What it has printed up to now."""
        with self._changed:
            return self._text

    def await_lines(self, expected: tuple[str, ...]) -> None:
        """Return when it has printed `expected`, in this order."""
        deadline = time.monotonic() + PATIENCE
        self.await_that(
            lambda output: missing(output, expected) is None,
            lambda output: missing(output, expected),
            deadline,
        )

    def await_that(
        self, holds: Callable[[str], bool], what: str | Callable[[str], str | None], deadline: float
    ) -> None:
        """Return when `holds` is true of the output; fail when it ends before, or at `deadline`."""
        while True:
            ended, last = self.process.poll() is not None, time.monotonic() > deadline
            if ended:
                self._reader.join(PATIENCE)
            output = self.output
            if holds(output):
                return
            lacking = what if isinstance(what, str) else what(output)
            assert not (ended or last), f"$ {self.line}\n{output}\nlacks the line: {lacking}"
            with self._changed:
                if self._text == output:
                    self._changed.wait(0.2)

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit status, when its last words are there."""
        os.kill(self.process.pid, signal.SIGINT)
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def end(self) -> None:
        """Stop it, whatever it takes."""
        try:
            if self.process.poll() is None:
                self.interrupt()
        finally:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait(PATIENCE)
            self._reader.join(PATIENCE)
            os.close(self._fd)
