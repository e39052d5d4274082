"""The database broker and store sit the exams on MariaDB, and the broker agrees with the model."""

from collections.abc import Iterator

import pytest

from celeriac.testing.broker_exam import BrokerExam
from celeriac.testing.store_exam import StoreExam
from tests.django import databases
from tests.exams.test_database import OnDatabase
from tests.exams.test_machine_database import agrees
from tests.servers import MariaDBServer

pytestmark = pytest.mark.mariadb


@pytest.fixture(scope="module")
def mariadb_alias(mariadb_server: MariaDBServer) -> Iterator[str]:
    databases.add("exam_mariadb", mariadb_server.django("exam"))
    yield "exam_mariadb"
    databases.remove("exam_mariadb")


class _OnMariaDB(OnDatabase):
    @pytest.fixture
    def alias(self, mariadb_alias: str) -> str:
        return mariadb_alias


class TestMariaDBBroker(_OnMariaDB, BrokerExam):
    """MariaDB."""


class TestMariaDBStore(_OnMariaDB, StoreExam):
    """MariaDB."""


def test_the_model(mariadb_server: MariaDBServer) -> None:
    agrees("machine_mariadb", mariadb_server.django("machine"), 12)
