# SPDX-License-Identifier: Apache-2.0
"""Every wait has a deadline, and says what it waited for."""

import contextlib
import itertools
import threading
import time

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host import wait, workers


def test_the_first_truthy_answer_is_returned():
    answers = iter([None, False, '', 'there'])
    assert wait.wait_for(lambda: next(answers), 5, 'it') == 'there'


def test_a_busy_probe_is_asked_again():
    answers = iter([exceptions.DeviceBusy('not yet'), 'there'])

    def probe():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait.wait_for(probe, 5, 'it') == 'there'


def test_the_deadline_tells_what_was_waited_for():
    with pytest.raises(exceptions.DeviceBusy) as caught:
        wait.wait_for(lambda: None, 0.01, 'the netdev; see dmesg')
    assert str(caught.value) == 'Waited 0.01 s for the netdev; see dmesg'


def test_the_deadline_tells_the_last_reason():
    def probe():
        raise exceptions.DeviceBusy('a process has it open')

    with pytest.raises(exceptions.DeviceBusy) as caught:
        wait.wait_for(probe, 0.01, 'it')
    assert str(caught.value) == 'Waited 0.01 s for it: a process has it open'


def test_it_is_asked_once_even_without_time():
    asked = []
    assert wait.wait_for(lambda: asked.append(1) or 'there', 0, 'it')
    assert asked == [1]


def test_another_error_ends_the_wait():
    def probe():
        raise exceptions.KernelError('no', 22)

    with pytest.raises(exceptions.KernelError, match='no'):
        wait.wait_for(probe, 60, 'it')


def test_work_within_its_time_is_done():
    done = []
    wait.run_within(lambda: done.append(1), 60, 'it')
    assert done == [1]


def test_work_that_blocks_is_left_behind():
    release = threading.Event()
    with pytest.raises(exceptions.DeviceBusy, match=r'Waited 0.01 s for it'):
        wait.run_within(release.wait, 0.01, 'it')
    (left,) = [t for t in threading.enumerate() if t.name == 'it']
    release.set()
    left.join()


@pytest.mark.parametrize('error', [OSError(5, 'no'), KeyboardInterrupt()])
def test_what_the_work_raises_is_the_callers(error):
    def work():
        raise error

    with pytest.raises(type(error)) as caught:
        wait.run_within(work, 60, 'it')
    assert caught.value is error


@pytest.fixture
def gate():
    """Opens at the end of the test, for threads that hang at it."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_limit_bounds_every_wait_in_it():
    began = time.monotonic()
    with wait.limit(0.05):
        for _ in range(3):
            with pytest.raises(exceptions.DeviceBusy):
                wait.wait_for(lambda: None, 30, 'it')
        assert wait.time_left(30) == 0
    assert time.monotonic() - began < 5
    assert wait.time_left(30) == 30


def test_an_inner_limit_lengthens_nothing_unless_it_is_to():
    with wait.limit(10):
        with wait.limit(1000):
            assert wait.time_left(2000) <= 10
        with wait.limit(5):
            assert wait.time_left(2000) <= 5
        with wait.limit(1000, ignore_earlier=True):
            assert 10 < wait.time_left(2000) <= 1000
        assert 5 < wait.time_left(2000) <= 10


def test_work_in_a_thread_of_its_own_obeys_the_limit(gate):
    left = []
    with wait.limit(10):
        wait.run_within(lambda: left.append(wait.time_left(99)), 5, 'it')
    assert 0 < left[0] <= 10
    with (
        wait.limit(0.05),
        pytest.raises(exceptions.DeviceBusy, match=r'Waited 0\.0\d* s for it'),
    ):
        wait.run_within(gate.wait, 30, 'it')


def test_retries_of_what_hangs_leave_one_thread(gate):
    """Six DELs of a VF whose program has vfio open, say."""
    for attempt in range(6):
        with pytest.raises(exceptions.DeviceBusy) as caught:
            wait.run_within(gate.wait, 0.02, 'vfio-pci to let go', 'pci-1')
        assert ('earlier attempt' in str(caught.value)) == (attempt > 0)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count('vfio-pci to let go') == 1
    done = []
    wait.run_within(lambda: done.append('other'), 5, 'it', 'pci-2')
    gate.set()
    wait.run_within(lambda: done.append('retry'), 5, 'it', 'pci-1')
    assert done == ['other', 'retry']


def test_parts_of_work_apart_are_done_in_its_thread():
    threads = []

    def work():
        for _ in range(2):
            wait.run_here_within(
                lambda: threads.append(threading.current_thread()), 5, 'it'
            )
        return 'done'

    assert wait.run_apart(work, 'all of it') == 'done'
    assert len(set(threads)) == 1
    assert threading.current_thread() not in threads


def test_without_a_thread_apart_a_part_gets_one(gate):
    with pytest.raises(exceptions.DeviceBusy, match=r'Waited 0\.01 s for it'):
        wait.run_here_within(gate.wait, 0.01, 'it')


def test_a_part_that_hangs_ends_all_of_the_work(gate):
    """Whatever handles errors in it: its caller has gone on already."""
    went_on, ended = [], threading.Event()

    def work():
        try:
            with contextlib.suppress(Exception):
                wait.run_here_within(gate.wait, 0.01, 'the kernel', 'pf-1')
            went_on.append('next part')
        finally:
            ended.set()

    with pytest.raises(exceptions.DeviceBusy) as caught:
        wait.run_apart(work, 'all of it')
    assert str(caught.value) == 'Waited 0.01 s for the kernel'
    with pytest.raises(exceptions.DeviceBusy, match='earlier attempt'):
        wait.run_apart(
            lambda: wait.run_here_within(ended.wait, 0.01, 'again', 'pf-1'),
            'all of it, again',
        )
    gate.set()
    assert ended.wait(60)
    assert went_on == []
    wait.run_within(lambda: went_on.append('later'), 60, 'it', 'pf-1')
    assert went_on == ['later']


def test_only_the_parts_of_work_apart_have_deadlines():
    """What is between two of them does not hang in the kernel."""
    unset = threading.Event()

    def work():
        wait.run_here_within(lambda: None, 0.01, 'the kernel')
        unset.wait(0.05)  # longer than that part might have taken
        return 'done'

    assert wait.run_apart(work, 'all of it') == 'done'


def test_an_error_in_a_part_can_be_handled():
    def fail():
        raise exceptions.KernelError('no', 22)

    def work():
        with pytest.raises(exceptions.KernelError, match='no'):
            wait.run_here_within(fail, 60, 'the kernel')
        return 'handled'

    assert wait.run_apart(work, 'all of it') == 'handled'


def test_a_thread_that_is_lost_ends_past_all_handlers():
    """Such as one that cannot leave a pod's network namespace."""
    went_on = []

    def work():
        with contextlib.suppress(Exception):
            raise workers.ThreadLost(exceptions.KernelError('stuck', 1))
        went_on.append(1)

    with pytest.raises(exceptions.KernelError, match='stuck'):
        wait.run_apart(work, 'all of it')
    assert went_on == []


def test_pauses_between_probes_grow_and_end_at_the_deadline(monkeypatch):
    now, pauses = [100.0], []

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(time, 'sleep', sleep)
    with pytest.raises(exceptions.DeviceBusy, match='Waited 3 s for a lock'):
        wait.wait_for(lambda: None, 3, 'a lock')
    assert pauses[0] == wait.SHORTEST
    assert sum(pauses) == pytest.approx(3)
    for shorter, longer in itertools.pairwise(pauses[:-1]):
        assert longer == min(2 * shorter, wait.LONGEST)
