"""`celeriac migrate-from-celery --write`: what its edits leave of a file, and the command itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celeriac.cli import main
from celeriac.cli.from_celery import changing
from celeriac.cli.from_celery.looking import look
from tests.unit.celery_project import PROJECT, TASKS, write


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write(tmp_path, **PROJECT)


def rewritten(folder: Path, text: str) -> str:
    """Return what becomes of a file, which is the same when it is looked at again."""
    path = folder / "module.py"
    path.write_text(text)
    (change,) = look(path).changes
    path.write_bytes(change.after)
    assert look(path).changes == []
    return change.after.decode()


class TestEdits:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (
                "from celery import Celery, shared_task  # both\n",
                "from celeriac import Celery, shared_task  # both\n",
            ),
            (
                "from celery import chain, shared_task as st\n",
                "from celery import chain\nfrom celeriac import shared_task as st\n",
            ),
            (
                "try:\n    from celery import exceptions, states\nexcept ImportError: pass\n",
                "try:\n    from celeriac import errors as exceptions, states\nexcept ImportError: pass\n",
            ),
            (
                "from celery.exceptions import (  # a\n    Retry,  # b\n    TimeoutError,\n)\n",
                "# a\n# b\nfrom celeriac.errors import Retry, TaskTimeout as TimeoutError\n",
            ),
            (
                "from celery.signals import (\n    task_prerun,  # before\n    task_postrun,\n)\n",
                "from celeriac.signals import (\n    task_prerun,  # before\n    task_postrun,\n)\n",
            ),
            (
                "if x: from celery import shared_task, chain; y = 1\n",
                "if x: from celeriac import shared_task; from celery import chain; y = 1\n",
            ),
            (
                "import os, celery\ncelery.shared_task\ncelery.states.SUCCESS\n",
                "import os\nimport celeriac\nimport celeriac.states\nceleriac.shared_task\nceleriac.states.SUCCESS\n",
            ),
            (
                "import celery\nceleryapp = celery.Celery()\nx = celery.uuid()\n",
                "import celeriac\nimport celery\nceleryapp = celeriac.Celery()\nx = celery.uuid()\n",
            ),
            ("import celery as c\nc.shared_task\n", "import celeriac\nceleriac.shared_task\n"),
            (
                "import celery.signals as s\ns.task_prerun.connect\n",
                "import celeriac.signals as s\ns.task_prerun.connect\n",
            ),
            ("import celery\n", "import celeriac\n"),
            (
                "from celery import current_app as app\napp.send_task('é', [app])\n",
                "from celeriac import current_app as app\napp().send_task('é', [app()])\n",
            ),
            (
                "from celery import current_app\nf'é {current_app.main}'\n",
                "from celeriac import current_app\nf'é {current_app().main}'\n",
            ),
            (
                "import celery\ncelery.current_app.conf\n",
                "import celeriac\nceleriac.current_app().conf\n",
            ),
            (
                "from celery._state import get_current_app\nget_current_app().conf\n",
                "from celeriac import current_app as get_current_app\nget_current_app().conf\n",
            ),
            ("pytest_plugins = ['celery.contrib.pytest']\n", "pytest_plugins = ['celeriac.testing.plugin']\n"),
            (
                "from celery import shared_task\r\nx = 1\r\n",
                "from celeriac import shared_task\r\nx = 1\r\n",
            ),
            (
                "# celery\nINSTALLED_APPS = ('django.contrib.auth', 'djcelery')",
                "# celery\nINSTALLED_APPS = ('django.contrib.auth', 'djcelery', 'celeriac.django')",
            ),
            (
                'THIRD_APPS = ["djcelery"]\nINSTALLED_APPS = ["django.contrib.auth"] + THIRD_APPS\n',
                'THIRD_APPS = ["djcelery", "celeriac.django"]\nINSTALLED_APPS = ["django.contrib.auth"] + THIRD_APPS\n',
            ),
        ],
    )  # fmt: skip
    def test_one(self, before: str, after: str, tmp_path: Path) -> None:
        assert rewritten(tmp_path, before) == after

    @pytest.mark.parametrize("use", ["current_app", "celery.current_app"])
    def test_long_f_strings_come_out_whole_or_not_at_all(self, use: str, tmp_path: Path) -> None:
        head = "import celery\n" if "." in use else "from celery import current_app\n"
        before = f'{head}x = f"""é\n  {{{use}.main}}\n{{\n  {use}.conf!r:>{{{use}.width}}}}\n"""\n'
        (tmp_path / "a.py").write_text(before)
        after = [change.after.decode() for change in look(tmp_path).changes]
        ours = before.replace("celery", "celeriac").replace(f"{use.replace('celery', 'celeriac')}.", "{}().")
        assert after in ([], [ours.replace("{}", use.replace("celery", "celeriac"))])

    def test_many_names_are_folded(self, tmp_path: Path) -> None:
        names = [f"task_{each}" for each in ("prerun", "postrun", "success", "failure", "retry", "revoked")]
        after = rewritten(tmp_path, f"from celery.signals import {', '.join(names)}, eventlet_pool_started\n")
        assert after == (
            "from celeriac.signals import (\n" + "".join(f"    {name},\n" for name in names) + ")\n"
            "from celery.signals import eventlet_pool_started\n"
        )

    def test_the_entry_stands_on_a_line_of_its_own(self, project: Path) -> None:
        (change,) = (each for each in look(project).changes if each.name == "proj/settings.py")
        assert '    "shop",  # last\n    "celeriac.django",\n]\n' in change.after.decode()

    def test_settings_that_add_to_others_are_left_alone(self, tmp_path: Path) -> None:
        write(tmp_path, base='INSTALLED_APPS = ["django.contrib.auth", "djcelery"]\n')
        write(
            tmp_path, test='from base import *\nINSTALLED_APPS += ["djcelery_x"]\nCELERY_TIMEZONE = "UTC"\n'
        )
        write(tmp_path, prod='from base import *\nINSTALLED_APPS = [*INSTALLED_APPS, "djcelery"]\n')
        assert [each.name for each in look(tmp_path).changes] == ["base.py"]

    @pytest.mark.parametrize(
        ("encoding", "head"), [("latin-1", "# -*- coding: latin-1 -*-\n"), ("utf-8-sig", ""), ("utf-8", "\f")]
    )
    def test_encodings_are_kept(self, encoding: str, head: str, tmp_path: Path) -> None:
        text = f"{head}x = 'é'; from celery import shared_task, chain\ny = 'ü'\n"
        path = tmp_path / "a.py"
        path.write_bytes(text.encode(encoding))
        (change,) = look(path).changes
        new = "from celeriac import shared_task; from celery import chain"
        assert change.after == text.replace("from celery import shared_task, chain", new).encode(encoding)

    @pytest.mark.parametrize(
        "text",
        [
            "import celery\ncelery = celery.Celery()\n",
            "from celery import current_app\ndef f(current_app): current_app.conf\n",
            "import celery\npatch.object(celery, 'x')\n",
            "import flower, kombu\nimport celery.bin.worker\n",
            "import celery\ncelery.uuid()\n",
            "import celery.result\ncelery.uuid()\n",
        ],
    )
    def test_what_is_not_here_or_has_two_meanings_is_left_alone(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text(text)
        assert look(tmp_path).changes == []


# -- the command


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    return project


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["migrate-from-celery", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def git(*words: str) -> None:
    settings = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, *words], check=True, capture_output=True, timeout=60)


class TestCommand:
    def test_the_table(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys)
        assert status == 1
        assert "\x1b" not in out
        assert "Imports\n  ✕ celery.chain " in out
        assert "  ~ celery.Celery → celeriac.Celery " in out and "proj/celery.py:1\n" in out
        assert "there is no amqp here; there are django," in out
        assert out.endswith("in 3 Python files\n--write would edit 3 files.\n")
        assert run(capsys, "--check", ".") == (status, out, "")

    def test_nothing_in_the_way(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Path("one.py").write_text("from celery import shared_task\n")
        Path("none.py").write_text("x = 1\n")
        assert run(capsys, "one.py")[0] == 0
        assert run(capsys, "none.py") == (0, "Nothing of Celery's in 1 Python file.\n", "")

    def test_json(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        status, out, _ = run(capsys, "--json")
        found: dict[str, Any] = json.loads(out)
        assert (status, found["files"], sorted(found["changes"])) == (
            1,
            3,
            ["proj/celery.py", "proj/settings.py", "shop/tasks.py"],
        )
        assert {
            "kind": "import",
            "name": "celery.Task",
            "state": "renamed",
            "here": "celeriac.Task",
            "advice": None,
            "places": [{"file": "shop/tasks.py", "line": 1}],
        } in found["findings"]

    def test_writing_shows_a_diff_and_is_done_once(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        mode = Path("proj/celery.py").stat().st_mode
        status, out, _ = run(capsys, "--write", "--yes")
        assert status == 1
        assert "--- a/proj/celery.py\n+++ b/proj/celery.py\n" in out
        assert "\n-from celery import Celery\n" in out and "\n+from celeriac import Celery\n" in out
        assert "3 files edited.\nThen:\n" in out and "python manage.py import_beat" in out
        assert Path("proj/celery.py").read_text().startswith("from celeriac import Celery\n")
        assert Path("proj/celery.py").stat().st_mode == mode
        assert sorted(path.name for path in Path("proj").iterdir()) == ["celery.py", "settings.py"]
        again = run(capsys, "--write", "--yes")[1]
        assert "edited" not in again and "would edit" not in again

    def test_nobody_to_ask(self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        before = Path("shop/tasks.py").read_bytes()
        with Path(os.devnull).open() as nobody:
            monkeypatch.setattr(sys, "stdin", nobody)
            status, _, err = run(capsys, "--write")
        assert (status, err) == (1, "Error: Nothing was written: there is nobody to ask. Say --yes.\n")
        assert Path("shop/tasks.py").read_bytes() == before

    def test_somebody_else_was_faster(self, here: Path) -> None:
        changes = look(here).changes
        Path("proj/celery.py").write_text("# theirs\n")
        assert [each.name for each in changing.write(changes)] == ["proj/celery.py"]
        assert Path("proj/celery.py").read_text() == "# theirs\n"
        assert Path("shop/tasks.py").read_text().startswith("from celeriac import")

    def test_what_is_not_committed_is_not_mixed_with(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        git("init", "-q")
        status, _, err = run(capsys, "--write", "--yes")
        assert status == 1
        assert "git has uncommitted changes here (proj/, shop/)" in err
        git("add", ".")
        git("commit", "-qm", "x")
        assert "3 files edited." in run(capsys, "--write", "--yes")[1]
        Path("more.py").write_text("from celery import shared_task\n")
        assert "(more.py)" in run(capsys, "--write", "--yes", "more.py")[2]
        Path("shop/one.py").write_text("from celery import shared_task\n")
        assert "shop/one.py" in run(capsys, "--write", "--yes", "shop")[2]
        Path("shop/one.py").unlink()
        assert (
            "(proj/celery.py, proj/settings.py, shop/tasks.py and 1 more)"
            in run(capsys, "--write", "--yes")[2]
        )
        assert "1 file edited." in run(capsys, "--write", "--yes", "--force")[1]

    def test_a_diff_that_git_takes(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        git("init", "-q")
        Path("end.py").write_text("from celery import shared_task")
        out = run(capsys, "--write", "--yes", "--force")[1]
        git("add", ".")
        patch = out[out.index("--- a/") : out.index("4 files edited.")].rstrip("\n") + "\n"
        Path("changes.patch").write_text(patch)
        git("apply", "--reverse", "--index", "changes.patch")
        assert Path("end.py").read_text() == "from celery import shared_task"
        assert Path("shop/tasks.py").read_text() == TASKS

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--check", "--write"], "say one of them"),
            (["--write", "--json"], "say --yes"),
            (["nowhere"], "'nowhere' does not exist"),
        ],
    )
    def test_wrong_usage(
        self, words: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status, _, err = run(capsys, *words)
        assert status == 2
        assert said in err
