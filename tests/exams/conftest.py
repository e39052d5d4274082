import pytest

pytest.register_assert_rewrite("celeriac.testing.broker_exam", "celeriac.testing.store_exam")
