# SPDX-License-Identifier: Apache-2.0
"""Pods of each kind that Kubernetes has, and what becomes of their VFs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from clusterlab.cluster import Cluster
from clusterlab.patience import SECONDS, wait_until
from clusterlab.wiring import start_wired, uid, wait_wired
from clusterlab.workloads import (
    KERNEL,
    RESOURCES,
    VFIO,
    job,
    network,
    replicated,
    small_pod,
    with_init_container,
)

pytestmark = pytest.mark.usefixtures('accounted')

LATE = 'late-network'
MANIFEST = '/etc/kubernetes/manifests/static.json'


@pytest.fixture
def late_network(cluster: Cluster) -> Iterator[str]:
    """Name of a network that is not there, and is not afterwards."""
    yield LATE
    kind = 'network-attachment-definition'
    cluster.plane.run('delete', kind, LATE, '--ignore-not-found')


def test_pods_that_cannot_be_wired_do_not_start_and_say_why(
    cluster: Cluster, late_network: str
) -> None:
    """Once its network is there, the one that waits for it starts."""
    one = {RESOURCES[KERNEL]: 1}
    cluster.create(
        small_pod('early', late_network, devices=one),
        small_pod('few', KERNEL, KERNEL, devices=one),
        small_pod('misspelt', '[{"nam": "sriov-net2"}]', devices=one),
        with_init_container(small_pod('init', KERNEL), keep=False),
    )
    cluster.wait_event('early', f'NetworkMissing: .*{late_network}')
    cluster.wait_event('few', 'NotAllocated: .*2.*intel.com/physnet23')
    cluster.wait_event('misspelt', 'InvalidAnnotation: .*nam')
    cluster.wait_event('init', 'NotAllocated: .*its init container first')
    for pod in cluster.pods():
        assert pod['status']['phase'] == 'Pending', pod['metadata']['name']
        for each in pod['status'].get('containerStatuses', ()):
            assert 'waiting' in each['state']
    assert not cluster.ports()
    hopeless = 'few', 'misspelt', 'init'
    cluster.plane.run('delete', 'pod', *hopeless, '--wait=false')
    cluster.create(network(late_network, cluster.cloud.net23.subnet))
    cluster.wait_ready('early')
    wait_until(lambda: len(cluster.pods()) == 1, 'the others to go')
    (port,) = cluster.ports()
    assert port.device_id == uid(cluster.pod('early'))


def test_static_init_and_host_network_pods(cluster: Cluster) -> None:
    """A VF for each but the one that has the node's own network.

    The kubelet gives a container what an init container before it had.
    """
    cluster.create(
        with_init_container(small_pod('init', KERNEL)),
        small_pod('of-host', KERNEL, hostNetwork=True),
    )
    static = json.dumps(small_pod('static', KERNEL, VFIO))
    cluster.machine.write(MANIFEST, static)
    try:
        *wired, on_host = cluster.wait_ready('init', 'static-node1', 'of-host')
        wait_wired(cluster, wired)
        assert not [p for p in cluster.ports() if p.device_id == uid(on_host)]
    finally:
        cluster.machine.run('rm', MANIFEST)


def test_a_job_that_has_ended_has_no_port_and_no_vf(cluster: Cluster) -> None:
    """Its pod is there, for its log."""
    cluster.create(
        job(small_pod('once', KERNEL, VFIO, script='ls /sys/class/net'))
    )
    wait = 'wait', '--for=condition=complete', f'--timeout={SECONDS:.0f}s'
    cluster.plane.run(*wait, 'job/once', timeout=SECONDS + 30)
    (pod,) = cluster.pods()
    log = cluster.plane.run('logs', pod['metadata']['name'])
    assert log.split() == ['eth0', 'lo', 'net1']
    wait_until(lambda: not cluster.ports(), 'its ports to go')
    cluster.wait_vfs_back()
    assert [uid(each) for each in cluster.pods()] == [uid(pod)]


def test_a_successor_of_the_same_name_has_vfs_of_its_own(
    cluster: Cluster,
) -> None:
    """A StatefulSet's pod, deleted in order, and then by force."""
    cluster.create(replicated('StatefulSet', small_pod('set', KERNEL, VFIO)))
    (pod,) = cluster.wait_ready('set-0')
    for how in ((), ('--force', '--grace-period=0')):
        old = pod
        cluster.plane.run('delete', 'pod', 'set-0', '--wait=false', *how)
        (pod,) = cluster.wait_running(1, without=[old])
        assert uid(pod) != uid(old)
        wait_wired(cluster, [pod])


def test_a_sandbox_that_died_is_made_again_with_its_vfs(
    cluster: Cluster,
) -> None:
    """The pod keeps its ports: their addresses are known to others."""
    old = start_wired(cluster, small_pod('lasting', KERNEL, VFIO))
    before = {each.id: each.fixed_ips for each in cluster.ports()}
    (sandbox,) = {
        each['sandbox']['container_id'] for each in cluster.traces.records()
    }
    cluster.node.kill_task(sandbox)
    wait_wired(cluster, cluster.wait_running(1, without=old))
    (other,) = {
        each['sandbox']['container_id'] for each in cluster.traces.records()
    }
    assert other != sandbox
    assert {each.id: each.fixed_ips for each in cluster.ports()} == before


@pytest.mark.slow
def test_all_vfs_at_once_three_times(cluster: Cluster) -> None:
    """Fourteen pods, with nothing between one round and the next."""
    for number in range(3):
        names = [f'pod{number}-{each}' for each in range(14)]
        pods = start_wired(
            cluster,
            *(
                small_pod(name, KERNEL if index % 2 else VFIO)
                for index, name in enumerate(names)
            ),
        )
        ports = cluster.ports()
        addresses = {each.fixed_ips[0]['ip_address'] for each in ports}
        assert len(addresses) == len(pods)
        cluster.delete_workloads()
