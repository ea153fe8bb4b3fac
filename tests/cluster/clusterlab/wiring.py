# SPDX-License-Identifier: Apache-2.0
"""Whether running pods have the VFs that everybody says they have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .cluster import Cluster
from .controlplane import NODE, KubectlFailed
from .patience import wait_until
from .workloads import KERNEL, NETWORKS

STATUS = 'k8s.v1.cni.cncf.io/network-status'
VLANS = {'physnet22': 3501, 'physnet23': 3502}


def start_wired(cluster: Cluster, *bodies: Mapping[str, Any]) -> list[Any]:
    """Create pods where there are none; return them once each has its VFs."""
    cluster.create(*bodies)
    pods = cluster.wait_ready(*(body['metadata']['name'] for body in bodies))
    wait_wired(cluster, pods)
    return pods


def wait_wired(cluster: Cluster, pods: Iterable[Any]) -> None:
    """Return once Neutron, ledger, PF and pods say the same, and no more.

    :param pods: all that there are with VFs; as they are when they run.
    :raises RuntimeError: they do not; says where they differ.
    """
    names = [pod['metadata']['name'] for pod in pods]
    wrong: list[str] = []

    def wired() -> bool:
        wrong[:] = list(differences(cluster, names))
        return not wrong

    try:
        wait_until(wired, f'the VFs of {", ".join(names)}')
    except RuntimeError as error:
        raise RuntimeError(f'{error}: {wrong}') from None
    for pod in cluster.pods():
        if pod['metadata']['name'] in names:
            look_inside(cluster, pod)


def differences(cluster: Cluster, names: list[str]) -> Iterable[str]:
    """What is not as these pods, and no others, should have it."""
    vfs = cluster.traces.state()
    records = {each['pci'] for each in cluster.traces.records()}
    ports = cluster.ports()
    wanted = 0
    pods = {each['metadata']['name']: each for each in cluster.pods()}
    for name in names:
        pod = pods[name]
        own = [each for each in ports if each.device_id == uid(pod)]
        count = len(networks(pod))
        wanted += count
        if len(own) != count:
            yield f'{name} has {len(own)} ports for {count} networks'
        for port in own:
            yield from (
                f'{name}: {each}' for each in _port_differences(port, vfs)
            )
    if len(ports) != wanted:
        yield f'{len(ports)} ports for {wanted} networks'
    bound = [each.binding_profile.get('pci_slot') for each in ports]
    if sorted(map(str, bound)) != sorted(records):
        yield f'ports on {bound}, records of {sorted(records)}'
    # the VFs of nobody are as they were
    changed = cluster.traces.changes(vfs).keys()
    if changed != records:
        yield f'changed are {sorted(changed)}, on record {sorted(records)}'


def _port_differences(port: Any, vfs: dict[str, Any]) -> Iterable[str]:
    profile = port.binding_profile
    pci, physnet = profile.get('pci_slot'), profile.get('physical_network')
    bound = port.binding_host_id, port.binding_vif_type
    # without a VF until the controller hears which one the node has chosen
    if bound != (NODE, 'hw_veb') or pci not in vfs:
        yield f'{port.id} is bound {port.binding_vif_type} to {pci}'
        return
    settings = vfs[pci]['settings']
    found = settings['address'], settings['vlan_list'][0]['vlan']
    if found != (port.mac_address, VLANS[physnet]):
        yield f'{pci} has {found}, its port {port.mac_address} on {physnet}'


def look_inside(cluster: Cluster, pod: Any) -> None:
    """Return once a pod has an interface of each port's address.

    A kubelet that was started a moment ago does not know its pods yet.

    :raises RuntimeError: it has not; says what it has.
    """
    name = pod['metadata']['name']
    told = json.loads(pod['metadata']['annotations'][STATUS])
    macs = {each.get('interface'): each.get('mac') for each in told}
    for number, network in enumerate(networks(pod), start=1):
        if network == KERNEL:
            _wait_mac(cluster, name, f'net{number}', macs[f'net{number}'])


def _wait_mac(cluster: Cluster, name: str, ifname: str, mac: str) -> None:
    words = 'exec', name, '--', 'cat', f'/sys/class/net/{ifname}/address'
    said = ''

    def has_mac() -> bool:
        nonlocal said
        try:
            said = cluster.plane.run(*words).strip()
        except KubectlFailed as error:
            said = str(error)
        return said == mac

    try:
        wait_until(has_mac, f'{ifname} of {name} to be {mac}')
    except RuntimeError as error:
        raise RuntimeError(f'{error}: {said}') from None


def networks(pod: Any) -> list[str]:
    """Names of the networks that a pod's annotation asks for."""
    text = pod['metadata'].get('annotations', {}).get(NETWORKS, '')
    return [each for each in text.split(',') if each]


def uid(pod: Any) -> str:
    """Of the pod, as Neutron's ports have it."""
    return str(pod['metadata']['uid'])
