# SPDX-License-Identifier: Apache-2.0
"""Every wait has a deadline, and says what it waited for."""

import threading

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host import wait


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
