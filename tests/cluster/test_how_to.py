# SPDX-License-Identifier: Apache-2.0
"""The how-to's Deployment, as it stands, on the VFs of two PFs."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from clusterlab import page
from clusterlab.cluster import Cluster, has_condition
from clusterlab.controlplane import NODE, KubectlFailed
from clusterlab.patience import wait_until

STATUS = 'k8s.v1.cni.cncf.io/network-status'


@pytest.fixture(scope='module')
def pods(cluster: Cluster) -> Iterator[list[Any]]:
    """Two replicas that run; in the end no trace of them is left."""
    (block,) = page.section(6)
    cluster.product.follow(block)
    cluster.plane.run('scale', 'deployment/nginx-sriov', '--replicas=2')
    try:
        yield cluster.wait_running(2)
    finally:
        cluster.delete_workloads()
    cluster.wait_accounted()


def network_status(pod: Any) -> dict[str, Any]:
    """What the annotation says, by interface."""
    told = json.loads(pod['metadata']['annotations'][STATUS])
    return {each['interface']: each for each in told if 'interface' in each}


def address_of(pod: Any, ifname: str) -> str:
    (address,) = network_status(pod)[ifname]['ips']
    return str(address)


def pci_of(pod: Any, ifname: str) -> str:
    told = network_status(pod)[ifname]['device-info']
    return str(told['pci']['pci-address'])


def run(cluster: Cluster, pod: Any, *words: str) -> str:
    """What a program in the pod says."""
    name = pod['metadata']['name']
    return cluster.plane.run('exec', name, '--', *words)


def test_two_pods_have_their_vfs(cluster: Cluster, pods: list[Any]) -> None:
    """What Kubernetes, Neutron and the kernel say of them is the same."""
    ports = {each.mac_address: each for each in cluster.ports()}
    assert len(ports) == 4
    vfs = cluster.traces.state()
    for pod in pods:
        told = network_status(pod)
        for ifname, physnet, subnet, vlan in (
            ('net1', 'physnet22', '192.168.2.0/24', 3501),
            ('net2', 'physnet23', '192.168.3.0/24', 3502),
        ):
            port = ports[told[ifname]['mac']]
            assert port.binding_host_id == NODE
            assert port.binding_vif_type == 'hw_veb'
            assert port.device_id == pod['metadata']['uid']
            profile = port.binding_profile
            assert profile['pci_slot'] == pci_of(pod, ifname)
            assert profile['physical_network'] == physnet
            (fixed,) = port.fixed_ips
            assert fixed['ip_address'] == address_of(pod, ifname)
            network = ipaddress.ip_network(subnet)
            assert ipaddress.ip_address(fixed['ip_address']) in network
            settings = vfs[profile['pci_slot']]['settings']
            assert settings['address'] == port.mac_address
            assert settings['vlan_list'][0]['vlan'] == vlan


def test_the_ports_become_active_when_the_agent_sees_the_vfs(
    cluster: Cluster, pods: list[Any]
) -> None:
    """By the agent's own logic, on what the node's kernel shows of them."""
    cluster.cloud.neutron.set_vfs({NODE: cluster.traces.agent_vfs()})
    wait_until(
        lambda: {each.status for each in cluster.ports()} == {'ACTIVE'},
        'the ports to be ACTIVE',
    )
    wait_until(
        lambda: all(
            has_condition(each, 'Active') for each in cluster.port_objects()
        ),
        'the port objects to have the condition Active',
    )


def test_a_program_in_the_container_opens_its_vf_and_no_other(
    cluster: Cluster, pods: list[Any]
) -> None:
    """With the privileges that the page says, and no more."""
    first, second = (pci_of(pod, 'net1') for pod in pods)
    groups = {
        pci: cluster.machine.shell(
            f'basename $(readlink /sys/bus/pci/devices/{pci}/iommu_group)'
        ).strip()
        for pci in (first, second)
    }
    for pod, pci in zip(pods, (first, second), strict=True):
        told = run(cluster, pod, 'open-vfio', groups[pci], pci)
        assert told.startswith('8086:10ca ')
    with pytest.raises(KubectlFailed, match='Operation not permitted'):
        run(cluster, pods[0], 'open-vfio', groups[second], second)


def test_pods_reach_each_other_on_their_vlan_and_on_no_other(
    cluster: Cluster, pods: list[Any]
) -> None:
    """On the kernel VFs, and from another card on the same wire."""
    first, second = (address_of(pod, 'net2') for pod in pods)
    run(cluster, pods[0], 'ping', '-c', '1', '-w', '60', second)
    run(cluster, pods[1], 'ping', '-c', '1', '-w', '60', first)
    cluster.machine.shell(
        f"""
        ip link set enp1s0 up
        for vlan in 3502 3503; do
            ip link add link enp1s0 name test$vlan type vlan id $vlan
            ip link set test$vlan up
        done
        trap 'ip link delete test3502; ip link delete test3503' EXIT
        ip address add 192.168.3.250/24 dev test3502
        ping -c 1 -w 60 {first}
        ip address delete 192.168.3.250/24 dev test3502
        ip address add 192.168.3.250/24 dev test3503
        ! ping -c 2 -w 4 {first}
        """,
    )


def test_the_node_offers_what_the_page_says(cluster: Cluster) -> None:
    """Of a card with seven VFs for each of the page's eight."""
    (block,) = page.section(2)
    ((kubectl, *words),) = block.commands()
    assert kubectl == 'kubectl'
    offered = json.loads(cluster.plane.run(*words))
    for name in re.findall(r'"(intel\.com/\w+)":"8"', block.answer):
        assert offered[name] == '7'


def test_every_command_of_the_page_is_run() -> None:
    """These steps have some, and the cluster runs all that a step has."""
    assert {each.title[:2] for each in page.blocks()} == {
        '1.',
        '2.',
        '3.',
        '5.',
        '6.',
    }
