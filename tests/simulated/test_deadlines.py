# SPDX-License-Identifier: Apache-2.0
"""One deadline for each attach and detach, whatever it waits for."""

import errno
import sqlite3
import threading
import time

import pytest
from servers import wait_for

from kuryr_sriov import exceptions
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.host import wait
from kuryr_sriov.host.locks import PfLocks

LIMIT = 2.0  # a busy machine takes a part of it for what waits for nothing
SLOW = 60  # far longer than any of it may take


@pytest.fixture
def node(world):
    """Each single wait could go on for long."""
    world.timeout = 2 * SLOW
    world.text += (
        f'attachment_timeout = {LIMIT}\n'
        f'pf_lock_timeout = {2 * SLOW}\nkubelet_timeout = {2 * SLOW}\n'
    )
    return world.start()


@pytest.fixture
def soon():
    """Fails a test that has waited beyond the deadline."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SLOW


@pytest.fixture
def foreign_lock(world):
    """Another daemon's, on the second PF."""
    locks = PfLocks(world.path / 'state' / 'locks', timeout=SLOW)
    with locks.hold(['0000:02:00.1']):
        yield


def test_an_attach_that_waits_for_a_lock(world, node, soon, foreign_lock):
    sandbox = world.sandbox(1, world.vf(1, 0))
    with pytest.raises(exceptions.DeviceBusy):
        node.attach(sandbox, [world.vif('net1', 1)])
    assert node.attachments() == ()


def test_an_attach_that_waits_for_a_netdev(world, node, soon):
    """It is taken back all the same: that has a time of its own."""
    before = world.node.state()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    held = NetdeviceDriver.connect

    def hang(driver, attachment):
        held(driver, attachment)
        wait.wait_for(lambda: None, 2 * SLOW, 'what never comes')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetdeviceDriver, 'connect', hang)
        with pytest.raises(exceptions.DeviceBusy, match='what never comes'):
            node.attach(sandbox, world.both())
    assert world.node.state() == before
    assert node.attachments() == ()


def test_a_detach_that_waits_for_a_lock_restores_the_other_vf(
    world, node, soon
):
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    node.attach(sandbox, world.both())
    locks = PfLocks(world.path / 'state' / 'locks', timeout=SLOW)
    with (
        locks.hold(['0000:02:00.0']),  # of the first, which has its share
        pytest.raises(exceptions.DeviceBusy),
    ):
        node.detach(sandbox.container_id)
    (left,) = node.attachments()
    assert left.pci == world.vf(0, 0).pci


def test_a_pf_that_somebody_holds_is_waited_for_once(world, node, soon):
    """However many of its VFs are to be given back."""
    sandbox = world.sandbox(1, world.vf(1, 0), world.vf(1, 1))
    node.attach(sandbox, [world.vif('net1', 1), world.vif('net2', 1)])
    world.node.delete_netns(sandbox.netns)
    locks = PfLocks(world.path / 'state' / 'locks', timeout=SLOW)
    with locks.hold(['0000:02:00.1']):
        began = time.monotonic()
        first, second = node.reconcile().failed
        assert time.monotonic() - began < 2 * LIMIT
    assert first.error is second.error
    assert len(node.reconcile().restored) == 2


def test_an_attach_that_waits_for_the_ledger(world, node, soon):
    node.attachments()
    sandbox = world.sandbox(1, world.vf(1, 0))
    other = sqlite3.connect(node.ledger.path)
    other.execute('BEGIN IMMEDIATE')
    with pytest.raises(exceptions.LedgerBusy):
        node.attach(sandbox, [world.vif('net1', 1)])
    other.close()
    node.attach(sandbox, [world.vif('net1', 1)])


def test_a_kubelet_that_hangs(world, node, soon):
    """Its client's own timeout is longer."""
    left = []

    def hang(pod):
        left.append(wait.time_left(2 * SLOW))
        return world.allocations(pod)

    node = world.start(allocations=hang)
    node.attach(world.sandbox(1, world.vf(1, 0)), [world.vif('net1', 1)])
    assert 0 < left[0] <= LIMIT


def test_what_hangs_in_the_kernel_stalls_its_own_vf_by_one_thread(
    world, monkeypatch
):
    """A program has /dev/vfio open, and DEL is repeated all the time."""
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    node.attach(sandbox, world.both())
    stuck = world.vf(0, 0).pci
    before = threading.active_count()
    gate = threading.Event()
    disconnect = VfioDriver.disconnect

    def hang(driver, attachment):
        patience = SLOW if gate.is_set() else 0.05
        wait.run_within(gate.wait, patience, 'the driver to let go', stuck)
        disconnect(driver, attachment)

    monkeypatch.setattr(VfioDriver, 'disconnect', hang)
    for _ in range(6):
        with pytest.raises(exceptions.DeviceBusy):
            node.detach(sandbox.container_id)
    assert threading.active_count() <= before + 1
    assert [record.pci for record in node.attachments()] == [stuck]
    gate.set()
    wait_for(lambda: threading.active_count() <= before, SLOW, 'its thread')
    node.detach(sandbox.container_id)
    assert node.attachments() == ()


def test_taking_back_a_failed_attach_has_a_time_of_its_own(world, node, soon):
    """It began when the other was over."""
    left = []
    restore = NetdeviceDriver.disconnect

    def look(driver, attachment):
        left.append(wait.time_left(2 * SLOW))
        restore(driver, attachment)

    world.node.fail('add_address', errno.EIO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetdeviceDriver, 'disconnect', look)
        with pytest.raises(exceptions.KernelError):
            node.attach(
                world.sandbox(1, world.vf(1, 0)), [world.vif('net1', 1)]
            )
    assert 0 < left[0] <= LIMIT
