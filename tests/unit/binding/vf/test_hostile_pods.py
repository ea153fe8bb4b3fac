# SPDX-License-Identifier: Apache-2.0
"""What a pod with NET_ADMIN leaves on its VF does not reach the next one."""

import dataclasses
import errno
import logging
import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.binding.vf import way_home
from kuryr_sriov.testing.simulation.simulated_node import (
    NICS,
    Pf,
    SimulatedNode,
)

PF = '0000:02:00.0'
NETNS = '/run/netns/pod'
PINNED = '02:00:00:00:00:99'
VIF = model.Vif(
    id='port',
    ifname='net1',
    network='default/net',
    resource='intel.com/p22',
    physnet='p22',
    mac='fa:16:3e:00:00:01',
    addresses=('192.0.2.1/24',),
    vlan=100,
    mtu=1400,
)


@pytest.fixture(params=['igb', 'i40e', 'mlx5_core'])
def node(tmp_path, request):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 2, driver=request.param)])
    node.add_netns(NETNS)
    yield node
    node.close()


@pytest.fixture
def pci(node):
    return node.vfs(PF)[0]


class Pod:
    """A pod on a VF, and the node as it was before."""

    def __init__(
        self, node, pci, cls=NetdeviceDriver, device_timeout=0.2, **vif
    ):
        name = 'vfio-pci' if cls is VfioDriver else 'netdevice'
        conf = types.SimpleNamespace(device_timeout=device_timeout)
        self.node, self.pci = node, pci
        self.before = node.state()
        self.driver = cls(name, node.host, conf)
        self.attachment = model.Attachment(
            sandbox=model.Sandbox('c1', NETNS, model.Pod('d', 'p', 'uid')),
            vif=dataclasses.replace(VIF, **vif),
            pci=pci,
            driver=name,
            pf=PF,
            original=self.driver.snapshot(pci),
        )
        self.driver.connect(self.attachment)

    def delete(self):
        self.driver.disconnect(self.attachment)

    def comes_home(self, by_the_first_way=None):
        with Warnings() as warnings:
            self.delete()
        # on a busy machine a slow first way may need another one as well
        if by_the_first_way is not None:
            assert (warnings == []) is by_the_first_way
        assert self.node.state() == self.before
        self.delete()
        assert self.node.state() == self.before
        return True


class Warnings(list):
    """What the way home says of ways that did not lead there."""

    def __enter__(self):
        self._log = logging.getLogger(way_home.__name__)
        self._handler = logging.Handler(logging.WARNING)
        self._handler.emit = self.append
        self._log.addHandler(self._handler)
        return self

    def __exit__(self, *_):
        self._log.removeHandler(self._handler)


@pytest.fixture
def pod(node, pci):
    return Pod(node, pci)


@pytest.mark.parametrize(
    'left',
    [
        {'altname': 'net2'},
        {'altname': 'ens6'},  # the PF's name, which is free in the pod
        {'xdp': '7'},
        {'flags': '0x1082'},  # IFF_NOARP
        {'flags': '0x1302', 'promiscuity': '1', 'allmulti': '1'},
        {'txqueuelen': '5'},
        {'group': '9'},
        {'attribute99': 'of a newer kernel'},
    ],
    ids=str,
)
@pytest.mark.parametrize('netns_gone', [False, True])
def test_what_a_pod_has_left_is_taken_away(node, pod, left, netns_gone):
    node.spoil(pod.pci, **left)
    if netns_gone:
        node.delete_netns(NETNS)
    assert pod.comes_home()


def test_nothing_is_bound_anew_where_nothing_was_left(node, pod):
    """A scan of the device plugin in that moment would lose the VF."""
    before = node.operations['unbind']
    assert pod.comes_home()
    assert node.operations['unbind'] == before


def test_the_next_pod_can_have_the_name_that_was_an_altname(node, pod, pci):
    node.spoil(pci, altname='net2')
    pod.delete()
    again = Pod(node, pci, ifname='net2')
    assert again.comes_home()


def test_what_cannot_be_restored_as_it_is_is_bound_anew(node, pod, pci):
    node.fail('set', errno.EOPNOTSUPP, times=4, pci=pci)
    assert pod.comes_home(by_the_first_way=False)
    assert node.operations['unbind'] > 0
    assert node.operations['reset'] == 0


def test_what_a_new_driver_does_not_cure_is_reset(node, pod, pci):
    node.fail('bind', errno.EIO, times=2, pci=pci)
    node.fail('set', errno.EIO, times=2, pci=pci)
    assert pod.comes_home(by_the_first_way=False)
    assert node.operations['reset'] == 1


def test_what_no_way_restores_is_owed(node, pod, pci):
    node.fail('bind', errno.EIO, times=99, pci=pci)
    node.spoil(pci, xdp='7')
    with pytest.raises(exceptions.Owed, match=pci) as caught:
        pod.delete()
    assert not caught.value.usable
    node.heal()
    assert pod.comes_home()


def test_what_may_succeed_later_is_transient(node, pod, pci):
    node.fail('pf', errno.EAGAIN, times=10**6)
    with pytest.raises(exceptions.DeviceBusy):
        pod.delete()
    node.heal()
    assert pod.comes_home()


def test_a_vf_whose_program_was_killed_is_reset(node, pci):
    pod = Pod(node, pci, VfioDriver)
    node.stall(pci)
    assert pod.comes_home()


def test_a_vf_that_was_for_programs_all_along_is_reset(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 1, vf_driver='vfio-pci')])
    (pci,) = node.vfs(PF)
    pod = Pod(node, pci, VfioDriver)
    node.stall(pci)
    assert pod.comes_home()


@pytest.mark.parametrize('cls', [NetdeviceDriver, VfioDriver])
def test_a_rate_without_link_is_owed_and_all_else_is_restored(tmp_path, cls):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 2, driver='igb')])
    node.add_netns(NETNS)
    (pci, _) = node.vfs(PF)
    pod = Pod(node, pci, cls, max_tx_rate=100, trust=True, spoofchk=False)
    node.unplug(PF)
    with pytest.raises(exceptions.Owed, match='has no link') as caught:
        pod.delete()
    assert caught.value.usable
    left = node.state()[pci]
    assert left.settings.max_tx_rate == 100
    as_before = dataclasses.replace(left.settings, max_tx_rate=0)
    assert as_before == pod.before[pci].settings
    assert (left.netns, left.driver) == ('', 'igbvf')
    node.plug(PF)
    assert pod.comes_home()


@pytest.mark.parametrize('cls', [NetdeviceDriver, VfioDriver])
@pytest.mark.parametrize('fresh', [False, True])
def test_a_mac_that_the_operator_pinned_stays_pinned(node, pci, cls, fresh):
    """Whether the VF has taken it already, or knows nothing of it."""
    pf = node.host.pci.device(PF).ifindex
    node.host.links.set_vf(pf, 0, model.VfSettings(mac=PINNED))
    driver = node.host.pci.device(pci).driver
    # iavf takes it at once: then nobody can tell who has set it.
    if fresh or driver == 'iavf':
        node.host.pci.bind(pci, '', 1)
        node.host.pci.bind(pci, driver, 1)
        node.rename(pci, 'ens6v0')
    pod = Pod(node, pci, cls)
    assert pod.before[pci].pinned
    assert pod.comes_home()


def test_a_mac_that_the_vf_has_told_is_not_pinned(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 1)])
    node.add_netns(NETNS)
    (pci,) = node.vfs(PF)
    index = node.host.pci.device(pci).ifindex
    node.host.links.set(index, mac='02:00:00:00:00:77')
    pod = Pod(node, pci)
    assert pod.attachment.original.settings.mac == '02:00:00:00:00:77'
    assert pod.comes_home()
    assert not node.state()[pci].pinned


def test_a_kernel_driver_that_is_slow_is_waited_for(node, pci):
    """iavf makes its netdev seconds after it is bound."""
    driver = node.host.pci.device(pci).driver
    node.host.pci.bind(pci, '', 60)
    node.delay_netdevs(0.1)
    node.host.pci.bind(pci, driver, 60)
    pod = Pod(node, pci, device_timeout=60)
    assert pod.attachment.original.ifname
    pod.delete()
    assert node.state()[pci].netns == ''
    assert node.state()[pci].settings.vlan == 0


def test_a_netdev_that_does_not_come_is_worth_a_retry(node, pci):
    driver = node.host.pci.device(pci).driver
    node.host.pci.bind(pci, '', 1)
    node.delay_netdevs(60)
    node.host.pci.bind(pci, driver, 1)
    with pytest.raises(exceptions.DeviceBusy, match='network interface'):
        Pod(node, pci)


def test_a_mac_that_is_taken_later_is_waited_for(node, pci, monkeypatch):
    """iavf answers before its PF has; the new MAC shows some time after."""
    find, seen = node.host.links.find, []

    def find_late(pci, netns=''):
        link = find(pci, netns)
        if netns:
            seen.append(link)
        late = netns and len(seen) < 4
        return (
            dataclasses.replace(link, mac=VIF.mac[:-1] + '9')
            if late
            else (link)
        )

    monkeypatch.setattr(node.host.links, 'find', find_late)
    pod = Pod(node, pci, device_timeout=60)
    assert len(seen) == 4
    assert pod.comes_home()


def test_a_nic_that_is_busy_after_the_move_gets_its_interface_up(
    tmp_path,
):
    """iavf does not open while it resets; the interface has moved by then."""
    node = SimulatedNode(
        tmp_path,
        [Pf(PF, 'ens6', 2, nic=dataclasses.replace(NICS['i40e']))],
    )
    node.add_netns(NETNS)
    (pci, other) = node.vfs(PF)
    index = node.host.pci.device(pci).ifindex
    node.fail_open(pci, errno.EBUSY, times=3)
    pod = Pod(node, pci)
    link = node.state()[pci].link
    assert (link.name, link.up) == ('net1', True)
    assert index  # and nothing was done to whoever has it at home by now
    assert pod.comes_home()
    assert node.state()[other] == pod.before[other]


def test_an_interface_that_a_foreign_sysfs_shows_is_not_taken(node, pci):
    """The index is that of another interface in this network namespace."""
    shown = node.host.pci.device(pci).ifindex
    other = node.vfs(PF)[1]
    node.host.pci.bind(pci, '', 1)
    index = node.host.pci.device(other).ifindex
    folder = node.host.pci.root / 'sys/bus/pci/devices' / pci
    driver = node.host.pci.device(other).driver
    node.host.pci.bind(pci, driver, 1)
    (netdev,) = (folder / 'net').iterdir()
    (netdev / 'ifindex').write_text(f'{index}\n')
    with pytest.raises(exceptions.KernelError, match=r'was mounted there'):
        Pod(node, pci)
    assert shown != index


def test_settings_of_another_pf_are_not_taken_for_ones_own(tmp_path):
    other = '0000:02:00.1'
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 1), Pf(other, 'ens8', 1)])
    node.add_netns(NETNS)
    (pci,) = node.vfs(PF)
    index = node.host.pci.device(other).ifindex
    folder = node.host.pci.root / 'sys/bus/pci/devices' / PF
    (folder / 'net/ens6/ifindex').write_text(f'{index}\n')
    with pytest.raises(exceptions.KernelError, match=PF):
        Pod(node, pci, VfioDriver)


def test_a_pf_is_not_given_to_a_pod(node):
    with pytest.raises(exceptions.DeviceMissing, match='is a PF'):
        Pod(node, PF, vlan=0)


def test_a_function_without_pf_is_not_given_to_a_pod(node, pci, monkeypatch):
    """Its frames would leave without the VLAN that nobody can set."""
    nic = dataclasses.replace(node.host.pci.device(pci), pf='', vf_index=None)
    monkeypatch.setattr(node.host.pci, 'device', lambda pci: nic)
    with pytest.raises(exceptions.DeviceMissing, match='no virtual machine'):
        Pod(node, pci)


def test_a_vf_left_without_link_is_reset_whichever_way_it_comes_home(
    node, pci
):
    """A program that is killed late makes the first way home fail."""
    pod = Pod(node, pci, VfioDriver)
    node.stall(pci)
    node.fail('unbind', errno.EIO)
    pod.delete()
    assert node.state() == pod.before
