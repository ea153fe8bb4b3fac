# SPDX-License-Identifier: Apache-2.0
"""A sandbox is more than a path, and a pod more than a name."""

import dataclasses

import pytest

from kuryr_sriov import exceptions, model


def attach(world, node, pod, generation=1):
    """Give the pod the first VF of the second PF."""
    sandbox = world.sandbox(pod, world.vf(1, 0), generation=generation)
    node.attach(sandbox, [world.vif('net1', 1)])
    return sandbox


def refusal(world, node, sandbox, vifs):
    """Why it is refused; nothing is done, nothing is on record."""
    before = world.node.state()
    changes = []
    world.node.on_change(changes.append)
    with pytest.raises(exceptions.InvalidInput) as raised:
        node.attach(sandbox, vifs)
    assert world.node.state() == before
    assert changes == []
    assert node.attachments() == ()
    return raised.value


@pytest.mark.parametrize(
    ('field', 'change'),
    [
        ('netns', {'netns': ''}),
        ('netns', {'netns': 'run/netns/pod1-1'}),
        ('netns', {'netns': '/run/netns/nowhere'}),
        ('container_id', {'container_id': ''}),
        ('container_id', {'container_id': '../ledger'}),
        ('pod', {'pod': model.Pod('default', 'pod1', '')}),
        ('pod', {'pod': model.Pod('', 'pod1', 'uid-1')}),
        ('pod', {'pod': model.Pod('default', '', 'uid-1')}),
    ],
)
def test_a_sandbox_that_cannot_be_told_from_others_is_refused(
    world, field, change
):
    """An empty netns would be the node's own: its addresses, its routes."""
    sandbox = world.sandbox(1, world.vf(1, 0))
    sandbox = dataclasses.replace(sandbox, **change)
    error = refusal(world, world.start(), sandbox, [world.vif('net1', 1)])
    assert error.field == field


def test_the_nodes_own_netns_is_refused_by_any_path(world):
    """``/proc/PID/ns/net`` of a process in the host network, say."""
    world.node.link_netns('/proc/77/ns/net', '')
    sandbox = dataclasses.replace(
        world.sandbox(1, world.vf(1, 0)), netns='/proc/77/ns/net'
    )
    error = refusal(world, world.start(), sandbox, [world.vif('net1', 1)])
    assert error.field == 'netns'
    assert 'hostNetwork' in str(error)


@pytest.mark.parametrize(
    'ifname', ['lo', 'eth0', '', '.', '..', 'a/b', 'a:b', 'a b', 'x' * 16]
)
def test_a_name_that_no_vf_can_have_is_refused(world, ifname):
    sandbox = world.sandbox(1, world.vf(1, 0))
    error = refusal(world, world.start(), sandbox, [world.vif(ifname, 1)])
    assert error.field == 'ifname'
    assert repr(ifname).strip("'") in str(error)


@pytest.mark.parametrize(
    'change',
    [
        {'id': ''},
        {'resource': ''},
        {'mac': 'fa:16:3e:00:00'},
        {'mac': 'FA:16:3E:00:00:01'},
        {'addresses': ('192.168.2.300/24',)},
        {'gateways': ('192.168.2.0/24',)},
        {'routes': (model.Route('10.0.0.1/8'),)},
        {'vlan': 4095},
        {'vlan': -1},
        {'vlan_qos': 8},
        {'mtu': -1},
        {'max_tx_rate': -1},
    ],
)
def test_a_vif_that_no_interface_can_be_made_from_is_refused(world, change):
    vif = dataclasses.replace(world.vif('net1', 1), **change)
    sandbox = world.sandbox(1, world.vf(1, 0))
    error = refusal(world, world.start(), sandbox, [vif])
    assert error.field == 'vif'


def test_two_vifs_of_one_name_are_refused(world):
    sandbox = world.sandbox(1, world.vf(1, 0), world.vf(1, 1))
    vifs = world.vif('net1', 1), world.vif('net1', 1)
    assert refusal(world, world.start(), sandbox, vifs).field == 'ifname'


def test_a_netns_whose_path_another_has_taken_is_gone(world):
    """A process has the PID, or a sandbox the name, of one that ended."""
    before = world.node.state()
    node = world.start()
    sandbox = attach(world, node, 1)
    (record,) = node.attachments()
    world.node.delete_netns(sandbox.netns)
    world.node.add_netns(sandbox.netns)
    other = world.node.state()
    (restored,) = node.reconcile().restored
    assert restored == record
    assert world.node.state() == before
    assert world.node.state() != other


def test_its_vf_is_free_for_the_next_pod(world):
    node = world.start()
    first = attach(world, node, 1)
    world.node.delete_netns(first.netns)
    world.node.add_netns(first.netns)
    second = attach(world, node, 2)
    node.check(second.container_id)


def test_a_del_does_not_look_into_the_netns_that_took_the_path(world):
    """Its interfaces are another pod's, whatever they are called."""
    before = world.node.state()
    node = world.start()
    sandbox = attach(world, node, 1)
    world.node.delete_netns(sandbox.netns)
    world.node.add_netns(sandbox.netns)
    with_neighbour = world.node.state()
    asked = []
    find = world.node.host.links.find

    def look(pci, netns):
        asked.append(netns)
        return find(pci, netns)

    world.node.host.links.find = look
    node.detach(sandbox.container_id)
    assert sandbox.netns not in asked
    assert world.node.state() == before != with_neighbour


def test_a_record_of_an_earlier_boot_holds_no_vf(world):
    """Its path is there again, and so is another sandbox of that name."""
    node = world.start()
    lost = attach(world, node, 1)
    node.close()
    world.node.reboot()
    world.node.add_netns(lost.netns)
    node = world.start()
    second = attach(world, node, 2)
    node.check(second.container_id)
    (record,) = node.attachments()
    assert record.sandbox == second


def test_a_record_without_uid_is_nobody_elses(world):
    """As a release wrote it that did not look."""
    node = world.start()
    sandbox = attach(world, node, 1)
    (record,) = node.attachments()
    nameless = dataclasses.replace(sandbox.pod, uid='')
    node.ledger.save(
        [
            dataclasses.replace(
                record, sandbox=dataclasses.replace(sandbox, pod=nameless)
            )
        ]
    )
    with pytest.raises(exceptions.DeviceBusy):
        attach(world, node, 2)


@pytest.mark.parametrize(
    'shape',
    [
        [('sandbox1-1', 'eth0')],
        [['sandbox1-1', 'eth0']],
        [{'containerID': 'sandbox1-1', 'ifname': 'eth0'}],
        'sandbox1-1',
        b'sandbox1-1',
        [''],
        [None],
    ],
)
def test_gc_with_anything_but_container_ids_tears_nothing_down(world, shape):
    node = world.start()
    sandbox = attach(world, node, 1)
    running = world.node.state()
    with pytest.raises(exceptions.InvalidInput) as raised:
        node.collect_garbage(shape)
    assert raised.value.field == 'container_id'
    assert world.node.state() == running
    node.check(sandbox.container_id)
