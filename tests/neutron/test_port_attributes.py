# SPDX-License-Identifier: Apache-2.0
"""What the configuration and the annotation say, in the port and the VIF."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from neutronlab.kuryr import MakeDriver, location, request
from neutronlab.lab import Lab
from neutronlab.neutron import EXTENSIONS, Network, make_network

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


@pytest.fixture
def network(admin: Any) -> Iterator[Network]:
    """A network that a test may change; its ports go with the test."""
    made = make_network(admin, 'physnet22', 900, '10.9.0.0/24')
    yield made
    for port in admin.network.ports(network_id=made.id):
        admin.network.delete_port(port.id)
    admin.network.delete_network(made.id)


def test_addresses_and_mac_of_the_annotation(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    asked = request(
        driver,
        lab.net22,
        ips=('192.168.2.77/24', '192.168.2.78'),
        mac='FA:16:3E:00:00:77',
    )

    (vif,) = driver.request_vifs(pod, [asked])

    assert vif.addresses == ('192.168.2.77/24', '192.168.2.78/24')
    assert vif.mac == 'fa:16:3e:00:00:77'


@pytest.mark.parametrize('ip', ['192.168.3.7', '192.168.2.7/25', 'fd00::7'])
def test_address_that_is_not_of_the_subnet(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, ip: str
) -> None:
    asked = request(driver, lab.net22, ips=(ip,))

    with pytest.raises(exceptions.ProviderRefused) as caught:
        driver.request_vifs(pod, [asked])

    assert str(caught.value) == (
        f'network default/sriov-physnet22: {ip} is not an address of '
        '192.168.2.0/24; ask for one that is, or for none'
    )


def test_gateway_routes_dns_and_mtu(
    make: MakeDriver, network: Network, pod: model.Pod, admin: Any
) -> None:
    admin.network.update_network(network.id, mtu=9000)
    admin.network.update_subnet(
        network.subnet,
        dns_nameservers=['10.9.0.53'],
        host_routes=[{'destination': '10.0.0.0/8', 'nexthop': '10.9.0.1'}],
    )
    driver = make()

    asked = request(driver, network, gateways=('10.9.0.1',))
    (vif,) = driver.request_vifs(pod, [asked])

    assert vif.mtu == 9000
    assert vif.dns == ('10.9.0.53',)
    assert vif.routes == (model.Route('10.0.0.0/8', '10.9.0.1'),)
    assert vif.gateways == ('10.9.0.1',)
    assert asked.subnets[0].gateway == '10.9.0.1'


def test_dual_stack(
    driver: NeutronVIFDriver, network: Network, pod: model.Pod, admin: Any
) -> None:
    six = admin.network.create_subnet(
        network_id=network.id,
        ip_version=6,
        cidr='fd00:9::/64',
        is_dhcp_enabled=False,
    )
    both = dataclasses.replace(network, subnet=six.id)
    four, other = request(driver, network), request(driver, both)
    asked = dataclasses.replace(four, subnets=four.subnets + other.subnets)

    (vif,) = driver.request_vifs(pod, [asked])

    assert sorted(address.rpartition('/')[2] for address in vif.addresses) == [
        '24',
        '64',
    ]


def test_address_that_neutron_adds_by_itself(
    driver: NeutronVIFDriver, network: Network, pod: model.Pod, admin: Any
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, network)])
    admin.network.create_subnet(
        network_id=network.id,
        ip_version=6,
        cidr='fd00:9::/64',
        ipv6_ra_mode='slaac',
        ipv6_address_mode='slaac',
    )
    driver.close()

    active = driver.activate_vif(pod, vif, location(vif))
    (owned,) = driver.list_vifs()

    assert active.addresses == vif.addresses
    assert len(owned.vif.addresses) == 2


def test_security_groups_and_project(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    cloud = lab.keystone.connect('kuryr', 'k8s')
    group = cloud.network.create_security_group(name='sriov')
    driver = make(
        security_groups=group.id, port_project=cloud.current_project_id
    )

    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    port = admin.network.get_port(vif.id)
    assert port.security_group_ids == [group.id]
    assert port.project_id == cloud.current_project_id
    driver.release_vifs(pod)
    admin.network.delete_security_group(group.id)


def test_no_port_security_is_no_spoof_check(
    make: MakeDriver, network: Network, pod: model.Pod, admin: Any
) -> None:
    admin.network.update_network(network.id, is_port_security_enabled=False)
    driver = make()
    (vif,) = driver.request_vifs(pod, [request(driver, network)])
    assert vif.spoofchk is False

    strict = make(port_security_enabled='true')
    again = dataclasses.replace(pod, uid='another')
    (vif,) = strict.request_vifs(again, [request(strict, network)])
    assert vif.spoofchk is True


def test_port_security_off_by_configuration(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    driver = make(port_security_enabled='false', security_groups='ignored')

    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    assert vif.spoofchk is False
    assert admin.network.get_port(vif.id).security_group_ids == []


def test_trusted_vf(make: MakeDriver, lab: Lab, pod: model.Pod) -> None:
    driver = make(trusted_physnets='physnet22')

    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    active = driver.activate_vif(pod, vif, location(vif))

    assert vif.trust is True
    assert active.trust is True
    port = lab.admin.network.get_port(vif.id)
    assert port.binding_profile['trusted'] == 'true'


@pytest.mark.parametrize(
    ('option', 'state'),
    [(None, 'auto'), ('true', 'auto'), ('false', 'enable')],
)
def test_link_state_follows_the_uplink(
    make: MakeDriver, lab: Lab, pod: model.Pod, option: str | None, state: str
) -> None:
    driver = make(propagate_uplink_status=option)

    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    assert vif.link_state == state


def test_qos_policy_of_the_network_and_of_the_port(
    make: MakeDriver, network: Network, pod: model.Pod, admin: Any
) -> None:
    slow = admin.network.create_qos_policy(name='slow', is_shared=True)
    admin.network.create_qos_bandwidth_limit_rule(
        slow.id, max_kbps=200_000, direction='egress'
    )
    fair = admin.network.create_qos_policy(name='fair', is_shared=True)
    admin.network.create_qos_minimum_bandwidth_rule(fair.id, min_kbps=50_400)
    admin.network.update_network(network.id, qos_policy_id=slow.id)

    by_network, by_port = make(), make(qos_policy=fair.id)
    (vif,) = by_network.request_vifs(pod, [request(by_network, network)])
    other = dataclasses.replace(pod, uid='another')
    (fixed,) = by_port.request_vifs(other, [request(by_port, network)])

    assert (vif.min_tx_rate, vif.max_tx_rate) == (None, 200)
    assert (fixed.min_tx_rate, fixed.max_tx_rate) == (50, None)
    by_network.release_vifs(pod)
    by_port.release_vifs(other)
    admin.network.update_network(network.id, qos_policy_id=None)
    for policy in (slow, fair):
        admin.network.delete_qos_policy(policy.id)


def test_policy_that_is_not_shared_leaves_no_port(
    make: MakeDriver, network: Network, pod: model.Pod, admin: Any
) -> None:
    secret = admin.network.create_qos_policy(name='secret')
    admin.network.update_network(network.id, qos_policy_id=secret.id)
    driver = make()

    with pytest.raises(exceptions.ProviderRefused, match=secret.id):
        driver.request_vifs(pod, [request(driver, network)])

    assert list(admin.network.ports()) == []
    admin.network.update_network(network.id, qos_policy_id=None)
    admin.network.delete_qos_policy(secret.id)


def test_tags_where_neutron_drops_them_on_create(
    make: MakeDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    driver = make(resource_tags='team:blue,kuryr')
    older = [name for name in EXTENSIONS if not name.startswith('tag_')]
    lab.neutron.server.stop()
    lab.neutron.configure(tuple(older))
    lab.neutron.server.start()
    try:
        asked = [request(driver, lab.net22)]
        with lab.proxy.counted() as calls:
            (vif,) = driver.request_vifs(pod, asked)
        owned = [owned.vif.id for owned in driver.list_vifs()]
    finally:
        lab.neutron.server.stop()
        lab.neutron.configure(EXTENSIONS)
        lab.neutron.server.start()

    assert calls[-1] == f'PUT /v2.0/ports/{vif.id}/tags'
    assert owned == [vif.id]
    assert sorted(admin.network.get_port(vif.id).tags) == [
        'kuryr',
        'kuryr-sriov-cluster=blue',
        'team:blue',
    ]


def test_long_names_are_cut(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    long = dataclasses.replace(pod, name='p' * 253, namespace='n' * 63)
    asked = [request(driver, lab.net22, ifname='sriov-net-12345')]

    (vif,) = driver.request_vifs(long, asked)
    driver.close()

    assert len(admin.network.get_port(vif.id).name) == 255
    assert [owned.vif.ifname for owned in driver.list_vifs()] == [
        'sriov-net-12345'
    ]
