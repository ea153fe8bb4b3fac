# SPDX-License-Identifier: Apache-2.0
"""Binding a function to a driver, and what comes in between."""

import errno
import os
import threading
import time

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host import pci_binding as sysfs_module
from kuryr_sriov.host.pci_binding import Sysfs
from kuryr_sriov.testing.simulation.simulated_node import (
    Pf,
    SimulatedHost,
    SimulatedNode,
)

PF = '0000:02:00.0'
VF = '0000:02:10.0'


@pytest.fixture
def node(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=2)])
    yield node
    node.close()


@pytest.fixture
def pci(node):
    return node.host.pci


def state(node):
    """Driver and driver_override."""
    function = node.state()[VF]
    return function.driver, function.driver_override


def test_to_another_driver_and_back(node, pci):
    pci.bind(VF, 'vfio-pci', 5)
    assert state(node) == ('vfio-pci', '')
    pci.bind(VF, 'igbvf', 5)
    assert state(node) == ('igbvf', '')


def test_to_none_and_back_as_the_kernel_likes(node, pci):
    pci.bind(VF, '', 5)
    assert state(node) == ('', '')
    pci.bind(VF, None, 5)
    assert state(node) == ('igbvf', '')


def test_in_the_fewest_writes(pci):
    pci.bind(VF, 'vfio-pci', 5)
    assert pci.writes == {'unbind': 1, 'driver_override': 2, 'bind': 1}


def test_where_it_is_bound_already_nothing_is_written(node, pci):
    before = node.state()
    pci.bind(VF, 'igbvf', 5)
    assert not pci.writes
    assert node.state() == before


def test_a_driver_override_that_a_crash_has_left_is_cleared(
    node, pci, tmp_path
):
    """kuryr-kubernetes left driver_override pinned."""
    path = tmp_path / 'sys/bus/pci/devices' / VF / 'driver_override'
    for driver in ('igbvf', 'vfio-pci', '', None):
        pci._write(path, 'vfio-pci')
        pci.bind(VF, driver, 5)
        assert state(node)[1] == ''


def test_its_override_is_read_set_and_cleared(node, pci):
    assert pci.get_override(VF, 5) == ''
    pci.set_override(VF, 'vfio-pci', 5)
    assert (state(node), pci.get_override(VF, 5)) == (
        ('igbvf', 'vfio-pci'),
        'vfio-pci',
    )
    pci.set_override(VF, '', 5)
    assert (state(node), pci.get_override(VF, 5)) == (('igbvf', ''), '')


def test_an_override_that_is_there_is_not_written_again(node, pci):
    pci.set_override(VF, '', 5)
    assert not pci.writes
    pci.set_override(VF, 'igbvf', 5)
    pci.set_override(VF, 'igbvf', 5)
    assert pci.writes == {'driver_override': 1}


@pytest.mark.parametrize(
    'look',
    [
        lambda pci: pci.get_override(VF, 0.02),
        lambda pci: pci.set_override(VF, '', 0.02),
        lambda pci: pci.bind(VF, 'igbvf', 0.02),
    ],
)
def test_a_look_at_the_override_has_a_deadline(pci, monkeypatch, look):
    """The kernel locks the device for it, which its driver may hold."""
    monkeypatch.setattr(sysfs_module, 'GRACE', 0.01)
    path = pci.root / 'sys/bus/pci/devices' / VF / 'driver_override'
    path.unlink()
    os.mkfifo(path)  # a file that is opened once somebody writes to it
    with pytest.raises(exceptions.DeviceBusy, match=VF):
        look(pci)
    with path.open('w') as held:
        held.write('(null)')
    for thread in threading.enumerate():
        if thread.name.startswith('the driver of'):
            thread.join()


def test_a_driver_that_is_not_loaded_is_named_with_the_remedy(node, pci):
    before = node.state()
    with pytest.raises(exceptions.KernelError) as caught:
        pci.bind(VF, 'igb_uio', 5)
    assert caught.value.errno == errno.ENOENT
    assert f'{VF} cannot be bound to igb_uio' in str(caught.value)
    assert 'modprobe igb_uio' in str(caught.value)
    assert node.state() == before


def test_a_failed_bind_gives_the_function_back(node, pci):
    node.fail('bind', errno.EINVAL)
    with pytest.raises(exceptions.KernelError) as caught:
        pci.bind(VF, 'vfio-pci', 5)
    assert caught.value.errno == errno.EINVAL
    assert VF in str(caught.value)
    assert 'enable_unsafe_noiommu_mode' in str(caught.value)
    assert state(node) == ('igbvf', '')


def test_without_an_iommu_vfio_refuses(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6')], iommu='off')
    with pytest.raises(exceptions.KernelError) as caught:
        node.host.pci.bind(VF, 'vfio-pci', 5)
    assert caught.value.errno == errno.EINVAL
    assert state(node) == ('igbvf', '')


def test_the_first_error_is_told_when_giving_back_fails_too(node, pci):
    node.fail('bind', errno.EINVAL)
    node.fail('bind', errno.EIO)
    with pytest.raises(exceptions.KernelError) as caught:
        pci.bind(VF, 'vfio-pci', 5)
    assert caught.value.errno == errno.EINVAL
    assert state(node) == ('', '')


def test_a_function_that_had_no_driver_is_left_without(node, pci):
    pci.bind(VF, '', 5)
    node.fail('bind', errno.EINVAL)
    with pytest.raises(exceptions.KernelError):
        pci.bind(VF, 'vfio-pci', 5)
    assert state(node) == ('', '')


@pytest.mark.parametrize(
    ('file', 'number'),
    [
        ('unbind', errno.EBUSY),
        ('unbind', errno.ENOENT),  # the driver is still being loaded
        ('unbind', errno.ENODEV),
        ('bind', errno.EBUSY),
        ('bind', errno.ENOENT),
        ('bind', errno.EAGAIN),  # its probe was deferred
    ],
)
def test_what_passes_is_tried_again(node, pci, file, number):
    node.fail(file, number, times=3)
    pci.bind(VF, 'vfio-pci', 5)
    assert state(node) == ('vfio-pci', '')
    assert node.operations[file] == 4


@pytest.mark.parametrize('file', ['unbind', 'bind'])
def test_what_does_not_pass_ends_at_the_deadline(node, pci, file, monkeypatch):
    monkeypatch.setattr(sysfs_module, 'GIVE_BACK', 0.02)
    node.fail(file, errno.EBUSY, times=10_000, pci=VF)
    with pytest.raises(exceptions.DeviceBusy) as caught:
        pci.bind(VF, 'vfio-pci', 0.02)
    assert VF in str(caught.value)
    assert os.strerror(errno.EBUSY) in str(caught.value)


def test_an_error_of_unbind_is_told(node, pci):
    node.fail('unbind', errno.EIO)
    with pytest.raises(exceptions.KernelError, match='see the kernel log'):
        pci.bind(VF, 'vfio-pci', 5)
    assert state(node) == ('igbvf', '')


def test_a_driver_that_does_not_let_go(node, pci, monkeypatch):
    """A process has /dev/vfio open: the kernel blocks, the caller does not."""
    monkeypatch.setattr(sysfs_module, 'GRACE', 0.01)
    pci.bind(VF, 'vfio-pci', 5)
    with node.held(VF):
        with pytest.raises(exceptions.DeviceBusy) as caught:
            pci.bind(VF, 'igbvf', 0.02)
        assert 'stop what still uses the device' in str(caught.value)
        assert state(node) == ('vfio-pci', '')
    for thread in threading.enumerate():
        if thread.name.startswith('the driver of'):
            thread.join()
    pci.bind(VF, 'igbvf', 5)
    assert state(node) == ('igbvf', '')


@pytest.mark.parametrize(
    'file', ['driver_override', 'unbind', 'bind', 'reset']
)
def test_a_write_that_hangs_keeps_one_thread_however_often_it_is_tried(
    node, pci, monkeypatch, file
):
    monkeypatch.setattr(sysfs_module, 'GRACE', 0.01)
    let_go = threading.Event()
    node.on_change(lambda name: name == file and let_go.wait())

    def change():
        if file == 'reset':
            pci.reset(VF, 0.05)
        else:
            pci.bind(VF, 'vfio-pci', 0.05)

    before, start = threading.active_count(), time.monotonic()
    try:
        for _ in range(5):
            with pytest.raises(exceptions.DeviceBusy, match=VF):
                change()
        assert threading.active_count() <= before + 1
        assert time.monotonic() - start < 5
    finally:
        let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith('the driver of'):
            thread.join()
    driver, override = state(node)
    assert override == ''
    if file == 'unbind':  # let go too late, for nobody waits any more
        assert driver == 'igbvf'


def test_a_function_that_cannot_be_reset(node, pci):
    (pci.root / 'sys/bus/pci/devices' / VF / 'reset').unlink()
    assert not pci.reset(VF, 1)
    assert node.operations['reset'] == 0


def test_somebody_else_who_is_faster_does_no_harm(node, pci):
    other = SimulatedHost(node.host.call)
    bus = other.pci.root / 'sys/bus/pci/drivers'

    def faster(name):
        if name == 'unbind':
            other.pci._put(bus / 'igbvf/unbind', VF)
        elif name == 'bind':
            other.pci._put(bus / 'vfio-pci/bind', VF)

    node.on_change(faster)
    pci.bind(VF, 'vfio-pci', 5)
    assert state(node) == ('vfio-pci', '')


def test_a_function_that_goes_meanwhile_is_missing(node, pci):
    node.on_change(
        lambda name: name == 'bind' and node.recreate_vfs(PF, number=0)
    )
    with pytest.raises(exceptions.DeviceMissing, match=VF):
        pci.bind(VF, 'vfio-pci', 5)


def test_an_unknown_function_is_missing(pci):
    with pytest.raises(exceptions.DeviceMissing, match=r'0000:09:00\.0'):
        pci.bind('0000:09:00.0', 'vfio-pci', 5)


def test_the_real_file_is_written_and_never_made(tmp_path):
    path = tmp_path / 'sys/bus/pci/devices' / VF
    path.mkdir(parents=True)
    (path / 'driver_override').write_text('')
    sysfs = Sysfs(tmp_path)
    sysfs._write(path / 'driver_override', 'vfio-pci')
    assert (path / 'driver_override').read_text() == 'vfio-pci'
    with pytest.raises(exceptions.KernelError) as caught:
        sysfs._write(path / 'no_such_file', 'x')
    assert caught.value.errno == errno.ENOENT
    assert not (path / 'no_such_file').exists()
