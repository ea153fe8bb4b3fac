# SPDX-License-Identifier: Apache-2.0
"""What an 82576 refuses is named as what was asked for."""

import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

PF = '0000:02:00.0'
VIF = {
    'id': 'port',
    'ifname': 'net1',
    'network': 'default/net',
    'resource': 'intel.com/p22',
    'physnet': 'p22',
    'mac': 'fa:16:3e:00:00:01',
    'vlan': 100,
    'vlan_qos': 3,
}


@pytest.mark.parametrize(
    'refused',
    [
        {'vlan_proto': '802.1ad'},
        {'min_tx_rate': 10, 'max_tx_rate': 100},
        {'link_state': 'enable'},
    ],
    ids=lambda refused: next(iter(refused)),
)
def test_a_refused_setting_is_named(tmp_path, refused):
    """Also where the kernel refuses a group, and applied others before."""
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=1)])
    conf = types.SimpleNamespace(device_timeout=1)
    driver = VfioDriver('vfio-pci', node.host, conf)
    (pci,) = node.vfs(PF)
    attachment = model.Attachment(
        sandbox=model.Sandbox('c1', '/x', model.Pod('default', 'p', 'uid')),
        vif=model.Vif(**VIF, **refused),
        pci=pci,
        driver='vfio-pci',
        original=driver.snapshot(pci),
    )
    (setting, *_) = refused
    with pytest.raises(exceptions.UnsupportedSetting) as caught:
        driver.connect(attachment)
    assert caught.value.setting == setting
    driver.disconnect(attachment)
    assert driver.snapshot(pci) == attachment.original
