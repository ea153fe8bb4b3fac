# SPDX-License-Identifier: Apache-2.0
"""What no way home restores is on record, and DEL ends all the same."""

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.binding.netdevice import NetdeviceDriver


@pytest.fixture
def node(world):
    return world.start()


@pytest.fixture
def owe(monkeypatch):
    """Lets every disconnect restore all, and then owe something."""
    disconnect = NetdeviceDriver.disconnect

    def owe(usable):
        def disconnect_and_owe(driver, attachment):
            disconnect(driver, attachment)
            raise exceptions.Owed('the rate, until its PF has a link', usable)

        monkeypatch.setattr(NetdeviceDriver, 'disconnect', disconnect_and_owe)

    owe.nothing_more = lambda: monkeypatch.setattr(
        NetdeviceDriver, 'disconnect', disconnect
    )
    return owe


def attach(world, node, pod):
    sandbox = world.sandbox(pod, world.vf(1, 0))
    node.attach(sandbox, [world.vif('net1', 1)])
    return sandbox


def test_del_ends_and_the_debt_is_on_record(world, node, owe):
    sandbox = attach(world, node, 1)
    owe(usable=False)
    node.detach(sandbox.container_id)
    node.detach(sandbox.container_id)
    (record,) = node.attachments()
    assert record.owed == 'the rate, until its PF has a link'


def test_it_is_paid_by_the_next_reconcile_that_can(world, node, owe):
    before = world.node.state()
    sandbox = attach(world, node, 1)
    owe(usable=False)
    node.detach(sandbox.container_id)
    (failed,) = node.reconcile().failed
    assert isinstance(failed.error, exceptions.Owed)
    owe.nothing_more()
    assert len(node.reconcile().restored) == 1
    assert world.node.state() == before
    assert node.attachments() == ()


def test_a_vf_that_is_not_usable_is_given_to_nobody(world, node, owe):
    owing = attach(world, node, 1)
    owe(usable=False)
    node.detach(owing.container_id)
    with pytest.raises(exceptions.Owed):
        attach(world, node, 2)
    (record,) = node.attachments()
    assert record.sandbox == owing


def test_a_usable_vf_goes_to_the_next_pod_with_its_debt(world, node, owe):
    """Though the first pod's netns is still there."""
    owing = attach(world, node, 1)
    (first,) = node.attachments()
    owe(usable=True)
    node.detach(owing.container_id)
    second = attach(world, node, 2)
    (record,) = node.attachments()
    assert record.sandbox == second
    assert (record.original, record.owed) == (first.original, '')
    node.check(second.container_id)
    owe.nothing_more()
    node.detach(second.container_id)
    assert node.attachments() == ()


def test_a_failed_attach_that_owes_tells_its_own_error(world, node, owe):
    owe(usable=False)
    vif = world.vif('net1', 1, mtu=60000)
    with pytest.raises(exceptions.UnsupportedSetting):
        node.attach(world.sandbox(1, world.vf(1, 0)), [vif])
    (record,) = node.attachments()
    assert record.owed
