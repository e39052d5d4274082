"""The pauses between retries are Celery's."""

import pytest
from celery.utils.time import get_exponential_backoff_interval
from hypothesis import given
from hypothesis import strategies as st

from celeriac.retry import backoff


def test_celerys_table() -> None:
    pauses = [backoff(retries, 1.0, 600.0, jitter=False) for retries in range(12)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]


def test_a_factor() -> None:
    assert [backoff(retries, 5.0, 600.0, jitter=False) for retries in range(9)] == [
        5,
        10,
        20,
        40,
        80,
        160,
        320,
        600,
        600,
    ]


def test_a_maximum() -> None:
    assert [backoff(retries, 1.0, 7.0, jitter=False) for retries in range(5)] == [1, 2, 4, 7, 7]


@pytest.mark.parametrize("retries", [64, 1000, 10**9])
@pytest.mark.parametrize("jitter", [True, False])
def test_any_number_of_retries(retries: int, jitter: bool) -> None:
    assert 0 <= backoff(retries, 3.0, 600.0, jitter) <= 600


@given(st.integers(1, 1000), st.integers(0, 60), st.integers(1, 10**6))
def test_without_jitter_as_celery(factor: int, retries: int, maximum: int) -> None:
    theirs = get_exponential_backoff_interval(factor=factor, retries=retries, maximum=maximum)
    assert backoff(retries, float(factor), float(maximum), jitter=False) == theirs


@given(st.integers(1, 100), st.integers(0, 20), st.integers(1, 1000))
def test_jitter_stays_between_none_and_all_of_it(factor: int, retries: int, maximum: int) -> None:
    most = backoff(retries, float(factor), float(maximum), jitter=False)
    pause = backoff(retries, float(factor), float(maximum), jitter=True)
    assert 0 <= pause <= most
    assert pause == int(pause)


def test_jitter_spreads() -> None:
    pauses = {backoff(9, 1.0, 600.0, jitter=True) for _ in range(300)}
    assert len(pauses) > 100
    assert min(pauses) < 100
    assert max(pauses) > 400


def test_true_means_a_factor_of_one() -> None:
    """`retry_backoff=True` reaches us as 1; Celery takes everything below as one too."""
    assert backoff(3, 0.5, 600.0, jitter=False) == backoff(3, 1.0, 600.0, jitter=False) == 8
