# SPDX-License-Identifier: Apache-2.0
"""How often attach and detach look a PCI function up, and change threads.

Whoever changes a number here has made every pod's start dearer, or cheaper:
a look-up takes a dozen system calls, and a thread that is woken as long as
most requests to the kernel.
"""

import collections

import pytest

from kuryr_sriov.host import pci_functions, workers

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
    ('physnet', 'attached', 'detached'), [(VFIO, 3, 2), (KERNEL, 5, 2)]
)
def test_lookups_of_the_vf(world, lookups, physnet, attached, detached):
    """Its PF is never looked at whole."""
    node = world.start()
    vf = world.vf(physnet, 0)
    sandbox = world.sandbox(1, vf)
    node.attach(sandbox, [world.vif('net1', physnet)])
    assert lookups == {vf.pci: attached}
    lookups.clear()
    node.detach(sandbox.container_id)
    assert lookups == {vf.pci: detached}


@pytest.mark.parametrize(
    ('physnet', 'attached', 'detached'), [(VFIO, 3, 4), (KERNEL, 2, 1)]
)
def test_work_handed_to_other_threads(
    world, monkeypatch, physnet, attached, detached
):
    """One each for the snapshot, for all else, and for what may take longer.

    That is a change of driver, and a reset.
    """
    handed = []
    start = workers.start

    def note_and_start(work, bound):
        handed.append(bound.what)
        return start(work, bound)

    monkeypatch.setattr(workers, 'start', note_and_start)
    node = world.start()
    sandbox = world.sandbox(1, world.vf(physnet, 0))
    node.attach(sandbox, [world.vif('net1', physnet)])
    assert len(handed) == attached, handed
    handed.clear()
    node.detach(sandbox.container_id)
    assert len(handed) == detached, handed
