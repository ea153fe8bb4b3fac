# SPDX-License-Identifier: Apache-2.0
"""The how-to's pod: two VFs on two physnets, from request to release."""

from __future__ import annotations

from typing import Any

from neutronlab.kuryr import how_to, location, request
from neutronlab.lab import Lab

from kuryr_sriov import model
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


def test_pod_gets_its_two_ports_and_gives_them_back(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    first, second = driver.request_vifs(pod, how_to(driver, lab))

    assert (first.ifname, first.physnet, first.vlan) == (
        'net1',
        'physnet22',
        3501,
    )
    assert (second.ifname, second.physnet, second.vlan) == (
        'net2',
        'physnet23',
        3502,
    )
    assert first.addresses[0].startswith('192.168.2.')
    assert first.addresses[0].endswith('/24')
    assert first.mtu == 1500
    assert first.spoofchk is True
    assert not first.active
    port = admin.network.get_port(first.id)
    assert port.name == f'default/{pod.name}/net1'
    assert port.device_id == pod.uid
    assert port.device_owner == 'compute:kuryr:sriov'
    assert port.binding_vnic_type == 'direct'
    assert port.binding_host_id == 'node-1'
    assert port.binding_vif_type == 'hw_veb'
    assert port.tags == ['kuryr-sriov-cluster=blue']

    active = driver.activate_vif(pod, first, location(first))

    assert active.vlan == 3501
    assert admin.network.get_port(first.id).binding_profile == {
        'pci_slot': '0000:02:00.1',
        'pci_vendor_info': '8086:10ca',
        'physical_network': 'physnet22',
    }

    driver.release_vifs(pod)
    driver.release_vifs(pod)

    assert list(admin.network.ports()) == []


def test_port_becomes_active_by_what_the_driver_wrote(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    eventually: Any,
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    place = location(vif)
    vf = {'mac': vif.mac, 'pci_slot': place.pci_slot}

    def status() -> str:
        return str(admin.network.get_port(vif.id).status)

    lab.neutron.set_vfs({'node-1': [vf]})
    assert not driver.activate_vif(pod, vif, place).active
    eventually(lambda: status() == 'ACTIVE', 'the port to be ACTIVE')

    assert driver.activate_vif(
        pod, vif, place
    ).active  # the same profile again
    assert status() == 'ACTIVE'
    lab.neutron.set_vfs({})
    eventually(lambda: status() == 'DOWN', 'the port to be DOWN')
