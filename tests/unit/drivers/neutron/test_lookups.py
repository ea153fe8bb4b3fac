# SPDX-License-Identifier: Apache-2.0
"""Subnets and QoS policies of Neutron, and for how long they are kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron import lookups

SUBNET = {'id': 'sub', 'network_id': 'net', 'cidr': '10.0.0.0/8'}
SEGMENT = {
    'provider:network_type': 'vlan',
    'provider:physical_network': 'physnet22',
    'provider:segmentation_id': 7,
}
TUNNEL = {
    'provider:network_type': 'vxlan',
    'provider:physical_network': None,
    'provider:segmentation_id': 9,
}


def provider(**network: Any) -> tuple[str, int | None]:
    found = lookups.to_subnet(SUBNET, {'id': 'net', **network})
    return found.physnet, found.vlan


def test_provider_attributes() -> None:
    flat = SEGMENT | {
        'provider:network_type': 'flat',
        'provider:segmentation_id': None,
    }
    other = SEGMENT | {'provider:physical_network': 'physnet23'}

    assert provider(**SEGMENT) == ('physnet22', 7)
    assert provider(**flat) == ('physnet22', 0)
    assert provider() == ('', None)
    assert provider(segments=[SEGMENT, TUNNEL]) == ('physnet22', None)
    assert provider(segments=[SEGMENT, other]) == ('', None)
    with pytest.raises(exceptions.ProviderRefused, match='of type vxlan'):
        provider(**TUNNEL)


class Neutron:
    """Answers with what it has, by id."""

    def __init__(self, **found: Any) -> None:
        self.found = found

    def get(self, collection: str, name: str, id: str) -> Any:
        return self.found[id]


def test_a_port_of_a_machine() -> None:
    port = {
        'id': 'port',
        'network_id': 'net',
        'mac_address': 'fa:16:3e:00:00:01',
        'device_owner': 'compute:nova',
        'fixed_ips': [
            {'subnet_id': 'four', 'ip_address': '10.0.0.7'},
            {'subnet_id': 'six', 'ip_address': 'fd00::7'},
        ],
    }
    shared = {
        'network_id': 'net',
        'dns_nameservers': ['10.0.0.53'],
        'host_routes': [{'destination': '10.9.0.0/16', 'nexthop': '10.0.0.9'}],
    }
    neutron: Any = Neutron(
        port=port,
        four={'id': 'four', 'cidr': '10.0.0.0/8', **shared},
        six={'id': 'six', 'cidr': 'fd00::/64', **shared},
        net={'id': 'net', 'mtu': 1450},
    )
    looked_up = lookups.Lookups(neutron, 0)
    found = looked_up.guest_port('port')
    assert found == model.GuestPort(
        'port',
        'fa:16:3e:00:00:01',
        'net',
        addresses=('10.0.0.7/8', 'fd00::7/64'),
        routes=(model.Route('10.9.0.0/16', '10.0.0.9'),),
        dns=('10.0.0.53',),
        mtu=1450,
    )
    port['fixed_ips'].clear()
    assert looked_up.guest_port('port').addresses == ()
    for owner in ('network:dhcp', '', None):
        port['device_owner'] = owner
        with pytest.raises(exceptions.ProviderRefused, match='device_owner'):
            looked_up.guest_port('port')


def test_what_a_subnet_lacks_is_empty() -> None:
    assert lookups.to_subnet(SUBNET, {'id': 'net'}) == model.Subnet(
        'sub', 'net', '', '10.0.0.0/8', vlan=None
    )


@pytest.mark.parametrize(
    ('kbps', 'mbit'), [(0, 0), (1, 1), (1499, 1), (1501, 2), (200_000, 200)]
)
def test_rates_are_those_of_egress_in_mbit(kbps: int, mbit: int) -> None:
    rules = [
        {'type': 'bandwidth_limit', 'max_kbps': kbps, 'direction': 'egress'},
        {'type': 'bandwidth_limit', 'max_kbps': 5, 'direction': 'ingress'},
        {'type': 'minimum_bandwidth', 'min_kbps': kbps},
        {'type': 'dscp_marking', 'dscp_mark': 8},
    ]

    assert lookups.to_rates({'rules': rules}) == lookups.Rates(mbit, mbit)
    assert lookups.to_rates({}) == lookups.Rates()


class Source:
    """A Neutron with one subnet, that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0

    def get(self, collection: str, name: str, id: str) -> dict[str, Any]:
        self.asked.append(collection)
        if id == 'unknown':
            raise exceptions.ProviderRefused(id)
        return SUBNET if name == 'subnet' else {'id': 'net', **SEGMENT}


def test_subnets_are_kept_until_they_are_old_or_forgotten() -> None:
    source: Any = Source()
    known = lookups.Lookups(source, 300, lambda: source.now)

    known.subnet('sub')
    source.now = 299
    known.subnet('sub')
    assert source.asked == ['subnets', 'networks']

    source.now = 301
    known.subnet('sub')
    assert len(source.asked) == 4

    known.forget(['sub', 'another'])
    known.subnet('sub')
    assert len(source.asked) == 6


def test_one_hung_subnet_holds_up_no_other() -> None:
    hung, go = threading.Event(), threading.Event()

    class Slow(Source):
        def get(self, collection: str, name: str, id: str) -> dict[str, Any]:
            if id == 'hung':
                hung.set()
                assert go.wait(30)
            return super().get(collection, name, id)

    source: Any = Slow()
    known = lookups.Lookups(source, 300, lambda: source.now)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(known.subnet, 'hung') for _ in range(2)]
        assert hung.wait(30)
        assert known.subnet('sub').cidr == '10.0.0.0/8'
        go.set()
        assert [each.result(30).id for each in waiting] == ['sub', 'sub']


def test_refusals_are_not_kept() -> None:
    source: Any = Source()
    known = lookups.Lookups(source, 300, lambda: source.now)

    for _time in range(2):
        with pytest.raises(exceptions.ProviderRefused):
            known.subnet('unknown')

    assert source.asked == ['subnets', 'subnets']
    assert known.rates('') == lookups.Rates()
