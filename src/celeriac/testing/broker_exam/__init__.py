"""The exam of brokers: every promise of `celeriac.broker.Broker`, as pytest checks over any keeper.

Inherit and say how the keeper is opened; that is all:

    class TestMyBroker(BrokerExam):
        @pytest.fixture
        def make_broker(self, my_server):
            return lambda **settings: MyBroker(my_server.url, Settings(**settings))

Each check begins with an empty broker: the fixture sees to it. `make_broker()` opens one more, independent
instance for the same messages, as another process would; it is also called in threads, and each instance is closed
in the thread that opened it. `store` is a result store that the broker shares its transactions with, or None.

Every wait has a deadline. Leases are short and the broker's own clock decides, so that no check sleeps long.
"""

from celeriac.testing.broker_exam.claiming import ClaimChecks
from celeriac.testing.broker_exam.firing import FiringChecks
from celeriac.testing.broker_exam.leases import LeaseChecks
from celeriac.testing.broker_exam.looking import LookChecks, ProcessChecks
from celeriac.testing.broker_exam.publishing import PublishChecks, ScheduleChecks
from celeriac.testing.broker_exam.settling import RecordChecks, SettleChecks
from celeriac.testing.broker_exam.steering import SteeringChecks
from celeriac.testing.broker_exam.waiting import WaitChecks

__all__ = ["BrokerExam"]


class BrokerExam(
    PublishChecks,
    ScheduleChecks,
    ClaimChecks,
    SettleChecks,
    RecordChecks,
    LeaseChecks,
    SteeringChecks,
    FiringChecks,
    LookChecks,
    WaitChecks,
    ProcessChecks,
):
    """All checks; a keeper that passes keeps every promise of the contract that can be seen from outside."""
