"""The exam of result stores: every promise of `celeriac.store.ResultStore`, as pytest checks over any keeper.

Inherit and say how the keeper is opened:

    class TestMyStore(StoreExam):
        @pytest.fixture
        def make_store(self, my_server):
            return lambda **settings: MyStore(my_server.url, Settings(**settings))

Each check begins with an empty store. `make_store()` opens one more, independent instance for the same records, as
another process would; it is also called in threads, and each instance is closed in the thread that opened it.
Every wait has a deadline.
"""

from celeriac.testing.store_exam.forgetting import ForgetChecks
from celeriac.testing.store_exam.keeping import KeepChecks, OverwriteChecks, ProcessChecks
from celeriac.testing.store_exam.waiting import WaitChecks

__all__ = ["StoreExam"]


class StoreExam(KeepChecks, OverwriteChecks, WaitChecks, ForgetChecks, ProcessChecks):
    """All checks; a keeper that passes keeps every promise of the contract that can be seen from outside."""
