# SPDX-License-Identifier: Apache-2.0
"""What Neutron refuses, or should have: the error that a user sees.

In every case no port is left behind.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from neutronlab.kuryr import MakeDriver, how_to, location, request
from neutronlab.lab import Lab
from neutronlab.neutron import make_network

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.neutron import NeutronRefused
from kuryr_sriov.drivers.neutron import NeutronVIFDriver

UNKNOWN = '11111111-2222-4333-8444-555555555555'


def _subnet(
    asked: model.NetworkRequest, **more: Any
) -> tuple[model.Subnet, ...]:
    return (dataclasses.replace(asked.subnets[0], **more),)


REFUSALS: list[tuple[Callable[[Any, Lab], dict[str, Any]], str, list[str]]] = [
    (
        lambda asked, lab: {'subnets': _subnet(asked, id=UNKNOWN)},
        'SubnetNotFound',
        [UNKNOWN],
    ),
    (
        lambda asked, lab: {'subnets': _subnet(asked, network=UNKNOWN)},
        'NetworkNotFound',
        [UNKNOWN],
    ),
    (
        lambda asked, lab: {'subnets': _subnet(asked, id=lab.net23.subnet)},
        'InvalidInput',
        ['invalid subnet'],
    ),
    (
        lambda asked, lab: {'subnets': _subnet(asked, id='physnet22')},
        'HTTPBadRequest',
        ["'physnet22' is not a valid UUID"],
    ),
    (
        lambda asked, lab: {'mac': '01:00:5e:00:00:01'},
        '',
        ['01:00:5e:00:00:01'],
    ),
]


@pytest.mark.parametrize(
    ('change', 'kind', 'words'),
    REFUSALS,
    ids=['subnet', 'network', 'other-network', 'no-uuid', 'multicast-mac'],
)
def test_refusal_names_pod_and_nad(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    change: Callable[[Any, Lab], dict[str, Any]],
    kind: str,
    words: list[str],
) -> None:
    first, second = how_to(driver, lab)
    wrong = dataclasses.replace(first, **change(first, lab))

    if kind:
        with pytest.raises(NeutronRefused) as caught:
            driver.request_vifs(pod, [wrong, second])
        assert caught.value.type == kind
        message = str(caught.value)
        for word in (f'pod {pod}', 'default/sriov-physnet22', *words):
            assert word in message
    else:
        vifs = driver.request_vifs(pod, [wrong, second])
        assert vifs[0].mac == wrong.mac  # Neutron takes it
        driver.release_vifs(pod)

    assert list(admin.network.ports()) == []


def test_unknown_subnet(driver: NeutronVIFDriver) -> None:
    with pytest.raises(NeutronRefused) as caught:
        driver.describe_subnet(UNKNOWN)

    assert caught.value.type == 'SubnetNotFound'
    assert UNKNOWN in str(caught.value)


def test_network_without_physnet(
    make: MakeDriver, admin: Any, lab: Lab
) -> None:
    tunnel = admin.network.create_network(
        name='tunnel', provider_network_type='vxlan', is_shared=True
    )
    subnet = admin.network.create_subnet(
        network_id=tunnel.id, ip_version=4, cidr='10.8.0.0/24'
    )
    driver = make(user='kuryr-admin')

    with pytest.raises(exceptions.ProviderRefused) as caught:
        driver.describe_subnet(subnet.id)

    admin.network.delete_network(tunnel.id)
    assert str(caught.value) == (
        f'subnet {subnet.id}: its network {tunnel.id} is of type vxlan and '
        'on no physical network; SR-IOV needs a flat or VLAN provider network'
    )


@pytest.fixture
def tiny(admin: Any) -> Iterator[Any]:
    """A network with room for one port."""
    made = make_network(admin, 'physnet22', 901, '10.9.1.0/30')
    yield made
    for port in admin.network.ports(network_id=made.id):
        admin.network.delete_port(port.id)
    admin.network.delete_network(made.id)


def test_addresses_exhausted_then_free_again(
    driver: NeutronVIFDriver, tiny: Any, pod: model.Pod, admin: Any
) -> None:
    first = dataclasses.replace(pod, uid=str(uuid.uuid4()))
    asked = [request(driver, tiny)]
    driver.request_vifs(first, asked)

    with pytest.raises(exceptions.ProviderExhausted) as caught:
        driver.request_vifs(pod, asked)
    assert 'IpAddressGenerationFailure' in str(caught.value)
    assert caught.value.retry_after > 0

    driver.release_vifs(first)
    assert driver.request_vifs(pod, asked)


def test_bulk_with_one_exhausted_network_leaves_no_port(
    driver: NeutronVIFDriver,
    lab: Lab,
    tiny: Any,
    pod: model.Pod,
    admin: Any,
) -> None:
    first = dataclasses.replace(pod, uid=str(uuid.uuid4()))
    full = request(driver, tiny, 'net2')
    driver.request_vifs(first, [full])

    with pytest.raises(exceptions.ProviderExhausted):
        driver.request_vifs(pod, [request(driver, lab.net22), full])

    left = [port.device_id for port in admin.network.ports()]
    assert left == [first.uid]


def test_quota(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    project = lab.keystone.connect('kuryr', 'k8s').current_project_id
    admin.network.update_quota(project, ports=1)

    try:
        with pytest.raises(exceptions.ProviderExhausted, match='OverQuota'):
            driver.request_vifs(pod, how_to(driver, lab))
    finally:
        admin.network.delete_quota(project)

    assert list(admin.network.ports()) == []


def test_mac_and_address_in_use_may_be_free_later(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    old = dataclasses.replace(pod, uid=str(uuid.uuid4()))
    (vif,) = driver.request_vifs(old, [request(driver, lab.net22)])
    ip = vif.addresses[0].partition('/')[0]

    for more, kind in (
        ({'mac': vif.mac}, 'MacAddressInUse'),
        ({'ips': (ip,)}, 'IpAddressAlreadyAllocated'),
    ):
        asked = [request(driver, lab.net22, **more)]
        with pytest.raises(exceptions.ProviderExhausted, match=kind) as caught:
            driver.request_vifs(pod, asked)
        assert 'default/sriov-physnet22' in str(caught.value)


def test_mac_of_another_network_is_free(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    first, second = how_to(driver, lab)
    mac = 'fa:16:3e:00:00:01'

    vifs = driver.request_vifs(
        pod,
        [
            dataclasses.replace(first, mac=mac),
            dataclasses.replace(second, mac=mac),
        ],
    )

    assert [vif.mac for vif in vifs] == [mac, mac]


def test_changed_annotation_of_a_running_pod_is_refused(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    asked = request(driver, lab.net22)
    (vif,) = driver.request_vifs(pod, [asked])
    driver.activate_vif(pod, vif, location(vif))
    moved = dataclasses.replace(asked, mac='fa:16:3e:00:00:02')

    with pytest.raises(exceptions.ProviderRefused, match='recreate the pod'):
        driver.request_vifs(pod, [moved])


def test_changed_annotation_before_activation_makes_another_port(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    asked = request(driver, lab.net22)
    driver.request_vifs(pod, [asked])
    moved = dataclasses.replace(asked, mac='fa:16:3e:00:00:02')

    (vif,) = driver.request_vifs(pod, [moved])

    assert vif.mac == 'fa:16:3e:00:00:02'
    assert [port.id for port in admin.network.ports()] == [vif.id]


def test_profile_over_its_size(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    huge = dataclasses.replace(location(vif), pci_vendor_info='8' * 5000)

    with pytest.raises(NeutronRefused) as caught:
        driver.activate_vif(pod, vif, huge)

    assert caught.value.status == 400
    assert vif.id in str(caught.value)
    assert driver.activate_vif(pod, vif, location(vif)).vlan == 3501


def test_subnet_that_was_deleted_is_not_remembered(
    driver: NeutronVIFDriver, pod: model.Pod, admin: Any
) -> None:
    network = make_network(admin, 'physnet22', 902, '10.9.2.0/24')
    asked = request(driver, network)
    admin.network.delete_network(network.id)

    with pytest.raises(NeutronRefused) as caught:
        driver.request_vifs(pod, [asked])
    assert caught.value.type == 'NetworkNotFound'
    with pytest.raises(NeutronRefused) as caught:
        driver.describe_subnet(network.subnet)
    assert caught.value.type == 'SubnetNotFound'


def test_subnet_that_was_changed_is_read_again(
    make: MakeDriver, lab: Lab, admin: Any
) -> None:
    driver = make(cache_ttl=0)
    assert driver.describe_subnet(lab.net22.subnet).dns == ()

    admin.network.update_subnet(
        lab.net22.subnet, dns_nameservers=['192.168.2.53']
    )

    assert driver.describe_subnet(lab.net22.subnet).dns == ('192.168.2.53',)
    admin.network.update_subnet(lab.net22.subnet, dns_nameservers=[])
