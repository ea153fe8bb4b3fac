# SPDX-License-Identifier: Apache-2.0
"""What is read of a VF, and what is set while its pod runs."""

import dataclasses
import errno
import types

import pytest
from values import VIF

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.testing.simulation.simulated_node import (
    Pf,
    SimulatedNode,
    Vf,
)

PF = '0000:02:00.0'
SANDBOX = model.Sandbox('c1', '/run/netns/pod', model.Pod('n', 'p', 'uid'))
PLAIN = dataclasses.replace(
    VIF,
    **dict.fromkeys(('min_tx_rate', 'max_tx_rate', 'link_state')),
    vlan_qos=0,
    vlan_proto='802.1q',
)


class World:
    """A node with one function, and a driver for it."""

    def __init__(self, path, function):
        self.node = SimulatedNode(path, [function])
        self.links = self.node.host.links
        conf = types.SimpleNamespace(device_timeout=1)
        self.driver = NetdeviceDriver('netdevice', self.node.host, conf)
        lone = isinstance(function, Vf)
        self.pci = PF if lone else self.node.vfs(PF)[0]

    def link(self):
        return self.links.find(self.pci, '')

    def attachment(self, **fields):
        return model.Attachment(
            SANDBOX,
            dataclasses.replace(PLAIN, **fields),
            self.pci,
            driver='netdevice',
            pf=PF,
            original=self.driver.snapshot(self.pci),
        )


@pytest.fixture
def world(tmp_path):
    return World(tmp_path, Pf(PF, 'ens6', vfs=1))


@pytest.fixture
def guest(tmp_path):
    return World(tmp_path, Vf(PF, 'ens6'))


@pytest.mark.parametrize('up', [True, False])
def test_a_snapshot_has_all_that_a_netdev_has(world, up):
    world.links.set(world.link().index, alias='by hand', mtu=1400, up=up)
    world.node.add_altname(world.pci, 'enp2s16')
    link = world.link()
    pf = world.links.pf(world.node.host.pci.ifindex(PF))
    assert world.driver.snapshot(world.pci) == model.VfState(
        driver='igbvf',
        ifname='ens6v0',
        mac=link.mac,
        mtu=1400,
        alias='by hand',
        up=up,
        altnames=('enp2s16',),
        traits=link.traits,
        settings=pf.vfs[0],
    )
    assert link.traits


def test_a_snapshot_tells_the_driver_that_an_operator_pinned(world):
    world.node.host.pci.set_override(world.pci, 'igbvf', 1)
    assert world.driver.snapshot(world.pci).override == 'igbvf'


def test_a_snapshot_of_a_vm_has_no_settings(guest):
    state = guest.driver.snapshot(guest.pci)
    assert (state.settings, state.pinned) == (None, False)
    assert state.ifname == 'ens6'


def test_a_pf_is_not_taken_for_its_vf(world):
    with pytest.raises(exceptions.DeviceMissing, match=f'{PF} is a PF, not'):
        world.driver.snapshot(PF)


def test_drift_is_named_and_settles_where_it_may(world):
    attachment = world.attachment()
    for drift, settles in (
        (['max_tx_rate is 7, not 100', 'trust is True, not False'], True),
        (['max_tx_rate is 7, not 100', 'name is a, not net1'], False),
    ):
        with pytest.raises(exceptions.Drifted) as raised:
            world.driver.refuse_drift(attachment, drift)
        assert raised.value.may_settle is settles
        assert str(raised.value) == (
            f'net1 of pod n/p on VF {world.pci}: {"; ".join(drift)}; delete '
            'the pod to have it attached again'
        )
    world.driver.refuse_drift(attachment, [])


def test_drift_at_the_pf_is_told_with_both_values(world):
    attachment = world.attachment()
    world.driver.configure_pf(
        world.node.host.pci.device(world.pci), attachment
    )
    assert world.driver.list_drift(attachment) == []
    index = world.node.host.pci.ifindex(PF)
    world.links.set_vf(index, 0, model.VfSettings(spoofchk=False))
    drift = world.driver.list_drift(attachment)
    assert drift == ['spoofchk is False, not True']


def test_a_change_that_the_nic_refuses_leaves_what_there_was(world):
    attachment = world.attachment()
    device = world.node.host.pci.device(world.pci)
    world.driver.configure_pf(device, attachment)
    before = world.node.state()
    world.node.refuse(PF, {'link_state': errno.EOPNOTSUPP})
    newer = dataclasses.replace(
        attachment.vif, max_tx_rate=7, trust=True, link_state='enable'
    )
    with pytest.raises(exceptions.UnsupportedSetting) as raised:
        world.driver.change_settings(attachment, newer)
    assert raised.value.setting == 'link_state'
    assert world.node.state() == before


def test_a_vm_changes_nothing_while_a_pod_runs(guest):
    attachment = guest.attachment()
    with pytest.raises(exceptions.UnsupportedSetting, match='out of reach'):
        guest.driver.change_settings(attachment, attachment.vif)
    assert guest.driver.list_drift(attachment) == []


@pytest.mark.parametrize(
    ('fields', 'setting'),
    [
        ({}, ''),
        ({'trust': True}, 'trust'),
        ({'spoofchk': False}, 'spoofchk'),
        ({'max_tx_rate': 100}, 'max_tx_rate'),
        ({'link_state': 'enable'}, 'link_state'),
        ({'vlan_qos': 1}, 'vlan_qos'),
        ({'vlan_proto': '802.1ad'}, 'vlan_proto'),
    ],
)
def test_a_vm_refuses_what_its_hypervisor_has_not_given(
    guest, fields, setting
):
    attachment = guest.attachment(**fields)
    device = guest.node.host.pci.device(guest.pci)
    if not setting:
        guest.driver.configure_pf(device, attachment)
        return
    with pytest.raises(
        exceptions.UnsupportedSetting, match='whose hypervisor has the PF'
    ) as raised:
        guest.driver.configure_pf(device, attachment)
    assert raised.value.setting == setting


@pytest.mark.parametrize('number', [errno.EPERM, errno.EIO])
def test_a_mac_is_refused_by_the_nic_or_an_error(world, number):
    world.node.fail('set', number)
    link = dataclasses.replace(world.link(), up=False)
    if number == errno.EPERM:
        assert not world.driver.set_mac(link, VIF.mac)
    else:
        with pytest.raises(exceptions.KernelError):
            world.driver.set_mac(link, VIF.mac)
    assert world.driver.set_mac(link, link.mac)
