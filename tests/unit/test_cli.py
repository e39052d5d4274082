"""The program: commands and options by their names, help, versions, exit statuses, and how an app is found."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac import Celeriac, __version__, errors, registry
from celeriac.cli import failures, main, no_tasks
from celeriac.cli.codes import CODES
from celeriac.cli.finding import candidates, find_app, settings_of
from celeriac.cli.program import ABSENT, COMMANDS, Session
from celeriac.errors import AppNotFound, BrokerDown, StoreError, TasksModuleError

APP = "from celeriac import Celeriac\n\nqueue = Celeriac('{0}', broker='memory://')\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory without a project; what a test imports and sets is forgotten."""
    for variable in ("DJANGO_SETTINGS_MODULE", "CELERIAC_APP", "CELERY_APP", "APP", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "disabled")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_apps", [])
    monkeypatch.setattr(registry, "_framework", [])
    monkeypatch.setattr(registry, "_default", [])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: str, text: str = "") -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


class TestProgram:
    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"celeriac {__version__}\n"

    def test_help_lists_the_commands_with_examples(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in COMMANDS)
        assert "Examples:" in text

    @pytest.mark.parametrize("command", list(COMMANDS))
    def test_each_command_has_help_with_examples(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Examples:" in text
        assert "Usage: celeriac " + command in text

    def test_the_name_under_manage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["worker", "--help"], door="celeriac") == 0
        assert "Usage: manage.py celeriac worker" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["wroker"], "Did you mean 'worker'?"),
            (["xyzzy"], "Commands: dev, worker,"),
            (["worker", "--concurency", "2"], "Did you mean '--concurrency'?"),
            (["worker", "-c", "many"], "'many' is not a number of processes"),
            (["worker", "-c", "0"], "'0' is not a number of processes"),
            (["worker", "-c", "-1"], "'-1' is not a number of processes"),
            (["worker", "--prefetch-multiplier", "-1"], "-1 is not in the range x>=0."),
            (["worker", "-l", "loud"], "Levels: debug, info, warning, error, critical."),
            (["worker", "-P", "gevent"], "write `async def` tasks"),
            (["worker", "-P", "forks"], "Pools: prefork, threads, solo."),
            (["worker", "-D"], "--detach is not supported. The worker stays in the foreground"),
            (["worker", "--uid", "nobody"], "User= in systemd's unit"),
            (["help", "E177"], "Did you mean E117?"),
        ],
    )
    def test_wrong_usage(self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(words) == failures.USAGE
        assert said in capsys.readouterr().err

    def test_no_command_is_both_here_and_absent(self) -> None:
        assert not set(COMMANDS) & set(ABSENT)

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (errors.UnknownSetting(""), 3),
            (TasksModuleError(""), 3),
            (BrokerDown(""), 75),
            (StoreError(""), 75),
            (errors.TaskTimeout(""), 1),
        ],
    )
    def test_exit_statuses(self, error: errors.CeleriacError, status: int) -> None:
        assert failures.exit_status(error) == status

    def test_ctrl_c(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(session: Session) -> Celeriac:
            raise KeyboardInterrupt

        monkeypatch.setattr("celeriac.cli.finding.find_app", interrupted)
        assert main(["report"]) == failures.INTERRUPTED

    def test_help_starts_without_what_is_slow_to_import(self) -> None:
        code = (
            "import sys\nfrom celeriac.cli import main\nmain(['--help'])\n"
            "slow = {'rich', 'django', 'asyncio', 'importlib.metadata', 'shutil', 'celeriac.worker.start'}\n"
            "print(sorted(slow & sys.modules.keys()), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100
        )
        assert done.stderr.strip() == "[]"


class TestHelpOnErrors:
    def test_every_number_in_the_tree_has_a_chapter(self) -> None:
        numbers = {getattr(errors, name).__dict__.get("code", "") for name in errors.__all__} - {""}
        assert numbers <= set(CODES)

    @pytest.mark.parametrize("code", list(CODES))
    def test_a_chapter(self, code: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help", code.lower()]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"{code}  {CODES[code].title}")
        assert "What happened" in text
        assert "What to do" in text
        assert "Example" in text
        assert max(map(len, text.splitlines())) <= 110

    def test_the_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help"]) == 0
        text = capsys.readouterr().out
        assert all(code in text for code in CODES)

    def test_the_bare_number(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help", "109"]) == 0
        assert capsys.readouterr().out.startswith("E109")

    def test_a_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help", "worker"]) == 0
        assert "--concurrency" in capsys.readouterr().out


class TestFindingTheApp:
    @pytest.mark.parametrize(
        ("name", "files"),
        [
            ("one", {"one.py": APP.replace("queue", "app")}),
            ("two", {"two.py": APP.replace("queue", "celery")}),
            ("three", {"three/__init__.py": "", "three/celery.py": APP.replace("queue", "app")}),
            ("four", {"four/__init__.py": "", "four/celeriac.py": APP}),
            ("five:queue", {"five.py": APP}),
            ("sixth.queue", {"sixth.py": APP}),
            ("seven.work", {"seven/__init__.py": "", "seven/work.py": APP}),
            ("eight.work:queue", {"eight/__init__.py": "", "eight/work.py": APP}),
            ("nine", {"nine/__init__.py": "from .celery import queue\n", "nine/celery.py": APP}),
            ("ten", {"ten.py": "from celeriac import Celery\nanything = Celery('{0}')\n"}),
        ],
    )
    def test_as_celery_does(self, name: str, files: dict[str, str]) -> None:
        for path, text in files.items():
            write(path, text.format(name))
        assert find_app(Session(app=name)).main == name

    @pytest.mark.parametrize(
        ("name", "files", "said"),
        [
            ("nowhere", {}, "There is no module 'nowhere'. None was found in "),
            ("shpo", {"shop/__init__.py": "", "shop/celery.py": APP}, "Found here: shop → `-A shop`."),
            (
                "jbos",
                {"jobs.py": APP, "a.py": APP, "b.py": APP, "c.py": APP},
                "Found here: jobs → `-A jobs`, a →",
            ),
            ("there:qeue", {"there.py": APP}, "There is no 'qeue' in there. Did you mean 'queue'?"),
            ("empty", {"empty.py": ""}, "There is no app in empty: write `app = Celeriac(...)`"),
            (
                "odd:nope",
                {"odd.py": "app = 3\n"},
                "There is no 'nope' in odd. To have the app looked for:  -A odd",
            ),
            ("odd", {"odd.py": "app = 3\n"}, "odd is not a Celeriac app but of type int."),
            (
                "celerys",
                {"celerys.py": "from celery import Celery\n\napp = Celery('x', set_as_current=False)\n"},
                "celerys is an app of Celery's. Change its import: from celeriac import Celeriac as Celery",
            ),
        ],
    )
    def test_what_is_said(self, name: str, files: dict[str, str], said: str) -> None:
        for path, text in files.items():
            write(path, text)
        with pytest.raises(AppNotFound) as raised:
            find_app(Session(app=name))
        assert said in str(raised.value)

    def test_an_app_that_does_not_import(self) -> None:
        write("bad/__init__.py")
        write("bad/celery.py", "x = 1\nimport notthere\n")
        with pytest.raises(
            TasksModuleError, match=r"bad/celery\.py, line 2: import notthere → ModuleNotFoundError"
        ):
            find_app(Session(app="bad"))

    def test_without_a_project(self) -> None:
        write("jobs.py", APP)
        with pytest.raises(
            AppNotFound, match=r"there is no manage\.py here or above .* Found here: jobs → `-A jobs`"
        ):
            find_app(Session())

    def test_the_option_before_and_after_the_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        write("jobs.py", APP.format("jobs"))
        assert main(["-A", "jobs", "report"]) == 0
        assert main(["report", "-A", "jobs"]) == 0
        assert main(["report", "--app", "jobs:queue", "-C"]) == 0
        assert capsys.readouterr().out.count("app       jobs") == 3

    @pytest.mark.parametrize("variable", ["CELERIAC_APP", "CELERY_APP", "APP"])
    def test_the_environment(
        self, variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write("jobs.py", APP.format("jobs"))
        monkeypatch.setenv(variable, "jobs")
        assert main(["report"]) == 0
        assert "app       jobs" in capsys.readouterr().out
        monkeypatch.setenv(variable, "jbos")
        assert main(["report"]) == failures.NOT_LOADED
        assert f"(from the environment variable {variable})" in capsys.readouterr().err

    def test_workdir(self, capsys: pytest.CaptureFixture[str]) -> None:
        write("deep/jobs.py", APP.format("jobs"))
        assert main(["--workdir", "deep", "-A", "jobs", "report"]) == 0
        assert "app       jobs" in capsys.readouterr().out

    def test_candidates(self) -> None:
        write("a.py", "from celeriac import Celeriac\napp: Celeriac = Celeriac('a')\n")
        write("b.py", "# Celeriac(\n")
        write("shop/__init__.py")
        write("shop/settings.py")
        write("manage.py", 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")')
        assert candidates(Path.cwd()) == ["a", "shop"]

    @pytest.mark.parametrize(
        "line",
        [
            'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")',
            "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')",
            'os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"',
            'os.environ.setdefault(\n    "DJANGO_SETTINGS_MODULE",\n    "shop.settings",\n)',
        ],
    )
    def test_the_settings_in_manage(self, line: str) -> None:
        write("manage.py", f"import os\n{line}\n")
        assert settings_of(Path("manage.py")) == "shop.settings"


class TestSettings:
    def test_passwords_are_hidden(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("CELERY_BROKER_URL", "redis://user:hunter2@host/0")
        write(
            "jobs.py",
            "from celeriac import Celeriac\n"
            "app = Celeriac('x', broker_transport_options={'sentinel_kwargs': {'password': 'hunter2'}})\n",
        )
        for command in (["settings"], ["settings", "--changed"], ["report"]):
            assert main(["-A", "jobs", *command]) == 0
            text = capsys.readouterr().out
            assert "redis://user:***@host/0" in text
            assert "hunter2" not in text

    def test_value_and_source(self, capsys: pytest.CaptureFixture[str]) -> None:
        write("jobs.py", "from celeriac import Celeriac\napp = Celeriac('x', task_track_started=True)\n")
        assert main(["-A", "jobs", "settings", "--changed"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["task_track_started", "True", "←", "task_track_started"] in lines
        assert ["broker_url", "'memory://'", "←", "environment", "variable", "CELERY_BROKER_URL"] in lines
        assert "worker_pool" not in str(lines)

    def test_the_broker_option_wins(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(os, "environ", os.environ.copy())
        write("jobs.py", APP.format("jobs"))
        assert main(["-A", "jobs", "-b", "redis://elsewhere/1", "report"]) == 0
        assert "broker    redis://elsewhere/1" in capsys.readouterr().out

    def test_as_json(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("CELERY_BROKER_URL", "redis://user:hunter2@host/0")
        write(
            "jobs.py",
            "from celeriac import Celeriac\n"
            "app = Celeriac('x', task_routes={'a': print}, worker_lost_wait=3, security_key='hunter2')\n"
            "app.conf.task_track_started = True\n",
        )
        assert main(["-A", "jobs", "settings", "--changed", "--json"]) == 0
        text = capsys.readouterr().out
        assert "hunter2" not in text
        told = json.loads(text)
        assert told["settings"] == {
            "result_backend": {
                "value": "disabled",
                "source": "environment variable CELERY_RESULT_BACKEND",
            },
            "broker_url": {
                "value": "redis://user:***@host/0",
                "source": "environment variable CELERY_BROKER_URL",
            },
            "task_routes": {"value": {"a": "<built-in function print>"}, "source": "task_routes"},
            "task_track_started": {"value": True, "source": "app.conf"},
        }
        assert [problem.partition(" ")[0] for problem in told["problems"]] == [
            "worker_lost_wait",
            "security_key",
        ]
        assert main(["-A", "jobs", "report", "-j"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["settings"] == told["settings"]
        assert (report["app"], report["broker"]) == ("x", "redis://user:***@host/0")
        assert "msgspec" in report["packages"]

    def test_report_is_short(self, capsys: pytest.CaptureFixture[str]) -> None:
        write("jobs.py", APP.format("jobs"))
        assert main(["-A", "jobs", "report"]) == 0
        assert len(capsys.readouterr().out.splitlines()) <= 40


def test_no_tasks_at_all() -> None:
    assert no_tasks.explain([]).startswith("No tasks found. The app names no modules with tasks. Write one:")
