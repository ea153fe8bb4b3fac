# SPDX-License-Identifier: Apache-2.0
"""How often attach and detach look a PCI function up in sysfs.

Whoever changes a number here has made every pod's start dearer, or cheaper:
a look-up takes a dozen system calls.
"""

import collections

import pytest

from kuryr_sriov.host import pci_functions

VFIO, KERNEL = 0, 1


@pytest.fixture
def lookups(monkeypatch):
    """Look-ups so far, by PCI address."""
    counted = collections.Counter()
    real = pci_functions.PciFunctions.device

    def count_and_look(self, pci):
        counted[pci] += 1
        return real(self, pci)

    monkeypatch.setattr(pci_functions.PciFunctions, 'device', count_and_look)
    return counted


@pytest.mark.parametrize(
    ('physnet', 'attached', 'detached'),
    [(VFIO, (5, 2), (3, 1)), (KERNEL, (7, 2), (3, 1))],
)
def test_lookups_of_the_vf_and_of_its_pf(
    world, lookups, physnet, attached, detached
):
    node = world.start()
    vf = world.vf(physnet, 0)
    sandbox = world.sandbox(1, vf)
    pf = world.node.host.pci.device(vf.pci).pf
    lookups.clear()
    node.attach(sandbox, [world.vif('net1', physnet)])
    assert (lookups[vf.pci], lookups[pf]) == attached
    lookups.clear()
    node.detach(sandbox.container_id)
    assert (lookups[vf.pci], lookups[pf]) == detached
    assert set(lookups) == {vf.pci, pf}
