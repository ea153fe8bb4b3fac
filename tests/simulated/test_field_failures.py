# SPDX-License-Identifier: Apache-2.0
"""What users of other SR-IOV plugins report, again and again.

Each test's docstring names the reports: the project, and its issue or pull
request.
"""

import concurrent.futures
import errno
import threading

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.testing.fixtures.interruption import Killed


@pytest.fixture
def before(world):
    return world.node.state()


@pytest.fixture
def node(world, before):
    return world.start()


def attach(world, node, pod, pf=1, index=0, **fields):
    """Give a VF to a pod; its sandbox."""
    sandbox = world.sandbox(pod, world.vf(pf, index))
    node.attach(sandbox, [world.vif('net1', pf, **fields)])
    return sandbox


def test_an_old_del_leaves_the_new_owner_alone(world, node):
    """Reported to sriov-cni #219."""
    old = attach(world, node, 1)
    world.node.delete_netns(old.netns)
    new = attach(world, node, 2)
    node.detach(old.container_id)
    node.check(new.container_id)


def test_a_netns_that_is_gone_does_not_keep_its_vf(world, node, before):
    """Reported to sriov-cni #126."""
    sandbox = attach(world, node, 1)
    world.node.delete_netns(sandbox.netns)
    link = world.node.state()[world.vf(1, 0).pci].link
    assert link.name == 'net1'
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_a_vf_whose_netns_has_no_path_any_more_comes_home(
    world, node, before, monkeypatch
):
    """Its path is unmounted, but some process keeps it.

    Reported to sriov-cni #349.
    """
    sandbox = attach(world, node, 1)
    links = world.node.host.links
    monkeypatch.setattr(links, 'alive', lambda netns: netns == '')
    node.detach(sandbox.container_id)
    assert world.node.state() == before


@pytest.mark.parametrize(
    ('setting', 'value'),
    [('min_tx_rate', 100), ('link_state', 'disable'), ('trust', True)],
)
def test_a_setting_the_nic_refuses_is_named_and_undone(
    world, node, before, setting, value
):
    """Reported to sriov-cni #119, #208, #291."""
    world.node.refuse('0000:02:00.1', {setting: errno.EOPNOTSUPP})
    with pytest.raises(exceptions.UnsupportedSetting) as raised:
        attach(world, node, 1, **{setting: value})
    assert raised.value.setting == setting
    assert world.node.state() == before


@pytest.mark.parametrize('name', ['net1', 'ens8v0net1', 'temp_5', 'dev5'])
def test_no_interface_name_is_in_the_way(world, node, before, name):
    """Reported to sriov-cni #111, #250, #445."""
    world.node.add_interface(name)
    sandbox = attach(world, node, 1)
    node.check(sandbox.container_id)
    world.node.rename(world.vf(1, 0).pci, 'ens8')
    node.detach(sandbox.container_id)
    assert world.node.state() == before


@pytest.mark.parametrize('collect', ['reconcile', 'gc'])
def test_a_vf_whose_del_never_ran_comes_home(world, node, before, collect):
    """Reported to sriov-network-device-plugin #685."""
    sandbox = attach(world, node, 1)
    if collect == 'gc':
        node.collect_garbage(())
    else:
        world.node.delete_netns(sandbox.netns)
        world.start().reconcile()
    assert world.node.state() == before
    macs = [state.link.mac for state in world.node.state().values()]
    assert len(set(macs)) == len(macs)


def test_all_pods_deleted_at_once_give_their_vfs_back(world, node, before):
    """Their netns go at any time meanwhile.

    Reported to openshift/sriov-cni #58 and multus-cni #1342.
    """
    sandboxes = [
        attach(world, node, number, *divmod(number, 2)) for number in range(4)
    ]

    def delete(sandbox):
        node.detach(sandbox.container_id)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        deletions = [pool.submit(delete, sandbox) for sandbox in sandboxes]
        for sandbox in sandboxes:
            world.node.delete_netns(sandbox.netns)
    for deletion in deletions:
        deletion.result()
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_one_pf_is_configured_by_one_other_pfs_go_on(world):
    """The NIC cannot take more; the other NIC does not care.

    Reported to sriov-cni #34.
    """
    world.text += 'pf_lock_timeout = 0.1\n'
    node, other = world.start(), world.start()
    entered, go_on = threading.Event(), threading.Event()

    def stop_the_first_half_way(operation):
        if not entered.is_set():
            entered.set()
            assert go_on.wait(30)

    world.node.on_change(stop_the_first_half_way)
    thread = threading.Thread(target=attach, args=(world, node, 1))
    thread.start()
    assert entered.wait(30)
    try:
        with pytest.raises(exceptions.DeviceBusy, match='pf_lock_timeout'):
            attach(world, node, 2, index=1)
        with pytest.raises(exceptions.DeviceBusy, match='pf_lock_timeout'):
            attach(world, other, 2, index=1)
        attach(world, other, 3, pf=0)
    finally:
        go_on.set()
        thread.join(30)
    attach(world, other, 2, index=1)


def test_a_busy_device_is_asked_again(world, node):
    """Reported to sriov-cni #213."""
    world.node.fail('set', errno.EBUSY, times=3)
    world.node.fail('unbind', errno.EBUSY, times=3)
    node.check(attach(world, node, 1, pf=0).container_id)
    node.check(attach(world, node, 2, pf=1).container_id)


def test_a_device_that_stays_busy_is_given_up(world, before):
    """Reported to sriov-cni #213."""
    world.timeout = 0.1
    node = world.start()
    world.node.fail('unbind', errno.EBUSY, times=0)
    with pytest.raises(exceptions.DeviceBusy, match='still uses the device'):
        attach(world, node, 1, pf=0)
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_a_mac_that_the_pf_shows_late_is_waited_for(world, node, monkeypatch):
    """It is read back until it is there.

    Reported to sriov-cni #232, #239.
    """
    links = world.node.host.links
    read, stale = links.pf, []

    def show_late(pf):
        now = read(pf)
        stale.append(now)
        return stale[0] if len(stale) < 5 else now

    monkeypatch.setattr(links, 'pf', show_late)
    sandbox = attach(world, node, 1)
    assert len(stale) >= 5
    node.check(sandbox.container_id)


def test_a_mac_that_the_pf_never_shows_is_refused(world, monkeypatch):
    """Reported to sriov-cni #232, #239."""
    world.timeout = 0.05
    node = world.start()
    links = world.node.host.links
    stale = links.pf(world.node.host.pci.device('0000:02:00.1').ifindex)
    monkeypatch.setattr(links, 'pf', lambda pf: stale)
    with pytest.raises(exceptions.UnsupportedSetting) as raised:
        attach(world, node, 1)
    assert raised.value.setting == 'mac'
    assert node.ledger.all() == ()


def test_nothing_is_kept_of_what_a_reboot_changes(world):
    """IOMMU groups and allocations; nothing is kept over it.

    Reported to sriov-network-device-plugin #451 and kubernetes #104581.
    """
    nodes = []
    for index in (0, 1):
        device = world.vf(0, index)
        sandbox = world.sandbox(1, device, generation=index)
        (attached,) = world.start().attach(sandbox, [world.vif('net1', 0)])
        assert attached.location.pci_slot == device.pci
        group = world.node.host.pci.device(device.pci).iommu_group
        assert f'/dev/vfio/{group}' in attached.device_info.device_nodes
        nodes.append(attached.device_info.device_nodes)
        world.node.reboot()
    assert nodes[0] != nodes[1]


def test_each_network_keeps_its_vf(world, node):
    """Whatever the order in which the kubelet lists them.

    Reported to sriov-cni #231 and multus-cni, pull request 1540.
    """

    def die(step):
        if step == 'confirm':
            raise Killed

    devices = [world.vf(1, 0), world.vf(1, 1)]
    vifs = [world.vif('net1', 1), world.vif('net2', 1)]
    sandbox = world.sandbox(1, *devices)
    with pytest.raises(Killed):
        world.start(observe_beginnings=die).attach(sandbox, vifs)
    first = {a.vif.ifname: a.pci for a in node.ledger.all()}
    world.sandbox(1, *reversed(devices))
    for order in (vifs, vifs[::-1]):
        attached = node.attach(sandbox, order)
        pairs = {a.vif.ifname: a.location.pci_slot for a in attached}
        assert pairs == first
    for vif in vifs:
        link = world.node.host.links.find(first[vif.ifname], sandbox.netns)
        assert (link.name, link.mac) == (vif.ifname, vif.mac)


def test_a_pf_that_was_renamed_is_still_the_same(world, node, before):
    """Reported to sriov-network-device-plugin #420."""
    sandbox = attach(world, node, 1)
    world.node.rename('0000:02:00.1', 'enp2s0f1')
    second = attach(world, node, 2, index=1)
    for each in (sandbox, second):
        node.check(each.container_id)
        node.detach(each.container_id)
    world.node.rename('0000:02:00.1', 'ens8')
    assert world.node.state() == before
