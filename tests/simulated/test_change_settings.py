# SPDX-License-Identifier: Apache-2.0
"""VFs of running pods follow VIFs that are changed at the provider."""

import contextlib
import dataclasses
import errno
import itertools

import pytest
from nodedaemon import NodeWithDaemon, wait_for
from test_crash import Death
from worlds import PFS

from kuryr_sriov import exceptions, model

PF = '0000:02:00.1'


@pytest.fixture
def pfs():
    """NICs that can do all of it; igb, for one, has no link state."""
    return tuple(dataclasses.replace(pf, driver='i40e') for pf in PFS)


@pytest.fixture
def attached(world):
    """A node with a pod that has a VF of the second PF, and its record."""
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(1, 0))
        node.attach(sandbox, [world.vif('net1', 1, max_tx_rate=100)])
        (record,) = node.attachments()
        yield node, record


def held(world, pci=PF, index=0):
    """What the PF holds for one of its VFs."""
    host = world.node.host
    return host.links.pf(host.pci.device(pci).ifindex).vfs[index]


def changed(vif, **changes):
    return dataclasses.replace(vif, **changes)


NEWS = {
    'max_tx_rate': 200,
    'link_state': 'disable',
    'spoofchk': False,
    'trust': True,
}


def test_the_pf_holds_the_new_settings_and_check_expects_them(world, attached):
    node, record = attached
    assert node.change_settings(record, changed(record.vif, **NEWS))
    now = held(world)
    assert {name: getattr(now, name) for name in NEWS} == NEWS
    (after,) = node.attachments()
    assert after == dataclasses.replace(
        record, vif=changed(record.vif, **NEWS)
    )
    node.check(*record.key)
    assert not node.change_settings(after, after.vif)


def test_vlan_mac_and_addresses_are_never_taken_over(world, attached):
    node, record = attached
    before = held(world)
    other = changed(
        record.vif,
        vlan=7,
        mac='fa:16:3e:00:00:99',
        addresses=(),
        mtu=9000,
        vlan_qos=3,
    )
    assert not node.change_settings(record, other)
    assert held(world) == before
    assert node.attachments() == (record,)


def test_what_the_provider_no_longer_says_is_as_before_the_attach(
    world, attached
):
    """A QoS policy that is taken away leaves no limit behind."""
    node, record = attached
    original = record.original.settings
    node.change_settings(record, changed(record.vif, max_tx_rate=None))
    assert held(world).max_tx_rate == original.max_tx_rate != 100
    node.check(*record.key)


def test_the_vf_comes_home_as_it_was_before_the_attach(world):
    before = world.node.state()
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(1, 0))
        node.attach(sandbox, [world.vif('net1', 1)])
        (record,) = node.attachments()
        node.change_settings(record, changed(record.vif, **NEWS))
        node.detach(sandbox.container_id)
        assert node.attachments() == ()
    assert world.node.state() == before


def test_a_refused_setting_is_named_and_the_vf_keeps_what_it_had(
    world, attached
):
    """The kernel sets the rates before it comes to what the NIC refuses."""
    node, record = attached
    before = held(world)
    newer = changed(record.vif, **NEWS)
    world.node.refuse(PF, {'trust': errno.EOPNOTSUPP})
    with pytest.raises(exceptions.UnsupportedSetting, match='trust') as raised:
        node.change_settings(record, newer)
    assert raised.value.setting == 'trust'
    assert held(world) == before
    (pending,) = node.attachments()
    assert (pending.vif, pending.pending) == (record.vif, newer)
    node.check(*record.key)

    world.node.refuse(PF, {})
    assert node.change_settings(pending, newer)
    assert held(world).trust is True
    assert node.attachments()[0].pending is None


def test_a_change_that_is_taken_back_before_it_could_be_made(world, attached):
    node, record = attached
    world.node.refuse(PF, {'trust': errno.EOPNOTSUPP})
    with pytest.raises(exceptions.UnsupportedSetting):
        node.change_settings(record, changed(record.vif, trust=True))
    assert node.change_settings(record, record.vif)
    assert node.attachments() == (record,)


def test_a_vf_that_was_given_back_meanwhile_is_left_alone(world, attached):
    node, record = attached
    node.detach(record.sandbox.container_id)
    before = world.node.state()
    assert not node.change_settings(record, changed(record.vif, **NEWS))
    assert (world.node.state(), node.attachments()) == (before, ())


@pytest.mark.parametrize('ends', ['finished', 'taken back', 'deleted'])
def test_a_kill_at_any_point_of_a_change(world, ends):
    """What follows a restart: the same again, the old again, or DEL."""
    death = Death()
    world.node.on_change(death)
    before = world.node.state()
    seen = set()
    for left in itertools.count():
        sandbox = world.sandbox(1, world.vf(1, 0))
        with world.start() as node:
            node.attach(sandbox, [world.vif('net1', 1, max_tx_rate=100)])
            (record,) = node.attachments()
        at_first = held(world)
        newer = changed(record.vif, **NEWS)
        died = death.comes(
            world,
            left,
            lambda node, record=record, newer=newer: node.change_settings(
                record, newer
            ),
        )
        seen.update(death.last_words)
        with world.start() as node:
            assert not node.reconcile().restored
            node.check(*record.key)
            if ends == 'finished':
                node.change_settings(record, newer)
                assert held(world).link_state == 'disable'
            elif ends == 'taken back':
                node.change_settings(record, record.vif)
                assert held(world) == at_first
            node.check(*record.key)
            node.detach(sandbox.container_id)
        assert world.node.state() == before, death.last_words
        if not died:
            break
    assert seen >= {'intend-change', 'change-settings', 'set_vf'}


def test_drift_of_other_settings_does_not_settle(world, attached):
    """Nobody but the node sets VLANs: that is never on its way."""
    node, record = attached
    host = world.node.host
    pf = host.pci.device(PF).ifindex
    for settings, may_settle in (
        (model.VfSettings(min_tx_rate=0, max_tx_rate=7), True),
        (model.VfSettings(vlan=9, vlan_qos=0, vlan_proto='802.1q'), False),
    ):
        host.links.set_vf(pf, 0, settings)
        with pytest.raises(exceptions.Drifted) as raised:
            node.check(*record.key)
        assert raised.value.may_settle is may_settle


@pytest.fixture
def vendor(world, tmp_path, monkeypatch):
    """Has the world use a vendor's driver, made of ours; by its version."""

    def use(version):
        info = tmp_path / 'site' / f'vendor{version}-1.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text(f'Name: vendor{version}\nVersion: 1\n')
        (info / 'entry_points.txt').write_text(
            '[kuryr_sriov.binding_drivers]\n'
            f'crane = vendor{version}:CraneDriver\n'
        )
        (info.parent / f'vendor{version}.py').write_text(
            VENDOR.format(version=version)
        )
        monkeypatch.syspath_prepend(info.parent)
        world.text = world.text.replace(
            'physnet23:netdevice', 'physnet23:crane'
        )

    return use


VENDOR = """
from kuryr_sriov.binding.netdevice import NetdeviceDriver

class CraneDriver(NetdeviceDriver):
    contract = {version}
"""


@pytest.mark.parametrize('version', [1, 2])
def test_a_vendors_driver_changes_vfs_since_version_2(world, vendor, version):
    """One of version 1 has inherited the method unasked."""
    vendor(version)
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(1, 0))
        node.attach(sandbox, [world.vif('net1', 1)])
        (record,) = node.attachments()
        before = held(world)
        newer = changed(record.vif, **NEWS)
        if version == 1:
            with pytest.raises(
                exceptions.UnsupportedSetting,
                match='driver crane was written for version 1 of its',
            ):
                node.change_settings(record, newer)
            assert held(world) == before
        else:
            assert node.change_settings(record, newer)
            assert held(world).link_state == 'disable'
        node.check(*record.key)
        node.detach(sandbox.container_id)
        assert node.attachments() == ()


# By the daemon.


@pytest.fixture
def node(world):
    with contextlib.closing(NodeWithDaemon(world)) as node:
        yield node


def reasons(node):
    return [
        reason
        for reason in node.api.session.reasons()
        if reason.startswith('Vf')
    ]


def attach_pod(node):
    pod, vifs = node.promised(1)
    node.runtime.succeed('ADD', 1)
    wait_for(lambda: node.api.promises[pod.uid].attachments)
    return pod, vifs


def test_a_changed_promise_reaches_the_running_vf(node, world):
    node.start()
    pod, (first, second) = attach_pod(node)
    node.api.promise(pod, [first, changed(second, **NEWS)])
    wait_for(lambda: held(world).link_state == 'disable')
    wait_for(lambda: reasons(node) == ['VfChanged'])
    (event,) = node.api.session.events
    assert event['type'] == 'Normal'
    assert 'net2: max_tx_rate is 200, was unset and' in event['note']
    assert node.runtime.succeed('CHECK', 1) is None


def test_a_change_that_the_nic_refuses_is_told_and_tried_again(node, world):
    world.node.refuse(PF, {'trust': errno.EOPNOTSUPP})
    node.start()
    pod, (first, second) = attach_pod(node)
    node.api.promise(pod, [first, changed(second, trust=True)])
    wait_for(lambda: reasons(node) == ['VfNotChanged'])
    (event,) = node.api.session.events
    assert 'net2: trust is True, was unset, by the network' in event['note']
    assert node.runtime.succeed('CHECK', 1) is None
    world.node.refuse(PF, {})
    wait_for(lambda: held(world).trust)


def test_a_daemon_that_starts_makes_changes_that_it_has_missed(node, world):
    node.start()
    pod, (first, second) = attach_pod(node)
    node.stop()
    node.api.promise(pod, [first, changed(second, link_state='disable')])
    node.start()
    wait_for(lambda: held(world).link_state == 'disable')


def test_what_neutrons_agent_sets_first_is_no_drift(node, world):
    """It sets a rate at once; the promise follows by the period."""
    node.start()
    pod, (first, second) = attach_pod(node)
    host = world.node.host
    pf = host.pci.device(PF).ifindex
    host.links.set_vf(pf, 0, model.VfSettings(min_tx_rate=0, max_tx_rate=200))
    changing = changed(second, max_tx_rate=200)
    node.api.promise(pod, [first, changing])
    wait_for(lambda: reasons(node) == ['VfChanged'])
    assert held(world).max_tx_rate == 200
    assert node.runtime.succeed('CHECK', 1) is None
