# SPDX-License-Identifier: Apache-2.0
"""Ports of Neutron from and to our values, without a Neutron."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron import (
    lookups,
    port_body,
    port_request,
    port_vif,
)

POD = model.Pod('default', 'nginx', 'uid-1', 'node-1')
SUBNET = model.Subnet('sub-4', 'net', 'physnet22', '192.168.2.0/24', vlan=None)
REQUEST = model.NetworkRequest(
    'default', 'sriov', 'net1', resource='intel.com/a', subnets=(SUBNET,)
)


def port(**more: Any) -> dict[str, Any]:
    """A bound port as Neutron's API has it."""
    return {
        'id': 'port-1',
        'name': 'default/nginx/net1',
        'device_id': 'uid-1',
        'network_id': 'net',
        'mac_address': 'FA:16:3E:00:00:01',
        'fixed_ips': [{'subnet_id': 'sub-4', 'ip_address': '192.168.2.7'}],
        'binding:host_id': 'node-1',
        'binding:vif_type': 'hw_veb',
        'binding:vif_details': {'vlan': '3501'},
        'status': 'DOWN',
        'created_at': '2026-01-01T00:00:00Z',
        **more,
    }


def vif(**more: Any) -> model.Vif:
    parsed = port_body.parse_port(port(**more))
    return port_vif.to_vif(parsed, REQUEST, (SUBNET,), lookups.Rates())


def test_bound_port_is_a_vif() -> None:
    assert vif() == model.Vif(
        id='port-1',
        ifname='net1',
        network='default/sriov',
        resource='intel.com/a',
        physnet='physnet22',
        mac='fa:16:3e:00:00:01',
        addresses=('192.168.2.7/24',),
        vlan=3501,
    )


@pytest.mark.parametrize(
    ('more', 'expected'),
    [
        ({'port_security_enabled': True}, {'spoofchk': True}),
        ({'port_security_enabled': False}, {'spoofchk': False}),
        ({'propagate_uplink_status': True}, {'link_state': 'auto'}),
        ({'propagate_uplink_status': False}, {'link_state': 'enable'}),
        ({'admin_state_up': False}, {'link_state': 'disable'}),
        ({'binding:profile': {'trusted': 'true'}}, {'trust': True}),
        ({'binding:profile': {'trusted': False}}, {'trust': None}),
        ({'trusted': True}, {'trust': True}),
        ({'status': 'ACTIVE'}, {'active': True}),
        ({'binding:vif_details': {'vlan': '0'}}, {'vlan': 0}),
    ],
)
def test_what_the_vf_is_set_to(
    more: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = dataclasses.asdict(vif(**more))

    assert {name: found[name] for name in expected} == expected


def test_unknown_vlan_is_refused() -> None:
    with pytest.raises(exceptions.ProviderRefused, match='role "service"'):
        vif(**{'binding:vif_details': None})


def test_vlan_of_the_network_where_the_binding_does_not_tell() -> None:
    known = dataclasses.replace(SUBNET, vlan=7)
    asked = dataclasses.replace(REQUEST, subnets=(known,))
    parsed = port_body.parse_port(port(**{'binding:vif_details': {}}))

    found = port_vif.to_vif(parsed, asked, (known,), lookups.Rates())

    assert found.vlan == 7


def vif_of(said: dict[str, Any], **more: Any) -> model.Vif:
    policy = model.Policy(**said)
    return port_vif.to_vif(
        port_body.parse_port(port(**more)),
        dataclasses.replace(REQUEST, policy=policy),
        (SUBNET,),
        lookups.Rates(max_tx_rate=200),
        trusted_physnets={'physnet22'},
    )


@pytest.mark.parametrize(
    ('said', 'more', 'expected'),
    [
        ({'trust': False}, {}, {'trust': False}),
        ({'trust': False}, {'trusted': True}, {'trust': True}),
        ({}, {}, {'trust': True}),
        (
            {'spoofchk': True},
            {'port_security_enabled': False},
            {'spoofchk': False},
        ),
        ({'spoofchk': True}, {}, {'spoofchk': True}),
        (
            {'link_state': 'auto'},
            {'admin_state_up': False},
            {'link_state': 'disable'},
        ),
        ({'link_state': 'enable'}, {}, {'link_state': 'enable'}),
        ({'max_tx_rate': 100}, {}, {'max_tx_rate': 200}),
        ({'min_tx_rate': 100}, {}, {'min_tx_rate': 100}),
        ({'mtu': 1400}, {}, {'mtu': 1400}),
        ({'vlan_qos': 5}, {}, {'vlan_qos': 5}),
    ],
)
def test_what_neutron_says_counts_before_what_a_nad_says(
    said: dict[str, Any], more: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = dataclasses.asdict(vif_of(said, **more))

    assert {name: found[name] for name in expected} == expected


def test_a_minimum_of_the_nad_above_neutrons_limit_is_refused() -> None:
    with pytest.raises(exceptions.ProviderRefused) as caught:
        vif_of({'min_tx_rate': 300})

    assert str(caught.value) == (
        'network default/sriov: the minimum rate of port-1 is 300 Mbit/s and '
        'its maximum 200; correct its QoS policy, or minTxRate and maxTxRate '
        'of the NetworkAttachmentDefinition'
    )


def test_a_priority_without_vlan_is_refused() -> None:
    with pytest.raises(exceptions.ProviderRefused, match='vlanQos 3 needs'):
        vif_of({'vlan_qos': 3}, **{'binding:vif_details': {'vlan': '0'}})


@pytest.mark.parametrize(
    'more',
    [
        {'binding:host_id': 'node-2'},
        {'network_id': 'another'},
        {'fixed_ips': []},
    ],
)
def test_port_that_does_not_fit(more: dict[str, Any]) -> None:
    assert port_body.parse_port(port()).fits(POD, REQUEST)
    assert not port_body.parse_port(port(**more)).fits(POD, REQUEST)


@pytest.mark.parametrize(
    ('more', 'expected'),
    [
        ({}, ('default', 'nginx', 'net1')),
        ({'name': 'a/b/c'}, ('a', 'b', 'c')),
        ({'name': 'web'}, ('', '', 'web')),
        ({'name': ''}, ('', '', '')),
        ({'name': 'web/net1'}, ('', '', 'net1')),
        ({'name': f'a/{"b" * 248}/net1'}, ('', '', 'net1')),
    ],
)
def test_the_pod_is_named_only_where_its_whole_name_is_there(
    more: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """Else the API server would be asked for a pod that never was."""
    parsed = port_body.parse_port(port(**more))

    found = parsed.pod.namespace, parsed.pod.name, parsed.ifname
    assert found == expected
    assert (parsed.pod.uid, parsed.pod.node) == ('uid-1', 'node-1')


@pytest.mark.parametrize(
    ('more', 'ours'),
    [
        ({}, True),
        ({'device_owner': 'compute:nova'}, False),
        ({'device_owner': None}, False),
        ({'description': "kuryr-sriov port of cluster 'green'"}, False),
        ({'description': ''}, False),
    ],
)
def test_whose_port_it_is(more: dict[str, Any], ours: bool) -> None:
    defaults = port_body.Defaults(cluster='blue')
    body = {
        'device_owner': port_body.DEVICE_OWNER,
        'description': defaults.description,
        **more,
    }

    assert port_body.parse_port(port(**body)).is_of(defaults) is ours


@pytest.mark.parametrize(
    'body',
    [
        {},
        {'id': 'p'},
        port(name=None),
        port(fixed_ips=[{}]),
        port(created_at=7),
    ],
)
def test_a_port_that_cannot_be_read_is_no_answer(body: dict[str, Any]) -> None:
    with pytest.raises(exceptions.ProviderUnavailable, match='cannot be read'):
        port_body.parse_port(body)


name = st.text('abcdefghijklmnopqrstuvwxyz0123456789-', min_size=1)


@given(name.map(lambda s: s[:63]), name, name.map(lambda s: s[:15]))
def test_name_holds_the_interface(
    namespace: str, pod: str, ifname: str
) -> None:
    long = dataclasses.replace(POD, namespace=namespace, name=pod * 30)

    text = port_request.port_name(long, ifname)

    assert len(text) <= 255
    assert port_body.parse_port(port(name=text)).ifname == ifname
