"""The door of the console script `celeriac`, and its command `health`, which is answered right here.

A module beside the package, as a probe is to be quick, and importing anything of the package takes several times as
long as what there is to do: to look at the files that workers touch about once a second (`celeriac.worker.heartbeat`).
All other commands, and what is not plainly right here, go on to `celeriac.cli`. Imports only what Python has loaded
anyway.
"""

import os
import sys
import time

#: What the words of the command line may be besides flags, and what holds without them.
MAX_AGE = 60.0
_ENDING = ".heartbeat"
#: After so many seconds nobody misses a worker that was killed any more.
_FORGOTTEN = 86400.0
_NAMED = 3  # workers to name of those that are missed


class Heartbeat:
    """What a worker's file says. `age` is in seconds; `trouble` is why the worker is not ready, "" if it is."""

    __slots__ = ("age", "broker", "name", "path", "pid", "trouble")

    def __init__(self, path: str, age: float, name: str, pid: int, broker: str, trouble: str) -> None:
        self.path = path
        self.age = age
        self.name = name
        self.pid = pid
        self.broker = broker
        self.trouble = trouble

    def text(self) -> str:
        """Return what the file holds."""
        lines = (self.name, str(self.pid), self.broker, self.trouble)
        return "".join(" ".join(line.split()) + "\n" for line in lines)


def state_dir(configured: str | None = None) -> str:
    """Return where workers of this user keep their state: as configured, as the environment says, or by default.

    By default in memory where that can be had: what lies there outlives processes, not the machine.
    """
    given = configured or os.environ.get("CELERIAC_STATE_DIR")
    if given:
        return given
    parent = "/dev/shm"  # noqa: S108 - who writes there makes a folder with mode 0700 and checks it
    if not os.access(parent, os.W_OK):
        import tempfile  # noqa: PLC0415 - slow, and hardly ever needed

        parent = tempfile.gettempdir()
    return f"{parent}/celeriac-{os.getuid()}"


def file_name(unique: str) -> str:
    """Return what the file of a worker is called."""
    return unique + _ENDING


def heartbeats(directory: str) -> list[Heartbeat]:
    """Return what workers have left there, by name, within the last day.

    A file that cannot be read, or is none of ours, is left out.
    """
    try:
        names = [name for name in os.listdir(directory) if name.endswith(_ENDING)]
    except OSError:
        return []
    found = [_read(f"{directory}/{name}") for name in names]
    recent = (each for each in found if each is not None and each.age < _FORGOTTEN)
    return sorted(recent, key=lambda each: (each.name, each.age))


def _read(path: str) -> Heartbeat | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            touched = os.fstat(file.fileno()).st_mtime
            name, pid, broker, trouble = file.read(8192).split("\n")[:4]
        return Heartbeat(path, max(0.0, time.time() - touched), name, int(pid), broker, trouble)
    except (OSError, ValueError):
        return None


# -- the command


def verdict(found: list[Heartbeat], directory: str, worker: str | None, max_age: float) -> tuple[bool, str]:
    """Return whether all is well with the workers `found`, or that one, and the line that says so."""
    asked = [each for each in found if worker in (None, each.name, each.name.partition("@")[0])]
    if not asked:
        there = ", ".join(sorted({each.name for each in found}))
        if there:
            return False, f"There is no heartbeat of {worker} in {directory}, but of: {there}."
        return False, (
            f"There is no worker's heartbeat in {directory}. Does one run on this host, as this user? "
            "If worker_state_dir is set, give it: --state-dir DIR, or CELERIAC_STATE_DIR."
        )
    late = [f"{each.name} (process {each.pid}) for {each.age:.0f} s" for each in asked if each.age > max_age]
    if late:
        more = f" and {len(late) - _NAMED} more" if len(late) > _NAMED else ""
        return False, f"Not heard of: {', '.join(late[:_NAMED])}{more}; the limit is {max_age:g} s."
    if len(asked) == 1:
        (only,) = asked
        state = f"lives, but is not ready: {only.trouble}" if only.trouble else "is ready."
        return True, f"{only.name} {state} Heard of {only.age:.1f} s ago."
    troubled = [each.name for each in asked if each.trouble]
    rest = f" Not ready: {', '.join(troubled)}." if troubled else ""
    return True, f"{len(asked)} workers live, all heard of within {max_age:g} s.{rest}"


def check(worker: str | None, max_age: float, directory: str | None, as_json: bool) -> int:
    """Print how the workers of this host are; return the exit status, 0 or 1."""
    where = state_dir(directory)
    found = heartbeats(where)
    healthy, line = verdict(found, where, worker, max_age)
    if as_json:
        import json  # noqa: PLC0415 - only then is it worth the time

        workers = [
            {"name": each.name, "pid": each.pid, "age": round(each.age, 3), "trouble": each.trouble}
            for each in found
        ]
        line = json.dumps({"healthy": healthy, "text": line, "workers": workers})
    sys.stdout.write(line + "\n")
    return 0 if healthy else 1


def plainly(words: list[str]) -> tuple[str | None, float, str | None, bool] | None:
    """Return what `check` is to be called with; None where somebody else had better read these words."""
    if any(name.startswith("CELERIAC_HEALTH_") for name in os.environ):
        return None
    given: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--json":
            given[word] = "yes"
        elif name in ("--worker", "--max-age", "--state-dir"):
            given[name] = value if equals else next(rest, "")
            if not given[name] or given[name].startswith("-"):
                return None
        else:
            return None
    try:
        max_age = float(given.get("--max-age", MAX_AGE))
    except ValueError:
        return None
    if not 0 < max_age < 1e9:
        return None
    return given.get("--worker"), max_age, given.get("--state-dir"), "--json" in given


def main() -> int:
    """Be the program `celeriac`; return the exit status."""
    if sys.argv[1:2] == ["health"]:
        asked = plainly(sys.argv[2:])
        if asked is not None:
            return check(*asked)
    from celeriac.cli import main as program  # noqa: PLC0415 - see above

    return program()
