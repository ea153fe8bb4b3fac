# SPDX-License-Identifier: Apache-2.0
"""A pod does not become the router, nor two pods, by asking for it."""

import dataclasses

import pytest

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation
from kuryr_sriov.npwg.wishes import check_wishes

FOUR = model.Subnet(
    'four', 'net', 'physnet22', '192.168.2.0/24', gateway='192.168.2.1'
)
SIX = model.Subnet('six', 'net', 'physnet22', 'fd00:2::/64', gateway='fe80::1')
REQUEST = model.NetworkRequest('a', 'b', 'net1', subnets=(FOUR, SIX))


def ask(**wishes):
    return dataclasses.replace(REQUEST, **wishes)


@pytest.mark.parametrize(
    'wishes',
    [
        {},
        {'ips': ('192.168.2.7', 'fd00:2::7/64')},
        {'mac': '02:00:00:00:00:07'},
        {'gateways': ()},
        {'gateways': ('192.168.2.1', 'fe80::1')},
        {'gateways': ('192.168.2.254', 'fd00:2::fe')},
    ],
)
def test_what_a_pod_may_have(wishes):
    check_wishes(ask(**wishes))


@pytest.mark.parametrize(
    ('wishes', 'message'),
    [
        (
            {'ips': ('192.168.2.1',)},
            '192.168.2.1 is the gateway of subnet four; choose another',
        ),
        ({'ips': ('192.168.2.1/24',)}, '192.168.2.1 is the gateway of'),
        ({'ips': ('fe80::1/64',)}, 'fe80::1 is the gateway of subnet six'),
        (
            {'ips': ('192.168.2.7', '192.168.2.8')},
            'it asks for 2 addresses of 192.168.2.0/24; choose one of each',
        ),
        (
            {'mac': '00:00:5E:00:01:2a'},
            'mac 00:00:5E:00:01:2a is one of virtual routers; choose another',
        ),
        ({'mac': '00:00:5e:00:02:01'}, 'is one of virtual routers'),
        (
            {'gateways': ('192.168.3.1',)},
            'default-route 192.168.3.1 is not in 192.168.2.0/24 or '
            'fd00:2::/64; name a router of the subnet',
        ),
        ({'gateways': ('192.168.2.1', 'fe80::2')}, 'fe80::2 is not in'),
    ],
)
def test_what_no_pod_may_have(wishes, message):
    with pytest.raises(InvalidAnnotation) as caught:
        check_wishes(ask(**wishes))
    assert str(caught.value).startswith('network a/b (net1): ')
    assert message in str(caught.value)
