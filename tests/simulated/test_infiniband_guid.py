# SPDX-License-Identifier: Apache-2.0
"""A GUID of the networks annotation is that of the pod's VF meanwhile."""

import dataclasses
import itertools

import pytest
from test_crash import Death
from worlds import PFS

from kuryr_sriov import exceptions, model
from kuryr_sriov.testing.simulation.hardware import NICS

PF = '0000:02:00.1'
GUID, OTHER = '00:11:22:33:44:55:66:77', '00:11:22:33:44:55:66:88'


@pytest.fixture
def pfs():
    """The second one has VFs with GUIDs; the first is Ethernet alone."""
    nic = dataclasses.replace(NICS['mlx5_core'], guids=True)
    return PFS[0], dataclasses.replace(PFS[1], nic=nic)


def held(world, pci=PF):
    """Both GUIDs, as the PF shows them."""
    host = world.node.host
    settings = host.links.pf(host.pci.device(pci).ifindex).vfs[0]
    return settings.node_guid, settings.port_guid


def set_guids(world, guid):
    """As an operator does by ``ip link set PF vf 0 node_guid …``."""
    host = world.node.host
    settings = model.VfSettings(node_guid=guid, port_guid=guid)
    host.links.set_vf(host.pci.device(PF).ifindex, 0, settings)


@pytest.mark.parametrize('before', ['00:00:00:00:00:00:00:00', OTHER])
def test_the_vf_has_it_while_the_pod_runs(world, before):
    set_guids(world, before)
    at_first = world.node.state()
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(1, 0))
        node.attach(sandbox, [world.vif('net1', 1, guid=GUID)])
        assert held(world) == (GUID, GUID)
        node.check(sandbox.container_id)
        set_guids(world, OTHER)
        with pytest.raises(exceptions.Drifted, match='node_guid is 00:11'):
            node.check(sandbox.container_id)
        node.detach(sandbox.container_id)
    assert held(world) == (before, before)
    assert world.node.state() == at_first


def test_a_vif_without_leaves_what_the_operator_has_set(world):
    set_guids(world, OTHER)
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(1, 0))
        node.attach(sandbox, [world.vif('net1', 1)])
        assert held(world) == (OTHER, OTHER)
        node.detach(sandbox.container_id)
    assert held(world) == (OTHER, OTHER)


def test_killed_at_any_point(world):
    death = Death()
    world.node.on_change(death)
    before = world.node.state()
    for left in itertools.count():
        sandbox = world.sandbox(1, world.vf(1, 0))
        vif = world.vif('net1', 1, guid=GUID)
        died = death.comes(
            world,
            left,
            lambda node, sandbox=sandbox, vif=vif: node.attach(sandbox, [vif]),
        )
        with world.start() as node:
            node.reconcile()
            if node.attachments():
                assert held(world) == (GUID, GUID)
                node.detach(sandbox.container_id)
        assert world.node.state() == before, death.last_words
        if not died:
            break
    assert 'set_vf' in death.last_words


def test_a_vf_without_guids_is_refused_by_name_and_left_as_it_was(world):
    before = world.node.state()
    assert held(world, '0000:02:00.0') == (None, None)
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(0, 0))
        with pytest.raises(
            exceptions.UnsupportedSetting,
            match=f'node_guid {GUID} cannot be set: the NIC has none',
        ) as raised:
            node.attach(sandbox, [world.vif('net1', 0, guid=GUID)])
        assert raised.value.setting == 'node_guid'
        assert node.attachments() == ()
    assert world.node.state() == before


def test_a_node_that_is_a_vm_is_refused(guest):
    with guest.start() as node:
        sandbox = guest.sandbox(1)
        with pytest.raises(exceptions.UnsupportedSetting, match='node_guid'):
            node.attach(
                sandbox,
                [guest.promise(guid=GUID)],
                [guest.vf('0000:00:06.0')],
            )
        assert node.attachments() == ()
