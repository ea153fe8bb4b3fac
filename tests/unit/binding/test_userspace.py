# SPDX-License-Identifier: Apache-2.0
"""No program gets a VF without an IOMMU where that is not allowed."""

import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.userspace import VfioDriver
from kuryr_sriov.testing.simulation.simulated_node import (
    Pf,
    SimulatedNode,
    Vf,
)

PF = '0000:02:00.0'
BARE_METAL = Pf(PF, 'ens6', vfs=1)
HELD_BY_VFIO = Pf(PF, 'ens6', vfs=1, vf_driver='vfio-pci')
GUEST = Vf(PF, 'ens6')


def prepare(node, **options):
    """A driver, and an attachment that it is to make."""
    conf = types.SimpleNamespace(device_timeout=1, **options)
    driver = VfioDriver('vfio-pci', node.host, conf)
    (pci,) = [
        pci for pci in node.state() if not node.host.pci.device(pci).total_vfs
    ]
    attachment = model.Attachment(
        sandbox=model.Sandbox('c1', '/x', model.Pod('default', 'p', 'uid')),
        vif=model.Vif(
            id='port',
            ifname='net1',
            network='default/net',
            resource='intel.com/p22',
            physnet='p22',
            mac=driver.snapshot(pci).mac or 'fa:16:3e:00:00:01',
        ),
        pci=pci,
        driver='vfio-pci',
        original=driver.snapshot(pci),
    )
    return driver, attachment


@pytest.mark.parametrize(
    ('function', 'options'),
    [
        (BARE_METAL, {}),
        (BARE_METAL, {'allow_unsafe_noiommu': None}),
        (BARE_METAL, {'allow_unsafe_noiommu': False}),
        (HELD_BY_VFIO, {'allow_unsafe_noiommu': None}),
        (GUEST, {'allow_unsafe_noiommu': False}),
    ],
)
def test_where_it_is_not_allowed_nothing_is_changed(
    tmp_path, function, options
):
    node = SimulatedNode(tmp_path, [function], iommu='noiommu')
    driver, attachment = prepare(node, **options)
    before = node.state()
    with pytest.raises(exceptions.UnsupportedSetting) as caught:
        driver.connect(attachment)
    assert attachment.pci in str(caught.value)
    assert 'allow_unsafe_noiommu = true' in str(caught.value)
    assert node.state() == before


@pytest.mark.parametrize(
    ('function', 'options'),
    [
        (BARE_METAL, {'allow_unsafe_noiommu': True}),
        (HELD_BY_VFIO, {'allow_unsafe_noiommu': True}),
        (GUEST, {'allow_unsafe_noiommu': None}),
        (GUEST, {}),
    ],
)
def test_where_it_is_allowed_the_pod_gets_the_group_without_iommu(
    tmp_path, function, options
):
    node = SimulatedNode(tmp_path, [function], iommu='noiommu')
    driver, attachment = prepare(node, **options)
    driver.connect(attachment)
    _, group = driver.device_info(attachment).device_nodes
    assert group.startswith('/dev/vfio/noiommu-')


@pytest.mark.parametrize('allowed', [True, False, None])
def test_behind_an_iommu_the_option_says_nothing(tmp_path, allowed):
    node = SimulatedNode(tmp_path, [BARE_METAL])
    driver, attachment = prepare(node, allow_unsafe_noiommu=allowed)
    driver.connect(attachment)
    driver.check(attachment)
