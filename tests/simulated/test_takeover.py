# SPDX-License-Identifier: Apache-2.0
"""A VF that the kubelet gives to a new pod while it is still on record."""

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.testing.fixtures.interruption import Killed


def attach(world, node, pod, generation=1):
    """Give the pod the first VF of the second PF."""
    sandbox = world.sandbox(pod, world.vf(1, 0), generation=generation)
    node.attach(sandbox, [world.vif('net1', 1)])
    return sandbox


def test_a_vf_in_use_is_never_taken(world):
    """The DEL was lost, or not yet: that pod still runs."""
    node = world.start()
    attach(world, node, 1)
    running, records = world.node.state(), node.ledger.all()
    with pytest.raises(exceptions.DeviceBusy) as raised:
        attach(world, node, 2)
    message = str(raised.value)
    assert world.vf(1, 0).pci in message
    assert 'default/pod1' in message
    assert 'default/pod2' in message
    assert world.node.state() == running
    assert node.ledger.all() == records


def test_it_is_taken_once_that_pods_netns_is_gone(world):
    before = world.node.state()
    node = world.start()
    lost = attach(world, node, 1)
    world.node.delete_netns(lost.netns)
    sandbox = attach(world, node, 2)
    node.check(sandbox.container_id)
    (record,) = node.ledger.all()
    assert record.sandbox == sandbox
    assert record.original.ifname == 'ens8v0'
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_an_old_del_after_that_touches_nothing(world):
    node = world.start()
    lost = attach(world, node, 1)
    world.node.delete_netns(lost.netns)
    attach(world, node, 2)
    running, records = world.node.state(), node.ledger.all()
    node.detach(lost.container_id)
    node.detach(lost.container_id, 'net1')
    assert world.node.state() == running
    assert node.ledger.all() == records


def test_a_restarted_sandbox_takes_the_vf_from_its_predecessor(world):
    """The pod is the same; its old netns may still be there."""
    before = world.node.state()
    node = world.start()
    first = attach(world, node, 1)
    second = attach(world, node, 1, generation=2)
    node.check(second.container_id)
    node.detach(first.container_id)
    node.check(second.container_id)
    node.detach(second.container_id)
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_what_another_pod_only_intended_is_taken(world):
    def observe(step):
        if step == 'confirm':
            raise Killed

    before = world.node.state()
    with pytest.raises(Killed):
        attach(world, world.start(observe_beginnings=observe), 1)
    node = world.start()
    sandbox = attach(world, node, 2)
    node.check(sandbox.container_id)
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_a_pod_of_the_same_name_is_another_pod(world):
    """A StatefulSet's pods come again under the name they had."""
    node = world.start()
    attach(world, node, 1)
    namesake = world.sandbox(2, world.vf(1, 0))
    pod = node.ledger.all()[0].sandbox.pod
    assert namesake.pod.uid != pod.uid
    namesake = type(namesake)(
        namesake.container_id,
        namesake.netns,
        type(pod)(pod.namespace, pod.name, namesake.pod.uid),
    )
    with pytest.raises(exceptions.DeviceBusy):
        node.attach(namesake, [world.vif('net1', 1)])


def test_after_a_reboot_the_vf_is_anyones(world):
    """Also before ``reconcile`` was called."""
    attach(world, world.start(), 1)
    world.node.reboot()
    before = world.node.state()
    node = world.start()
    sandbox = attach(world, node, 2)
    node.check(sandbox.container_id)
    node.detach(sandbox.container_id)
    assert world.node.state() == before
