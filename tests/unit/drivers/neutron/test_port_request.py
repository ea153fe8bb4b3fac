# SPDX-License-Identifier: Apache-2.0
"""What Neutron is asked for, without a Neutron."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from kuryr_sriov import model
from kuryr_sriov.drivers.neutron import port_body, port_request

POD = model.Pod('default', 'nginx', 'uid-1', 'node-1')
SUBNET = model.Subnet('sub-4', 'net', 'physnet22', '192.168.2.0/24', vlan=None)
REQUEST = model.NetworkRequest(
    'default', 'sriov', 'net1', resource='intel.com/a', subnets=(SUBNET,)
)


def test_to_create_says_only_what_is_configured() -> None:
    body = port_request.to_create(
        POD, REQUEST, port_body.Defaults(cluster='blue')
    )

    assert body == {
        'name': 'default/nginx/net1',
        'description': "kuryr-sriov port of cluster 'blue'",
        'network_id': 'net',
        'fixed_ips': [{'subnet_id': 'sub-4'}],
        'device_id': 'uid-1',
        'device_owner': 'compute:kuryr:sriov',
        'binding:host_id': 'node-1',
        'binding:vnic_type': 'direct',
        'admin_state_up': True,
        'tags': ['kuryr-sriov-cluster=blue'],
    }


def test_no_port_security_is_no_security_group() -> None:
    defaults = port_body.Defaults(port_security=False, security_groups=('sg',))

    body = port_request.to_create(POD, REQUEST, defaults)

    assert body['port_security_enabled'] is False
    assert body['security_groups'] == []


GROUPS = {'security_groups': ['sg']}
OPEN = {'port_security_enabled': False, 'security_groups': []}
FILTERED = {'port_security_enabled': True, 'security_groups': ['nad']}


@pytest.mark.parametrize(
    ('said', 'configured', 'expected'),
    [
        ({}, {}, {}),
        ({}, {'security_groups': ('sg',)}, GROUPS),
        ({'security_groups': ()}, GROUPS, {'security_groups': []}),
        ({'security_groups': ('nad',)}, {'port_security': False}, FILTERED),
        ({'port_security': False}, GROUPS, OPEN),
        ({'spoofchk': False}, GROUPS, OPEN),
        (
            {'port_security': True},
            {'port_security': False},
            {'port_security_enabled': True},
        ),
        (
            {'spoofchk': True},
            {'port_security': False},
            {'port_security_enabled': True},
        ),
        ({'qos_policy': 'q'}, {'qos_policy': 'p'}, {'qos_policy_id': 'q'}),
        ({'link_state': 'disable'}, {}, {'admin_state_up': False}),
        ({'link_state': 'auto'}, {}, {'propagate_uplink_status': True}),
        (
            {'link_state': 'enable'},
            {'propagate_uplink_status': True},
            {'propagate_uplink_status': False},
        ),
    ],
)
def test_what_a_nad_says_counts_before_what_is_configured(
    said: dict[str, Any],
    configured: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    asked = dataclasses.replace(REQUEST, policy=model.Policy(**said))
    defaults = port_body.Defaults(**configured)

    body = port_request.to_create(POD, asked, defaults)

    nothing = port_request.to_create(POD, REQUEST, port_body.Defaults())
    assert body == nothing | expected


@pytest.mark.parametrize(
    ('namespace', 'expected'),
    [
        ('blue', {'project_id': 'of-blue', 'security_groups': ['a', 'b']}),
        # the groups of our own project are no groups of another one
        ('red', {'project_id': 'of-red'}),
        ('default', {'project_id': 'ours', 'security_groups': ['sg']}),
    ],
)
def test_a_namespace_has_a_project_and_groups_of_its_own(
    namespace: str, expected: dict[str, Any]
) -> None:
    defaults = port_body.Defaults(
        project='ours',
        security_groups=('sg',),
        namespace_projects={'blue': 'of-blue', 'red': 'of-red'},
        namespace_security_groups={'blue': ('a', 'b')},
    )
    pod = dataclasses.replace(POD, namespace=namespace)

    body = port_request.to_create(pod, REQUEST, defaults)

    nothing = port_request.to_create(pod, REQUEST, port_body.Defaults())
    assert body == nothing | expected


def test_dual_stack_with_one_address_asked_for() -> None:
    six = dataclasses.replace(SUBNET, id='sub-6', cidr='fd00::/64')
    asked = dataclasses.replace(
        REQUEST, subnets=(SUBNET, six), ips=('fd00::7/64',)
    )

    body = port_request.to_create(POD, asked, port_body.Defaults())

    assert body['fixed_ips'] == [
        {'subnet_id': 'sub-6', 'ip_address': 'fd00::7'},
        {'subnet_id': 'sub-4'},
    ]


@pytest.mark.parametrize(
    ('said', 'expected'),
    [
        (None, 30.0),
        (model.Policy(mtu=1400), 30.0),
        (model.Policy(active_timeout=5.0), 5.0),
        # it would never be ACTIVE
        (model.Policy(link_state='disable'), None),
    ],
)
def test_the_time_to_become_active_is_the_nads_or_the_resources(
    said: model.Policy | None, expected: float | None
) -> None:
    timeouts = {'intel.com/a': 30.0, 'intel.com/b': 60.0}
    asked = dataclasses.replace(REQUEST, policy=said)

    found = port_request.with_active_timeout(asked, timeouts)

    policy = dataclasses.replace(
        said or model.Policy(), active_timeout=expected
    )
    assert found == dataclasses.replace(REQUEST, policy=policy)


def test_a_resource_of_which_nothing_is_said_has_all_the_time() -> None:
    found = port_request.with_active_timeout(REQUEST, {'intel.com/b': 60.0})
    assert found == REQUEST
