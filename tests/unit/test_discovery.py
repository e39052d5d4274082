"""Finding modules with tasks: which are imported, and what is said of those that cannot be."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac import Celeriac
from celeriac.errors import TasksModuleError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def app() -> Iterator[Celeriac]:
    app = Celeriac("discovery", broker="memory://")
    yield app
    app.close()


def write(project: Path, **files: str) -> None:
    for name, text in files.items():
        path = project.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()


def test_packages_with_and_without_tasks(project: Path, app: Celeriac) -> None:
    write(project, one__tasks="from celeriac import shared_task\n", two__other="")
    app.autodiscover_tasks(["one", "two"])
    assert app.load_tasks() == ["one.tasks"]


def test_the_name_of_an_app_config_stands_for_its_package(project: Path, app: Celeriac) -> None:
    write(project, three__tasks="", three__apps="class ThreeConfig: ...\n")
    app.autodiscover_tasks(["three.apps.ThreeConfig"], related_name="tasks")
    assert app.load_tasks() == []  # of three.apps, which is no package
    app.autodiscover_tasks(["three.Nothing"])
    assert app.load_tasks() == ["three.tasks"]


def test_a_package_that_is_not_there(project: Path, app: Celeriac) -> None:
    app.autodiscover_tasks(["shopp"])
    with pytest.raises(TasksModuleError, match="No module named 'shopp'"):
        app.load_tasks()


def test_a_package_that_does_not_import(project: Path, app: Celeriac) -> None:
    write(project, four__tasks="")
    (project / "four" / "__init__.py").write_text("\nimport notthere\n")
    app.autodiscover_tasks(["four"])
    with pytest.raises(TasksModuleError, match=r"four/__init__\.py, line 2: import notthere → "):
        app.load_tasks()
