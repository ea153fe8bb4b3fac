# SPDX-License-Identifier: Apache-2.0
"""A VF gets its name back while udev does things to it."""

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.binding.vf.rename import rename_link
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

NAME = 'ens6v0'


class Udev:
    """Makes the name an alternative one, again and again."""

    def __init__(self, node, pci, events):
        self.node, self.pci, self.events = node, pci, events
        self.due = False
        node.add_altname(pci, NAME)
        node.on_change(self.change)

    def change(self, operation):
        """Before each: it deals with the next event after a removal."""
        if operation == 'remove_altname' and self.events:
            self.events -= 1
            self.due = True
        elif operation == 'set' and self.due:
            self.due = False
            self.node.add_altname(self.pci, NAME)


@pytest.fixture
def node(tmp_path):
    return SimulatedNode(tmp_path, [Pf('0000:02:00.0', 'ens6', vfs=2)])


@pytest.fixture
def pci(node):
    pci = node.vfs('0000:02:00.0')[0]
    node.rename(pci, 'net1')
    return pci


def rename_vf(node, pci, timeout=5):
    index = node.host.pci.device(pci).ifindex
    link = node.host.links.get(index)
    name = rename_link(node.host.links, link, NAME, timeout)
    assert name == node.host.links.get(index).name
    return name


@pytest.mark.parametrize('events', [0, 1, 3])
def test_udev_makes_it_an_alternative_name(node, pci, events):
    Udev(node, pci, events)
    assert rename_vf(node, pci) == NAME


def test_udev_that_never_ends(node, pci):
    Udev(node, pci, events=10**6)
    with pytest.raises(exceptions.DeviceBusy, match='udev to be done'):
        rename_vf(node, pci, timeout=0.05)


def test_udev_has_just_removed_it(node, pci):
    """Between our two looks at the name."""
    node.add_altname(pci, NAME)
    links, index = node.host.links, node.host.pci.device(pci).ifindex
    events = iter([True])

    def change(operation):
        if operation == 'remove_altname' and next(events, False):
            links.remove_altname(index, NAME)

    node.on_change(change)
    assert rename_vf(node, pci) == NAME


def test_the_name_is_somebody_elses(node, pci):
    """It is left alone; all else of the VF can still be restored."""
    node.rename(node.vfs('0000:02:00.0')[1], NAME)
    assert rename_vf(node, pci) not in ('net1', NAME)
