# SPDX-License-Identifier: Apache-2.0
"""Where a port is bound, and what Neutron accepts without a word."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest
from neutronlab.kuryr import MakeDriver, how_to, location, request
from neutronlab.lab import Lab
from neutronlab.neutron import make_network

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron import NeutronVIFDriver


@pytest.mark.parametrize('node', ['node-dead', 'node-2', 'node-unknown'])
def test_host_that_cannot_bind_leaves_no_port(
    driver: NeutronVIFDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    node: str,
) -> None:
    lab.neutron.forget_heartbeat('node-dead')
    elsewhere = dataclasses.replace(pod, node=node)

    with pytest.raises(exceptions.ProviderUnavailable) as caught:
        driver.request_vifs(elsewhere, how_to(driver, lab))

    message = str(caught.value)
    assert f'cannot bind it to host {node!r} on physnet physnet2' in message
    assert 'vif_type binding_failed' in message
    assert 'physical_device_mappings' in message
    assert list(admin.network.ports()) == []


def test_host_with_only_one_physnet_names_the_other(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    elsewhere = dataclasses.replace(pod, node='node-2')

    with pytest.raises(exceptions.ProviderUnavailable, match='physnet23'):
        driver.request_vifs(elsewhere, how_to(driver, lab))
    vifs = driver.request_vifs(elsewhere, [request(driver, lab.net22)])

    assert vifs[0].vlan == 3501


def test_pod_without_node(driver: NeutronVIFDriver, lab: Lab) -> None:
    pod = model.Pod('default', 'pending', str(uuid.uuid4()))

    with pytest.raises(exceptions.TransientError, match='on no node yet'):
        driver.request_vifs(pod, [])


def test_flat_network_has_vlan_0(
    driver: NeutronVIFDriver, pod: model.Pod, admin: Any
) -> None:
    network = make_network(
        admin,
        'physnet22',
        0,
        '10.9.3.0/24',
        provider_network_type='flat',
        provider_segmentation_id=None,
    )

    (vif,) = driver.request_vifs(pod, [request(driver, network)])

    assert vif.vlan == 0
    driver.release_vifs(pod)
    admin.network.delete_network(network.id)


def test_one_vf_is_not_given_to_two_ports(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod
) -> None:
    other = dataclasses.replace(pod, uid=str(uuid.uuid4()))
    asked = [request(driver, lab.net22)]
    (first,) = driver.request_vifs(other, asked)
    (second,) = driver.request_vifs(pod, asked)
    place = location(first)
    driver.activate_vif(other, first, place)

    with pytest.raises(exceptions.DeviceBusy) as caught:
        driver.activate_vif(pod, second, place)
    for word in (first.id, second.id, place.pci_slot, 'node-1'):
        assert word in str(caught.value)

    driver.release_vifs(other)
    driver.activate_vif(pod, second, place)


def test_one_vf_is_not_given_to_two_ports_after_a_restart(
    driver: NeutronVIFDriver, make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    other = dataclasses.replace(pod, uid=str(uuid.uuid4()))
    asked = [request(driver, lab.net22)]
    (first,) = driver.request_vifs(other, asked)
    driver.activate_vif(other, first, location(first))
    restarted = make()
    (second,) = restarted.request_vifs(pod, asked)

    with pytest.raises(exceptions.DeviceBusy, match=first.id):
        restarted.activate_vif(pod, second, location(second))


def test_vf_of_a_port_that_somebody_deleted_is_free(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    other = dataclasses.replace(pod, uid=str(uuid.uuid4()))
    asked = [request(driver, lab.net22)]
    (first,) = driver.request_vifs(other, asked)
    (second,) = driver.request_vifs(pod, asked)
    driver.activate_vif(other, first, location(first))
    admin.network.delete_port(first.id)

    assert driver.activate_vif(pod, second, location(second)).vlan == 3501


def test_wrong_physnet_is_refused_with_both_names(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    wrong = dataclasses.replace(location(vif), physical_network='physnet23')

    with pytest.raises(exceptions.ProviderRefused) as caught:
        driver.activate_vif(pod, vif, wrong)

    assert 'is on physnet physnet22' in str(caught.value)
    assert 'is on physnet23' in str(caught.value)
    assert admin.network.get_port(vif.id).binding_profile == {}


def test_other_host_is_refused(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    with pytest.raises(exceptions.ProviderRefused, match="'node-2'"):
        driver.activate_vif(pod, vif, location(vif, node='node-2'))

    assert admin.network.get_port(vif.id).binding_host_id == 'node-1'


def test_port_that_somebody_deleted(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    asked = [request(driver, lab.net22)]
    (vif,) = driver.request_vifs(pod, asked)
    admin.network.delete_port(vif.id)

    with pytest.raises(exceptions.ProviderRefused, match='PortNotFound'):
        driver.activate_vif(pod, vif, location(vif))
    (again,) = driver.request_vifs(pod, asked)

    assert again.id != vif.id
    assert driver.activate_vif(pod, again, location(again)).vlan == 3501


def test_agent_that_died_before_activation(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    mortal = dataclasses.replace(pod, node='node-dead')
    lab.neutron.renew_heartbeat('node-dead')
    (vif,) = driver.request_vifs(mortal, [request(driver, lab.net22)])
    lab.neutron.forget_heartbeat('node-dead')
    # Neutron leaves a bound port bound; moved there and back it is not
    admin.network.update_port(vif.id, binding_host_id='node-1')
    admin.network.update_port(vif.id, binding_host_id='node-dead')
    place = location(vif, node='node-dead')

    with pytest.raises(exceptions.ProviderUnavailable, match='binding_failed'):
        driver.activate_vif(mortal, vif, place)

    lab.neutron.renew_heartbeat('node-dead')
    assert driver.activate_vif(mortal, vif, place).vlan == 3501


def test_waits_for_active_where_asked_to(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make(active_timeouts='intel.com/physnet22:15')
    first, second = driver.request_vifs(pod, how_to(driver, lab))
    place = location(first)
    vf = {'mac': first.mac, 'pci_slot': place.pci_slot}
    lab.neutron.set_vfs({'node-1': [vf]})

    assert driver.activate_vif(pod, first, place).active
    assert not driver.activate_vif(pod, second, location(second)).active


def test_wait_for_active_has_an_end(
    make: MakeDriver, lab: Lab, pod: model.Pod
) -> None:
    driver = make(active_timeouts='intel.com/physnet22:0.5')
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    with pytest.raises(exceptions.ProviderUnavailable) as caught:
        driver.activate_vif(pod, vif, location(vif))

    assert 'still not ACTIVE after 0.5 s' in str(caught.value)
    assert vif.mac in str(caught.value)
