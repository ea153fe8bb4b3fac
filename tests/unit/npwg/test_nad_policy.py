# SPDX-License-Identifier: Apache-2.0
"""A NAD's policy: each key, its bad values, and what it does not fit."""

import dataclasses
import json

import pytest

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation, ProviderRefused
from kuryr_sriov.npwg import nad_policy
from kuryr_sriov.npwg.annotation import Selection
from kuryr_sriov.npwg.requests import request_of

ENTRY = Selection('default', 'sriov-net1', 'net1')
WHERE = (
    'NetworkAttachmentDefinition default/sriov-net1: '
    'openstack.org/kuryr-config: '
)


def policy_of(**keys):
    text = json.dumps({'driverType': 'sriov', **keys})
    annotations = {'openstack.org/kuryr-config': text}
    return request_of(ENTRY, {'metadata': {'annotations': annotations}}).policy


def refusal_of(**keys):
    with pytest.raises(InvalidAnnotation) as caught:
        policy_of(**keys)
    message = str(caught.value)
    assert message.startswith(WHERE)
    return message.removeprefix(WHERE)


GOOD = {
    'securityGroupIds': (['one', 'two'], ('one', 'two')),
    'portSecurity': (False, False),
    'qosPolicyId': ('uuid-1', 'uuid-1'),
    'activeTimeout': (30, 30.0),
    'trusted': (True, True),
    'spoofchk': (False, False),
    'linkState': ('enable', 'enable'),
    'minTxRate': (0, 0),
    'maxTxRate': (1000, 1000),
    'mtu': (1500, 1500),
    'vlanQos': (0, 0),
}


@pytest.mark.parametrize('key', nad_policy.KEYS)
def test_each_key_is_a_field_of_the_policy(key):
    given, read = GOOD[key]
    field = nad_policy.KEYS[key].field
    assert policy_of(**{key: given}) == model.Policy(**{field: read})


def test_each_field_has_a_key():
    fields = {field.name for field in dataclasses.fields(model.Policy)}
    assert fields == {key.field for key in nad_policy.KEYS.values()}
    assert len(nad_policy.KEYS) == len(fields)


def test_the_settings_of_a_vf_are_fields_of_vif_and_policy():
    for cls in (model.Vif, model.Policy):
        names = {field.name for field in dataclasses.fields(cls)}
        assert names >= model.VF_POLICY


def test_a_nad_that_says_nothing_has_no_policy():
    assert policy_of(subnetId='uuid-1') is None


def test_no_security_group_at_all_can_be_said():
    assert policy_of(securityGroupIds=[]).security_groups == ()


IDS = (
    'is no list of different ids; write ["ID of a group"], or [] for none, '
    'or leave it out.'
)
FLAG = 'is neither true nor false; write true, or leave it out.'
RATE = 'is no rate in Mbit/s; write 1000, or 0 for none, or leave it out.'
MTU = 'is no MTU from 68 to 65535; write 1500, or leave it out.'
STATE = 'is none of auto, enable and disable; write "auto", or leave it out.'
SECONDS = 'is no number of seconds up to 600; write 30, or leave it out.'
QOS = 'is no number from 0 to 7; write 3, or leave it out.'
POLICY = 'is no id; write "ID of a policy", or leave it out.'


BAD = [
    ('securityGroupIds', 'one', IDS),
    ('securityGroupIds', ['one', 'one'], IDS),
    ('securityGroupIds', ['one two'], IDS),
    ('securityGroupIds', [7], IDS),
    ('portSecurity', 'off', FLAG),
    ('portSecurity', 0, FLAG),
    ('qosPolicyId', '', POLICY),
    ('qosPolicyId', 7, POLICY),
    ('activeTimeout', 0, SECONDS),
    ('activeTimeout', True, SECONDS),
    ('activeTimeout', '30', SECONDS),
    ('activeTimeout', 601, SECONDS),
    ('trusted', 'on', FLAG),
    ('trusted', None, FLAG),
    ('spoofchk', 'off', FLAG),
    ('linkState', 'up', STATE),
    ('linkState', [], STATE),
    ('minTxRate', -1, RATE),
    ('minTxRate', True, RATE),
    ('maxTxRate', '10Gbit', RATE),
    ('maxTxRate', 2**32, RATE),
    ('mtu', 67, MTU),
    ('mtu', 65536, MTU),
    ('mtu', 1500.0, MTU),
    ('vlanQos', 8, QOS),
]


@pytest.mark.parametrize(('key', 'value', 'message'), BAD)
def test_a_bad_value_is_named_with_its_place(key, value, message):
    assert refusal_of(**{key: value}) == f'{key} {value!r} {message}'


def test_each_key_has_a_bad_value_here():
    assert {key for key, *_ in BAD} == nad_policy.KEYS.keys()


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (
            {'securityGroupIds': ['one'], 'portSecurity': False},
            'securityGroupIds is there, and portSecurity is false: a port '
            'without port security has no security groups; remove one of '
            'the two.',
        ),
        (
            {'securityGroupIds': ['one'], 'spoofchk': False},
            'securityGroupIds is there, and spoofchk is false: a port '
            'without port security has no security groups; remove one of '
            'the two.',
        ),
        (
            {'portSecurity': True, 'spoofchk': False},
            'portSecurity and spoofchk differ: a VF is checked for spoofing '
            'if its port has port security; remove spoofchk.',
        ),
        (
            {'minTxRate': 200, 'maxTxRate': 100},
            'minTxRate 200 is above maxTxRate 100; correct one of the two.',
        ),
        (
            {'linkState': 'disable', 'activeTimeout': 30},
            'linkState is disable, and activeTimeout is there: a port that '
            'is down does not become ACTIVE; remove one of the two.',
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys, message):
    assert refusal_of(**keys) == message


def test_a_minimum_without_a_limit_is_none_above_it():
    assert policy_of(minTxRate=200, maxTxRate=0)
    assert policy_of(securityGroupIds=[], portSecurity=False)


@pytest.mark.parametrize(
    ('key', 'likely'),
    [
        ('port_security', 'portSecurity'),
        ('securityGroups', 'securityGroupIds'),
        ('subnetID', 'subnetId'),
        ('vlanQoS', 'vlanQos'),
    ],
)
def test_a_key_that_is_misspelt_is_named_with_the_one_meant(key, likely):
    message = refusal_of(**{key: 'x'})
    assert message.startswith(
        f"there is no key '{key}'; did you mean {likely}? (the keys are "
        'driverType, subnetId, allow, securityGroupIds, '
    )


def test_a_key_that_looks_like_none_is_to_be_removed():
    assert refusal_of(bandwidth=1).startswith(
        "there is no key 'bandwidth'; remove it (the keys are "
    )


# What the subnets rule out.

FOUR = model.Subnet('s4', 'net', 'a', '10.1.0.0/24', vlan=7, mtu=1500)
SIX = model.Subnet('s6', 'net', 'a', 'fd00::/64', vlan=7, mtu=1500)
FLAT = dataclasses.replace(FOUR, vlan=0)


def request(*subnets, **said):
    return model.NetworkRequest(
        'default',
        'sriov-net1',
        'net1',
        subnets=subnets,
        policy=model.Policy(**said),
    )


@pytest.mark.parametrize(
    ('asked', 'message'),
    [
        (
            request(FOUR, mtu=1501),
            'mtu 1501 is above that of network net, which is 1500; lower it, '
            'or leave it out.',
        ),
        (
            request(FOUR, SIX, mtu=1279),
            'mtu 1279 is too small for IPv6 (subnet s6); use 1280 or more.',
        ),
        (
            request(FLAT, vlan_qos=3),
            'vlanQos 3 needs a VLAN, and network net is untagged; remove it.',
        ),
    ],
)
def test_what_the_subnets_rule_out_is_refused(asked, message):
    with pytest.raises(InvalidAnnotation) as caught:
        nad_policy.check_against_subnets(asked)
    assert str(caught.value) == (
        f'NetworkAttachmentDefinition default/sriov-net1: {message}'
    )


@pytest.mark.parametrize(
    'asked',
    [
        request(FOUR, mtu=1500, vlan_qos=3),
        request(FOUR, mtu=68),
        request(FOUR, SIX, mtu=1280),
        request(FLAT, vlan_qos=0),
        # Neutron tells the VLAN of the bound port only
        request(dataclasses.replace(FOUR, vlan=None), vlan_qos=3),
        request(dataclasses.replace(FOUR, mtu=0), mtu=9000),
        model.NetworkRequest('a', 'b', 'net1', subnets=(FOUR,)),
    ],
)
def test_what_the_subnets_allow_is_not(asked):
    nad_policy.check_against_subnets(asked)


def test_what_a_driver_cannot_do_is_refused_by_name():
    asked = request(FOUR, trust=True, security_groups=('a',), qos_policy='b')
    with pytest.raises(InvalidAnnotation) as caught:
        nad_policy.refuse_unsupported([asked], model.VF_POLICY, 'LocalDriver')
    assert str(caught.value) == (
        'NetworkAttachmentDefinition default/sriov-net1: the VIF driver '
        'LocalDriver cannot do securityGroupIds, qosPolicyId; remove that '
        'from its openstack.org/kuryr-config.'
    )


# What the provider has said.

VIF = model.Vif('id-1', 'net1', 'default/sriov-net1', 'r', 'a', 'mac', vlan=7)


def test_what_the_provider_says_counts_more():
    said = model.Policy(
        trust=True, spoofchk=True, link_state='enable', max_tx_rate=100, mtu=90
    )
    given = dataclasses.replace(
        VIF, spoofchk=False, link_state='disable', max_tx_rate=0, mtu=1500
    )
    assert said.fill(given) == dataclasses.replace(
        given, trust=True, mtu=90, policy=said
    )


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (
            {'vlan': 0, 'vlan_qos': 3},
            'vlanQos 3 needs a VLAN, and id-1 has none; remove it from the '
            'NetworkAttachmentDefinition',
        ),
        (
            {'min_tx_rate': 100, 'max_tx_rate': 50},
            'the minimum rate of id-1 is 100 Mbit/s and its maximum 50; '
            'correct its QoS policy, or minTxRate and maxTxRate of the '
            'NetworkAttachmentDefinition',
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(more, message):
    vif = dataclasses.replace(VIF, **more)
    with pytest.raises(ProviderRefused) as caught:
        nad_policy.check_filled(vif)
    assert str(caught.value) == f'network default/sriov-net1: {message}'
