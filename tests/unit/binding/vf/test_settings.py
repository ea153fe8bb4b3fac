# SPDX-License-Identifier: Apache-2.0
"""What a PF is to hold for a VF, worked out from what it holds."""

import dataclasses
import errno

import pytest
from values import VIF

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.vf import settings
from kuryr_sriov.binding.vf.settings import NO_MAC
from kuryr_sriov.testing.simulation.hardware import UNTOUCHED

MAC, OTHER_MAC = '02:00:00:00:00:01', '02:00:00:00:00:02'
HELD = dataclasses.replace(UNTOUCHED, mac=MAC, node_guid=None, port_guid=None)


def test_all_that_a_vif_asks_for_is_wanted():
    vif = dataclasses.replace(VIF, guid='00:11:22:33:44:55:66:77')
    assert settings.wanted(vif) == model.VfSettings(
        mac=VIF.mac,
        vlan=3501,
        vlan_qos=3,
        vlan_proto='802.1ad',
        min_tx_rate=100,
        max_tx_rate=1000,
        spoofchk=True,
        trust=False,
        link_state='enable',
        node_guid='00:11:22:33:44:55:66:77',
        port_guid='00:11:22:33:44:55:66:77',
    )
    assert settings.wanted(VIF).node_guid is None
    assert settings.wanted(VIF).port_guid is None


@pytest.mark.parametrize('vlan', [0, 1, 4094])
@pytest.mark.parametrize('qos', [0, 7])
def test_the_outermost_values_are_taken(vlan, qos):
    vif = dataclasses.replace(
        VIF, vlan=vlan, vlan_qos=qos if vlan else 0, vlan_proto='802.1q'
    )
    assert settings.wanted(vif).vlan == vlan


@pytest.mark.parametrize(
    ('fields', 'setting', 'remedy'),
    [
        ({'vlan': -1}, 'vlan', 'use 0 to 4094'),
        ({'vlan': 4095}, 'vlan', 'use 0 to 4094'),
        ({'vlan_qos': -1}, 'vlan_qos', 'use 0 to 7'),
        ({'vlan_qos': 8}, 'vlan_qos', 'use 0 to 7'),
        ({'vlan': 0}, 'vlan_qos', 'it needs a VLAN'),
        ({'vlan': 0, 'vlan_qos': 0}, 'vlan_proto', 'it needs a VLAN'),
    ],
)
def test_what_no_nic_takes_is_refused(fields, setting, remedy):
    with pytest.raises(exceptions.UnsupportedSetting) as raised:
        settings.wanted(dataclasses.replace(VIF, **fields))
    assert raised.value.setting == setting
    value = {**dataclasses.asdict(VIF), **fields}[setting]
    assert str(raised.value) == (
        f'net1: {setting} {value} cannot be set: {remedy}'
    )


def test_of_a_running_vf_only_some_may_change():
    silent = dataclasses.replace(
        VIF, max_tx_rate=None, trust=None, link_state=None, spoofchk=False
    )
    wanted = settings.wanted_while_running(silent, HELD)
    assert wanted == model.VfSettings(
        min_tx_rate=100,
        max_tx_rate=0,
        spoofchk=False,
        trust=False,
        link_state='auto',
    )
    held = dataclasses.replace(HELD, max_tx_rate=5)
    kept = settings.only_changeable(held)
    assert kept == dataclasses.replace(
        wanted, min_tx_rate=0, max_tx_rate=5, spoofchk=True
    )


def test_while_a_vf_changes_either_value_will_do():
    before = dataclasses.replace(VIF, trust=True)
    after = dataclasses.replace(VIF, max_tx_rate=2000)
    attachment = model.Attachment(
        model.Sandbox('c', '/n', model.Pod('n', 'p', 'u')),
        before,
        '0000:02:10.0',
        'netdevice',
    )
    changing = dataclasses.replace(attachment, pending=after)

    def list_both(vif, **held):
        current = dataclasses.replace(settings.wanted(vif), **held)
        return (
            settings.list_drifting(attachment, current),
            settings.list_drifting(changing, current),
        )

    assert list_both(before) == ([], [])
    assert list_both(after) == (['max_tx_rate', 'trust'], [])
    assert list_both(before, max_tx_rate=3) == (['max_tx_rate'],) * 2


@pytest.mark.parametrize(
    ('target', 'changes'),
    [
        ({'mac': MAC, 'vlan': 0}, None),
        ({'mac': OTHER_MAC}, {'mac': OTHER_MAC}),
        ({'vlan': 5}, {'vlan': 5, 'vlan_qos': 0, 'vlan_proto': '802.1q'}),
        ({'max_tx_rate': 9}, {'min_tx_rate': 0, 'max_tx_rate': 9}),
        # an untagged VF has no protocol of its tags
        ({'vlan_proto': '802.1ad'}, None),
        ({'spoofchk': True, 'trust': True}, {'trust': True}),
    ],
)
def test_what_differs_is_sent_with_its_group(target, changes):
    sent = settings.settings_to_send(model.VfSettings(**target), HELD)
    assert sent == (changes and model.VfSettings(**changes))


def test_a_protocol_is_named_where_the_kernel_refuses_it():
    names = ['vlan', 'vlan_proto']
    for number, name in (
        (errno.EPROTONOSUPPORT, 'vlan_proto'),
        (errno.EINVAL, 'vlan'),
        (0, 'vlan'),
    ):
        assert settings.name_refused(names, number) == name
    refused = settings.name_refused(['trust'], errno.EPROTONOSUPPORT)
    assert refused == 'trust'


@pytest.mark.parametrize(
    ('shown', 'own', 'assigned', 'pinned'),
    [
        (None, MAC, True, False),
        (NO_MAC, MAC, True, False),
        (MAC, MAC, False, False),
        (MAC, MAC, True, True),
        (MAC, OTHER_MAC, False, True),
        (MAC, None, False, True),
    ],
)
def test_who_has_set_the_mac_that_a_pf_shows(shown, own, assigned, pinned):
    link = own and model.Link(1, 'ens6v0', own, 1500)
    held = dataclasses.replace(HELD, mac=shown)
    assert settings.is_pinned(held, link, assigned) is pinned


@pytest.mark.parametrize(
    ('recorded', 'own', 'pinned', 'now', 'target'),
    [
        # what the PF had pinned, the VF takes from it
        (MAC, MAC, True, OTHER_MAC, MAC),
        # the VF had told its own, and tells it again
        (MAC, MAC, False, OTHER_MAC, NO_MAC),
        (MAC, MAC, False, MAC, MAC),
        # another than the VF's own was pinned
        (OTHER_MAC, MAC, True, OTHER_MAC, NO_MAC),
        (NO_MAC, MAC, False, NO_MAC, NO_MAC),
        # without netdev there is no own MAC to give back
        (MAC, '', True, OTHER_MAC, MAC),
        (None, MAC, False, None, None),
    ],
)
def test_a_vf_gets_its_own_mac_back_once_no_other_is_pinned(
    recorded, own, pinned, now, target
):
    original = model.VfState(
        mac=own,
        settings=dataclasses.replace(HELD, mac=recorded),
        pinned=pinned,
    )
    current = dataclasses.replace(HELD, mac=now)
    expected = dataclasses.replace(HELD, mac=target)
    assert settings.unpin_mac(original, current) == expected


def test_a_vm_has_what_a_hypervisor_gives_its_guest():
    assert dataclasses.replace(HELD, mac=None, vlan=None) == settings.GUEST
