# SPDX-License-Identifier: Apache-2.0
"""What Neutron would refuse a pod's author, or would not even look at."""

from __future__ import annotations

import copy
import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from neutronlab.kuryr import MakeDriver, location, request, write_conf
from neutronlab.lab import Lab

from kuryr_sriov import exceptions, model
from kuryr_sriov.config import loading
from kuryr_sriov.controller import Controller
from kuryr_sriov.drivers.neutron import NeutronVIFDriver
from kuryr_sriov.npwg.requests import pod_of

NETWORKS = 'k8s.v1.cni.cncf.io/networks'
RESOURCE = 'k8s.v1.cni.cncf.io/resourceName'
MakeController = Callable[..., Controller]


def nad(subnet: str, resource: str = '', **config: Any) -> dict[str, Any]:
    given = {'driverType': 'sriov', 'subnetId': subnet, **config}
    annotations = {'openstack.org/kuryr-config': json.dumps(given)}
    if resource:
        annotations[RESOURCE] = resource
    return {'metadata': {'annotations': annotations}}


def body(pod: model.Pod, *networks: Mapping[str, Any]) -> dict[str, Any]:
    """A pod on node-1 with two VFs of each physnet."""
    resources = {'intel.com/physnet22': '2', 'intel.com/physnet23': '2'}
    return {
        'metadata': {
            'namespace': pod.namespace,
            'name': pod.name,
            'uid': pod.uid,
            'annotations': {NETWORKS: json.dumps(networks)},
        },
        'spec': {
            'nodeName': pod.node,
            'containers': [{'resources': {'requests': resources}}],
        },
    }


@pytest.fixture
def make_controller(lab: Lab, tmp_path: pathlib.Path) -> MakeController:
    """Makes controllers with the documented user, from NADs by name."""

    def build(
        nads: Mapping[str, Mapping[str, Any]], sriov: str = '', **more: Any
    ) -> Controller:
        path = tmp_path / 'controller.conf'
        write_conf(lab, path, **more)
        drivers = 'physnet22:netdevice,physnet23:netdevice'
        with path.open('a') as file:
            file.write(f'[sriov]\nresource_driver_mappings = {drivers}\n')
            file.write(sriov)
        conf = loading.load_config(files=[str(path)])
        return Controller(
            conf,
            lambda namespace, name: nads[name],
            lambda pod, vifs: None,
        )

    return build


def wires(lab: Lab) -> str:
    return (
        f'network_physnets = {lab.net22.id}:physnet22,'
        f'{lab.net23.id}:physnet23\n'
    )


def test_a_nad_does_not_choose_its_wire(
    make_controller: MakeController, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    """VLAN 3501 is of physnet22; its NAD says that it is of physnet23."""
    wrong = {'wrong': nad(lab.net22.subnet, 'intel.com/physnet23')}
    for sriov, words in (
        ('', f'add {lab.net22.id}:PHYSNET to [sriov] network_physnets'),
        (wires(lab), 'is on physnet physnet22, whose resource is'),
    ):
        controller = make_controller(wrong, sriov)
        with pytest.raises(exceptions.InvalidAnnotation) as caught:
            controller.request(body(pod, {'name': 'wrong'}))
        assert words in str(caught.value)
        controller.vifs.close()

    assert list(admin.network.ports()) == []


def test_a_user_who_may_read_it_is_told_the_wire_by_neutron(
    make_controller: MakeController, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    wrong = {'wrong': nad(lab.net22.subnet, 'intel.com/physnet23')}
    controller = make_controller(wrong, user='kuryr-admin')

    with pytest.raises(exceptions.InvalidAnnotation, match='is on physnet ph'):
        controller.request(body(pod, {'name': 'wrong'}))

    assert list(admin.network.ports()) == []
    controller.vifs.close()


def test_the_nodes_word_on_the_wire_is_held_against_the_ports(
    make_controller: MakeController, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    controller = make_controller({'net': nad(lab.net22.subnet)}, wires(lab))
    (vif,) = controller.request(body(pod, {'name': 'net'}))
    elsewhere = dataclasses.replace(
        location(vif), physical_network='physnet23'
    )

    with pytest.raises(exceptions.ProviderRefused, match='is on physnet23'):
        controller.activate(pod, vif, elsewhere)

    assert admin.network.get_port(vif.id).binding_profile == {}
    assert controller.activate(pod, vif, location(vif)).vlan == 3501
    controller.vifs.close()


@pytest.mark.parametrize(
    ('allow', 'wish', 'words'),
    [
        ([], {'ips': ['192.168.2.77']}, 'may not choose ips'),
        ([], {'mac': '02:00:00:00:00:07'}, 'may not choose mac'),
        (['mac'], {'ips': ['192.168.2.77']}, 'may not choose ips'),
        (['ips'], {'ips': ['192.168.2.1']}, 'is the gateway of subnet'),
        (['ips'], {'ips': ['192.168.3.7']}, 'is not an address of'),
        (
            ['ips'],
            {'ips': ['192.168.2.77', '192.168.2.78']},
            '2 addresses of 192.168.2.0/24',
        ),
        (['mac'], {'mac': '00:00:5e:00:01:07'}, 'one of virtual routers'),
        ([], {'default-route': ['192.168.3.1']}, 'name a router of the'),
    ],
)
def test_a_pods_author_gets_no_more_than_he_was_given(
    make_controller: MakeController,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
    allow: list[str],
    wish: dict[str, Any],
    words: str,
) -> None:
    nads = {'net': nad(lab.net22.subnet, allow=allow)}
    controller = make_controller(nads, wires(lab))

    with pytest.raises(exceptions.PermanentError, match=words):
        controller.request(body(pod, {'name': 'net', **wish}))

    assert list(admin.network.ports()) == []
    controller.vifs.close()


def test_what_the_author_of_the_nad_allows_is_had(
    make_controller: MakeController, lab: Lab, pod: model.Pod
) -> None:
    nads = {'net': nad(lab.net22.subnet, allow=['ips', 'mac'])}
    controller = make_controller(nads, wires(lab))
    wish = {
        'name': 'net',
        'ips': ['192.168.2.77'],
        'mac': '02:00:00:00:00:07',
        'default-route': ['192.168.2.1'],
    }

    (vif,) = controller.request(body(pod, wish))

    assert vif.addresses == ('192.168.2.77/24',)
    assert vif.mac == '02:00:00:00:00:07'
    assert vif.gateways == ('192.168.2.1',)
    controller.vifs.close()


def test_edits_of_an_annotation_do_not_add_up(
    make_controller: MakeController, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    controller = make_controller({'net': nad(lab.net22.subnet)}, wires(lab))
    for number in range(4):
        asked = body(pod, {'name': 'net', 'interface': f'sriov{number}'})
        vifs = controller.request(asked)
        assert [port.id for port in admin.network.ports()] == [vifs[0].id]
    unchanged = copy.deepcopy(asked)
    with lab.proxy.counted() as calls:
        assert controller.request(unchanged) == vifs
    assert calls == []

    controller.release(pod_of(asked))
    assert list(admin.network.ports()) == []
    controller.vifs.close()


def _port_of_a_vm(lab: Lab, admin: Any, **more: Any) -> Any:
    return admin.network.create_port(
        network_id=lab.net22.id,
        project_id=admin.identity.find_project('k8s').id,
        device_owner='compute:nova',
        binding_vnic_type='direct',
        binding_host_id='node-1',
        **more,
    )


def test_a_vms_port_is_not_touched(
    driver: NeutronVIFDriver, lab: Lab, pod: model.Pod, admin: Any
) -> None:
    """Its id is no secret, and the controller's user may write its profile."""
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])
    port = _port_of_a_vm(lab, admin, device_id='a-vm')
    stolen = _port_of_a_vm(lab, admin, device_id=pod.uid)

    for each in (port, stolen):
        false = dataclasses.replace(vif, id=each.id)
        with pytest.raises(exceptions.ProviderRefused) as caught:
            driver.activate_vif(pod, false, location(vif))
        assert each.id in str(caught.value)
        assert f'uid {pod.uid}' in str(caught.value)
        left = admin.network.get_port(each.id)
        assert left.binding_profile == {}
        assert left.revision_number == each.revision_number


def test_a_port_is_activated_for_its_own_pod_only(
    driver: NeutronVIFDriver,
    make: MakeDriver,
    lab: Lab,
    pod: model.Pod,
    admin: Any,
) -> None:
    other = dataclasses.replace(pod, uid='another')
    (vif,) = driver.request_vifs(pod, [request(driver, lab.net22)])

    for controller in (driver, make()):
        with pytest.raises(exceptions.ProviderRefused, match=vif.id):
            controller.activate_vif(other, vif, location(vif))

    assert admin.network.get_port(vif.id).binding_profile == {}
    assert make().activate_vif(pod, vif, location(vif)).vlan == 3501
