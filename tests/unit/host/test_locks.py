# SPDX-License-Identifier: Apache-2.0
"""One configuration at a time per PF, across threads and processes."""

import multiprocessing
import os
import signal
import stat
import threading

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host.locks import PfLocks

PF = '0000:02:00.0'
OTHER = '0000:02:00.1'


def test_a_second_thread_waits_until_the_first_is_done(tmp_path):
    locks = PfLocks(tmp_path, timeout=10)
    order = []

    def second():
        with locks.hold([PF]):
            order.append('second')

    with locks.hold([PF]):
        thread = threading.Thread(target=second)
        thread.start()
        order.append('first')
    thread.join()
    assert order == ['first', 'second']


def test_nobody_else_reads_or_takes_a_lock(tmp_path):
    state = tmp_path / 'lib' / 'locks'
    with PfLocks(state, timeout=10).hold([PF]):
        (file,) = state.iterdir()
        assert file.name == f'{PF}.lock'
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_pf_is_free(tmp_path):
    locks = PfLocks(tmp_path, timeout=0.05)
    with locks.hold([PF]), locks.hold([OTHER]):
        pass


def test_a_thread_gives_up_after_the_deadline(tmp_path):
    locks = PfLocks(tmp_path, timeout=0.05)
    with (
        locks.hold([PF]),
        pytest.raises(exceptions.DeviceBusy, match='pf_lock_timeout'),
        locks.hold([OTHER, PF]),
    ):
        pass
    with locks.hold([OTHER, PF]):  # and let go of what it had
        pass


def hold_until_killed(directory, held):
    with PfLocks(directory, timeout=10).hold([PF]):
        held.set()
        signal.pause()


def test_a_process_that_dies_gives_its_lock_back(tmp_path):
    context = multiprocessing.get_context('fork')
    held = context.Event()
    child = context.Process(target=hold_until_killed, args=(tmp_path, held))
    child.start()
    assert held.wait(10)
    with (
        pytest.raises(exceptions.DeviceBusy, match='another process'),
        PfLocks(tmp_path, timeout=0.05).hold([PF]),
    ):
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with PfLocks(tmp_path, timeout=10).hold([PF]):
        pass


def test_opposite_orders_do_not_block_each_other(tmp_path):
    locks = PfLocks(tmp_path, timeout=10)

    def many(pcis):
        for _ in range(200):
            with locks.hold(pcis):
                pass

    threads = [
        threading.Thread(target=many, args=(pcis,))
        for pcis in ([PF, OTHER], [OTHER, PF])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    file = tmp_path / 'file'
    file.touch()
    with (
        pytest.raises(exceptions.LedgerError, match='state_dir'),
        PfLocks(file / 'locks', timeout=1).hold([PF]),
    ):
        pass
