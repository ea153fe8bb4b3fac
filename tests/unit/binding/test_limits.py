# SPDX-License-Identifier: Apache-2.0
"""Where a binding driver says no, and what it says."""

import dataclasses
import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.netdevice import BifurcatedDriver, NetdeviceDriver
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.testing.simulation.simulated_node import (
    NICS,
    Pf,
    SimulatedNode,
    Vf,
)

PF = '0000:02:00.0'
NETNS = '/run/netns/pod'
VIF = model.Vif(
    'port',
    'net1',
    'default/net',
    'intel.com/p22',
    'p22',
    'fa:16:3e:00:00:01',
    vlan=100,
)


class Node:
    """A simulated node with one function to attach."""

    def __init__(self, folder, function, **arguments):
        self.simulated = SimulatedNode(folder, [function], **arguments)
        self.host = self.simulated.host
        self.simulated.add_netns(NETNS)
        vm = isinstance(function, Vf)
        self.pci = PF if vm else self.simulated.vfs(PF)[0]

    def driver(self, cls, name):
        conf = types.SimpleNamespace(device_timeout=0.1)
        return cls(name, self.host, conf)

    def connect(self, driver, **fields):
        """Connect, and disconnect whatever came of it."""
        attachment = model.Attachment(
            sandbox=model.Sandbox('c1', NETNS, model.Pod('d', 'p', 'uid')),
            vif=dataclasses.replace(VIF, **fields),
            pci=self.pci,
            driver=driver.name,
            original=driver.snapshot(self.pci),
        )
        before = self.simulated.state()
        try:
            driver.connect(attachment)
            return self.simulated.state()[self.pci]
        finally:
            driver.disconnect(attachment)
            assert self.simulated.state() == before


def igb(folder, **arguments):
    return Node(folder, Pf(PF, 'ens6', vfs=1, **arguments))


@pytest.mark.parametrize(
    ('fields', 'setting'),
    [
        ({'vlan': 4095}, 'vlan'),
        ({'vlan_qos': 8}, 'vlan_qos'),
        ({'vlan': 0, 'vlan_qos': 1}, 'vlan_qos'),
        ({'vlan': 0, 'vlan_proto': '802.1ad'}, 'vlan_proto'),
    ],
)
def test_what_no_nic_can_do_is_refused_before_it_is_tried(
    tmp_path, fields, setting
):
    node = igb(tmp_path)
    driver = node.driver(VfioDriver, 'vfio-pci')
    with pytest.raises(exceptions.UnsupportedSetting) as raised:
        node.connect(driver, **fields)
    assert raised.value.setting == setting
    assert node.simulated.operations['set_vf'] == 0


def test_what_a_nic_does_not_report_it_does_not_have(tmp_path):
    nic = dataclasses.replace(NICS['ice'], unreported=('trust',))
    node = igb(tmp_path, driver='ice', nic=nic)
    driver = node.driver(VfioDriver, 'vfio-pci')
    with pytest.raises(exceptions.UnsupportedSetting, match='has none'):
        node.connect(driver, trust=True)


@pytest.mark.parametrize(
    ('fields', 'setting'),
    [
        ({'trust': True}, 'trust'),
        ({'max_tx_rate': 100}, 'max_tx_rate'),
        ({'spoofchk': False}, 'spoofchk'),
        ({'link_state': 'enable'}, 'link_state'),
    ],
)
def test_in_a_vm_the_hypervisor_has_to_set_it(tmp_path, fields, setting):
    node = Node(tmp_path, Vf(PF, 'ens6'))
    driver = node.driver(NetdeviceDriver, 'netdevice')
    with pytest.raises(exceptions.UnsupportedSetting, match='VM') as raised:
        node.connect(driver, **fields)
    assert raised.value.setting == setting


def test_in_a_vm_what_every_guest_has_is_no_matter(tmp_path):
    node = Node(tmp_path, Vf(PF, 'ens6'))
    driver = node.driver(NetdeviceDriver, 'netdevice')
    state = node.connect(
        driver, spoofchk=True, trust=False, max_tx_rate=0, link_state='auto'
    )
    assert state.link.mac == VIF.mac


def test_in_a_vm_a_mac_that_the_hypervisor_pinned_is_refused(tmp_path):
    node = Node(tmp_path, Vf(PF, 'ens6', pinned=True))
    driver = node.driver(NetdeviceDriver, 'netdevice')
    with pytest.raises(exceptions.UnsupportedSetting, match='mac') as raised:
        node.connect(driver)
    assert raised.value.setting == 'mac'


def test_a_driver_of_its_own_name_is_bound_and_given_back(tmp_path):
    node = igb(tmp_path, vf_driver='vfio-pci')
    state = node.connect(node.driver(NetdeviceDriver, 'igbvf'))
    assert (state.driver, state.netns) == ('igbvf', NETNS)


def test_a_bifurcated_vf_is_never_bound_to_another_driver(tmp_path):
    node = igb(tmp_path)
    driver = node.driver(BifurcatedDriver, 'mlx5_core')
    with pytest.raises(exceptions.UnsupportedSetting, match='is bound to igb'):
        node.connect(driver)
    assert node.simulated.operations['unbind'] == 0


def test_a_pf_without_netdev_is_named(tmp_path):
    node = igb(tmp_path)
    driver = node.driver(VfioDriver, 'vfio-pci')
    node.host.pci.bind(PF, 'vfio-pci', 1)
    with pytest.raises(exceptions.DeviceBusy, match=f'{PF}: the PF of VF'):
        driver.snapshot(node.pci)


@pytest.mark.parametrize(
    'error',
    [
        exceptions.ConfigurationError(['one', 'two']),
        exceptions.UnsupportedSetting('no', 'vlan'),
        exceptions.KernelError('no', 22),
        exceptions.TransientError('later', 3.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_between_processes(error):
    import pickle

    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert vars(again) == vars(error)
