"""Tasks in modules that only the site's URLs lead to: Celery's worker knows them, for its system checks load those."""

from pathlib import Path

import pytest

from tests.scenarios.small_project import Project

JOBS = """\
import time

from celeriac import shared_task
from celeriac.errors import SoftTimeLimitExceeded


@shared_task
def double(x):
    return 2 * x


@shared_task(soft_time_limit=0.1)
def late():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "struck"
"""
URLS = "from django.urls import path\n\nfrom shop import views\n\nurlpatterns = [path('', views.page)]\n"
VIEWS = "from shop.jobs import double, late\n\n\ndef page(request): ...\n"
SEND = """\
from celeriac import current_app

app = current_app()
sent = [app.send_task(name, args) for name, args in (("shop.jobs.double", [4]), ("shop.jobs.late", []))]
print([each.get(timeout=50, propagate=False) for each in sent])
"""


@pytest.fixture
def project(tmp_path: Path, migrated: Path) -> Project:
    (tmp_path / "db.sqlite3").write_bytes(migrated.read_bytes())
    made = Project(tmp_path)
    made.write("proj/urls.py", URLS)
    made.write("shop/views.py", VIEWS)
    made.write("shop/jobs.py", JOBS)
    return made


@pytest.mark.parametrize("others", [True, False], ids=["besides others", "alone"])
def test_they_run(project: Project, others: bool) -> None:
    if not others:
        project.write("shop/tasks.py", "")
    with project.worker():
        found = project.python(SEND)
    assert found.stdout == "[8, 'struck']\n", found.stderr + (project.folder / "worker.log").read_text()


def test_urls_that_do_not_import_are_told_once(project: Project) -> None:
    project.write("shop/views.py", "import nothing_of_this_name\n")
    with project.worker():
        found = project.python(SEND)
    log = (project.folder / "worker.log").read_text()
    assert found.stdout.count("NotRegistered") == 2, found.stderr + log
    assert log.count("ROOT_URLCONF proj.urls does not import") == 1
    assert "nothing_of_this_name" in log
