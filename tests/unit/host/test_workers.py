# SPDX-License-Identifier: Apache-2.0
"""Threads are used again, but not those that may have something left."""

import contextvars
import multiprocessing
import threading
import time

import pytest
from guards import OwnedLock

from kuryr_sriov import exceptions
from kuryr_sriov.host import wait, workers


def thread_of(work=lambda: None):
    """The thread that has done some work."""
    seen = []

    def look():
        seen.append(threading.current_thread())
        work()

    wait.run_within(look, 60, 'it')
    return seen[0]


def fail():
    raise OSError(5, 'no')


@pytest.fixture(autouse=True)
def none_idle(monkeypatch):
    monkeypatch.setattr(workers, '_idle', [])


def test_the_next_work_has_the_same_thread():
    first = thread_of()
    assert thread_of() is first
    assert first is not threading.current_thread()


def test_a_thread_whose_work_failed_ends():
    """It may be in another network namespace."""
    seen = []

    def note_and_fail():
        seen.append(threading.current_thread())
        fail()

    with pytest.raises(OSError, match='no'):
        wait.run_within(note_and_fail, 60, 'it')
    seen[0].join(60)
    assert not seen[0].is_alive()
    assert thread_of() is not seen[0]


def test_a_thread_that_was_given_up_ends_with_its_work():
    let_go = threading.Event()
    with pytest.raises(exceptions.DeviceBusy):
        wait.run_within(let_go.wait, 0.01, 'a driver to let go')
    (left,) = [t for t in threading.enumerate() if t.name.startswith('a dri')]
    other = thread_of()
    assert other is not left
    let_go.set()
    left.join(60)
    assert not left.is_alive()
    assert thread_of() is other


def test_work_at_the_same_time_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(workers, 'MOST_IDLE', 3)
    together = threading.Barrier(8)
    bound = workers.Bound(what='it')
    jobs = [workers.start(together.wait, bound) for _ in range(8)]
    assert all(job.wait(60) for job in jobs)
    assert len(workers._idle) == 3


def test_an_idle_thread_is_not_named_after_what_it_did():
    thread = thread_of()
    assert (thread.is_alive(), thread.name) == (True, 'idle')


def test_the_work_is_done_in_the_callers_context():
    word = contextvars.ContextVar('word')
    seen = []
    for each in ('one', 'two'):
        word.set(each)
        wait.run_within(lambda: seen.append(word.get()), 60, 'it')
    assert seen == ['one', 'two']


def test_what_is_finished_is_not_remembered():
    for number in range(5):
        wait.run_within(lambda: None, 60, 'it', f'interface {number}')
    assert len(wait._hanging) == 1


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    """Those of its parent are not in it, nor what they hang in."""
    monkeypatch.setattr(wait, '_hanging', {})
    thread_of()
    let_go = threading.Event()
    with pytest.raises(exceptions.DeviceBusy):
        wait.run_within(let_go.wait, 0.01, 'it', 'pci-1')

    def live():
        wait.run_within(lambda: None, 60, 'it', 'pci-1')

    child = multiprocessing.get_context('fork').Process(target=live)
    child.start()
    child.join(60)
    let_go.set()
    child.kill()
    assert child.exitcode == 0


def test_idle_threads_are_taken_and_left_under_one_lock(monkeypatch):
    lock = OwnedLock(threading.Lock())

    class Idle(list):
        def pop(self, *place):
            assert lock.is_ours()
            return super().pop(*place)

        def append(self, worker):
            assert lock.is_ours()
            super().append(worker)

    monkeypatch.setattr(workers, '_lock', lock)
    monkeypatch.setattr(workers, '_idle', Idle())
    seen = []
    for _ in range(2):
        job = workers.start(
            lambda: seen.append(threading.get_ident()),
            workers.Bound(time.monotonic() + 60, 60, 'work', ''),
        )
        assert job.wait(60)
    assert len(seen) == 2
    assert len(set(seen)) == 1
