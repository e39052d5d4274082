"""Workers on a MariaDB: they share the work, one of them is killed, and nothing is lost or done twice without cause."""

import pytest

from tests.faults.load import PATIENT
from tests.scenarios.conftest import MakeProject
from tests.scenarios.harness import Project, account


@pytest.mark.mariadb
def test_workers_share_the_work_and_one_is_killed(make_project: MakeProject) -> None:
    project: Project = make_project("mariadb", worker_lease=4, **PATIENT)
    keys = list(range(400))
    client = project.client
    with project.working("-n", "lives"):
        # It takes nobody for dead, however long that one is halted.
        neighbour = project.start("-n", "dies", worker_lease=600)
        ids = client.send("work", [[key, 0.005] for key in keys[:-50]])
        ids += client.send("work", [[key] for key in keys[-50:]], countdown=1)
        project.journal.wait_count(150)
        killed = neighbour.kill_tree()
        project.journal.wait_done(keys)
        client.wait_empty()
    account(project.journal, keys, [killed])
    assert {record["state"] for record in client.records(ids)} == {"SUCCESS"}
