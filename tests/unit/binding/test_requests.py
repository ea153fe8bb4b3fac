# SPDX-License-Identifier: Apache-2.0
"""What attach and detach ask of the kernel: each request costs."""

import dataclasses
import errno
import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

PF = '0000:02:00.0'
NETNS = '/run/netns/pod'


@pytest.fixture
def node(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=1)])
    node.add_netns(NETNS)
    return node


@pytest.fixture
def driver(node):
    conf = types.SimpleNamespace(device_timeout=1)
    return NetdeviceDriver('netdevice', node.host, conf)


@pytest.fixture
def attachment(node, driver):
    (pci,) = node.vfs(PF)
    return model.Attachment(
        sandbox=model.Sandbox('c1', NETNS, model.Pod('default', 'p', 'uid')),
        vif=model.Vif(
            id='port',
            ifname='net1',
            network='default/net',
            resource='intel.com/p22',
            physnet='p22',
            mac='fa:16:3e:00:00:01',
            addresses=('192.0.2.1/24', '2001:db8::1/64'),
            vlan=100,
            mtu=1400,
        ),
        pci=pci,
        driver='netdevice',
        original=driver.snapshot(pci),
    )


def test_it_comes_home_in_one_request(node, driver, attachment):
    """Name, MTU and alias travel along; its MAC has to wait for the PF."""
    driver.connect(attachment)
    before = node.host.links.requests.copy()
    driver.disconnect(attachment)
    made = node.host.links.requests - before
    assert (made['set'], made['remove_altname']) == (2, 0)
    assert (made['set_vf'], made['pf']) == (2, 3)
    assert driver.snapshot(attachment.pci) == attachment.original


def test_a_vlan_that_the_pf_keeps_is_not_taken_for_given_back(
    node, driver, attachment, monkeypatch
):
    driver.connect(attachment)
    driver.device_timeout = 0.1
    set_vf = node.host.links.set_vf

    def keep_vlan(pf_index, vf_index, settings):
        others = {'vlan': None, 'vlan_qos': None, 'vlan_proto': None}
        set_vf(pf_index, vf_index, dataclasses.replace(settings, **others))

    monkeypatch.setattr(node.host.links, 'set_vf', keep_vlan)
    with pytest.raises(exceptions.Owed, match='vlan 0 cannot be set'):
        driver.disconnect(attachment)


def test_no_carrier_is_waited_for_once(node, driver, attachment):
    node.fail('announce', errno.ENETDOWN)
    driver.connect(attachment)
    with pytest.raises(exceptions.KernelError, match='announce'):
        driver.announce(attachment)
    assert node.host.links.requests['announce'] == 1
