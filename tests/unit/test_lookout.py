"""The lookout that a worker's children hand to each other, with real processes."""

import os
from collections.abc import Callable, Iterator

import pytest

from celeriac.waker import Waker
from celeriac.worker.lookout import Lookout
from tests.unit.running import PATIENCE


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], bool]], Callable[[], bool]]]:
    """Run a function in a child process; what is returned waits for its end and says what it returned."""
    running: list[int] = []

    def start(function: Callable[[], bool]) -> Callable[[], bool]:
        pid = os.fork()
        if pid == 0:
            status = 2
            try:
                status = int(not function())
            finally:
                os._exit(status)
        running.append(pid)

        def end() -> bool:
            running.remove(pid)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status in (0, 1), status
            return status == 0

        return end

    yield start
    for pid in running:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_it_is_had_by_the_first_and_by_nobody_else() -> None:
    lookout, waker = Lookout(), Waker()
    assert lookout.wait(waker, PATIENCE) and lookout.ours
    other = Lookout()
    other._token = lookout._token
    assert not other.wait(waker, 0.01)
    lookout.pass_on()
    assert not lookout.ours
    assert other.wait(waker, PATIENCE)


def test_a_poke_ends_the_waiting() -> None:
    lookout, waker = Lookout(), Waker()
    lookout._token.clear()
    waker.poke()
    assert not lookout.wait(waker, PATIENCE)


def test_it_goes_from_process_to_process(fork: Callable[..., Callable[[], bool]]) -> None:
    lookout, done = Lookout(), Waker()

    def child() -> bool:
        if not lookout.wait(Waker(), PATIENCE):
            return False
        done.poke()
        lookout.pass_on()
        return True

    ends = [fork(child) for _ in range(5)]
    assert [end() for end in ends] == [True] * 5
    assert done.clear()
    assert lookout.wait(Waker(), PATIENCE), "it has come round"


def test_passing_on_one_too_many_still_counts_as_one(fork: Callable[..., Callable[[], bool]]) -> None:
    lookout = Lookout()
    lookout.pass_on()
    lookout.pass_on()
    ends = [fork(lambda: lookout.wait(Waker(), 0.3)) for _ in range(3)]
    assert sorted([end() for end in ends]) == [False, False, True]
