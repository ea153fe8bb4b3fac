# SPDX-License-Identifier: Apache-2.0
"""At start, and on GC: what nobody owns any more is given back."""

import contextlib
import errno
import sqlite3
import threading

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.handlers.events import Event
from kuryr_sriov.handlers.restore import Reconciled
from kuryr_sriov.host.locks import PfLocks
from kuryr_sriov.testing.fixtures.interruption import Killed


def kill_at(step):
    """An observer that ends the process when it comes to ``step``."""

    def observe(name):
        if name == step:
            raise Killed(name)

    return observe


def attach(world, node, pod, index):
    """Give the pod VF ``index`` of both PFs."""
    sandbox = world.sandbox(pod, world.vf(0, index), world.vf(1, index))
    node.attach(sandbox, world.both())
    return sandbox


def test_a_running_pod_is_left_alone(world):
    attach(world, world.start(), 1, 0)
    running = world.node.state()
    node = world.start()
    changes = []
    world.node.on_change(changes.append)
    assert node.reconcile() == Reconciled()
    assert changes == []
    assert world.node.state() == running
    assert len(node.ledger.all()) == 2


def test_running_pods_cost_no_lock(world):
    """There may be hundreds of them, and a PF that somebody holds."""
    world.text += 'pf_lock_timeout = 0.1\n'
    node = world.start()
    sandbox = attach(world, node, 1, 0)
    pfs = {record.pf for record in node.attachments()}
    with PfLocks(node.ledger.path.parent / 'locks', 1).hold(pfs):
        assert node.reconcile() == Reconciled()
        assert node.collect_garbage([sandbox.container_id]) == Reconciled()
        lost = node.collect_garbage([]).failed
    assert len(lost) == 2
    assert all('pf_lock_timeout' in str(each.error) for each in lost)


@pytest.mark.parametrize('step', ['connect', 'report', 'confirm'])
def test_an_attach_that_was_never_confirmed_is_given_back(world, step):
    before = world.node.state()
    with pytest.raises(Killed):
        attach(world, world.start(observe_beginnings=kill_at(step)), 1, 0)
    node = world.start()
    intents = node.ledger.all()
    assert [record.done for record in intents] == [False, False]
    assert node.reconcile() == Reconciled(restored=intents)
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_a_pod_whose_netns_is_gone_is_given_back(world):
    before = world.node.state()
    node = world.start()
    sandbox = attach(world, node, 1, 0)
    world.node.delete_netns(sandbox.netns)
    assert len(node.reconcile().restored) == 2
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_after_a_reboot_records_are_forgotten_and_no_vf_is_touched(world):
    attach(world, world.start(), 1, 0)
    world.node.reboot()
    after = world.node.state()
    node = world.start()
    changes = []
    world.node.on_change(changes.append)
    assert len(node.reconcile().restored) == 2
    assert changes == []
    assert world.node.state() == after
    assert node.ledger.all() == ()


def test_a_netns_of_the_same_path_does_not_outlive_a_reboot(world):
    sandbox = attach(world, world.start(), 1, 0)
    world.node.reboot()
    world.node.add_netns(sandbox.netns)
    assert len(world.start().reconcile().restored) == 2


def test_an_error_in_one_does_not_keep_the_others(world):
    before = world.node.state()
    node = world.start()
    for pod in (1, 2):
        sandbox = attach(world, node, pod, pod - 1)
        world.node.delete_netns(sandbox.netns)
    stuck = world.vf(0, 0).pci
    world.node.fail('set_vf', errno.EIO, times=99, pci=stuck)
    result = node.reconcile()
    world.node.heal()
    assert [record.pci for record in node.ledger.all()] == [stuck]
    assert len(result.restored) == 3
    (failed,) = result.failed
    assert failed.pci == stuck
    assert isinstance(failed.error, exceptions.Owed)
    assert [record.pci for record in node.reconcile().restored] == [stuck]
    assert world.node.state() == before


def test_all_errors_of_a_detach_are_told(world, monkeypatch):
    node = world.start()
    sandbox = attach(world, node, 1, 0)
    for driver, words in ((VfioDriver, 'first'), (NetdeviceDriver, 'second')):

        def breaks(driver, attachment, words=words):
            raise exceptions.DeviceBusy(words)

        monkeypatch.setattr(driver, 'disconnect', breaks)
    with pytest.raises(exceptions.DeviceBusy, match='first') as raised:
        node.detach(sandbox.container_id)
    assert raised.value.__notes__ == ['and: second']


@pytest.mark.parametrize(
    'error', [OSError('a driver lost a file'), ZeroDivisionError()]
)
def test_a_drivers_own_error_does_not_keep_the_others(
    world, monkeypatch, error
):
    node = world.start()
    sandbox = attach(world, node, 1, 0)
    world.node.delete_netns(sandbox.netns)

    def breaks(driver, attachment):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(VfioDriver, 'disconnect', breaks)
        result = node.reconcile()
    assert [record.pci for record in result.restored] == [world.vf(1, 0).pci]
    (failed,) = result.failed
    assert failed.error is error
    assert (failed.pci, failed.ifname) == (world.vf(0, 0).pci, 'net1')
    assert len(node.reconcile().restored) == 1


def test_an_attach_in_progress_is_waited_for_not_given_back(world):
    """Another process of this node, or another thread."""
    world.text += 'pf_lock_timeout = 0.1\n'
    node, other = world.start(), world.start()
    entered, go_on = threading.Event(), threading.Event()

    def stop_half_way(operation):
        entered.set()
        assert go_on.wait(30)

    world.node.on_change(stop_half_way)
    attaching = threading.Thread(target=attach, args=(world, node, 1, 0))
    attaching.start()
    assert entered.wait(30)
    try:
        failures = other.reconcile().failed
        assert len(failures) == 2
        for failure in failures:
            assert isinstance(failure.error, exceptions.DeviceBusy)
            assert 'another process' in str(failure.error)
    finally:
        go_on.set()
        attaching.join(30)
    assert other.reconcile() == Reconciled()
    assert [record.done for record in node.ledger.all()] == [True, True]


def test_gc_keeps_what_the_runtime_knows_and_gives_back_the_rest(world):
    before = world.node.state()
    node = world.start()
    kept = attach(world, node, 1, 0)
    running = world.node.state()
    attach(world, node, 2, 1)
    given_back = node.collect_garbage([kept.container_id]).restored
    assert {record.sandbox.pod.name for record in given_back} == {'pod2'}
    assert {record.sandbox for record in node.attachments()} == {kept}
    assert world.node.state() == running
    node.check(kept.container_id)
    node.collect_garbage(())
    assert world.node.state() == before
    assert node.ledger.all() == ()


def spoil_record(world, container_id):
    """Write over a record as no release does."""
    path = world.path / 'state' / 'ledger.sqlite'
    with contextlib.closing(sqlite3.connect(path)) as ledger:
        ledger.execute(
            "UPDATE attachment SET record = '{' WHERE container_id = ?",
            (container_id,),
        )
        ledger.commit()


def test_an_unreadable_record_is_set_aside_and_stops_nobody(world, caplog):
    told = []
    node = world.start(observe=told.append)
    spoilt = world.sandbox(1, world.vf(1, 0))
    node.attach(spoilt, [world.vif('net1', 1)])
    lost = world.sandbox(2, world.vf(1, 1))
    node.attach(lost, [world.vif('net1', 1)])
    world.node.delete_netns(lost.netns)
    spoil_record(world, spoilt.container_id)
    result = node.reconcile()
    assert [r.sandbox for r in result.restored] == [lost]
    (failed,) = result.failed
    assert (failed.container_id, failed.ifname, failed.pci) == (
        spoilt.container_id,
        'net1',
        world.vf(1, 0).pci,
    )
    assert isinstance(failed.error, exceptions.LedgerError)
    assert 'cannot be read' in caplog.text
    (aside,) = [event for event in told if event.step == 'set-aside']
    assert aside == Event(
        *('set-aside', 'failed', 'set-aside'),
        container_id=spoilt.container_id,
        ifname='net1',
        pci=failed.pci,
        error=aside.error,
    )
    assert 'cannot be read and is set aside: ' in str(aside.error)
    node.detach(spoilt.container_id)
    node.collect_garbage([])
    assert [r.pci for r in node.set_aside()] == [world.vf(1, 0).pci]


def test_the_vf_of_an_unreadable_record_is_given_to_nobody(world):
    """A running pod may have it."""
    node = world.start()
    spoilt = world.sandbox(1, world.vf(1, 0))
    node.attach(spoilt, [world.vif('net1', 1)])
    spoil_record(world, spoilt.container_id)
    node.attachments()
    running = world.node.state()
    with pytest.raises(exceptions.LedgerError, match='kuryr-sriov inventory'):
        node.attach(world.sandbox(2, world.vf(1, 0)), [world.vif('net1', 1)])
    assert world.node.state() == running


def test_a_reboot_frees_the_vf_of_an_unreadable_record(world):
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0))
    node.attach(sandbox, [world.vif('net1', 1)])
    spoil_record(world, sandbox.container_id)
    node.attachments()
    world.node.reboot()
    node = world.start()
    assert node.reconcile() == Reconciled()
    node.attach(world.sandbox(2, world.vf(1, 0)), [world.vif('net1', 1)])
