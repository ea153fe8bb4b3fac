# SPDX-License-Identifier: Apache-2.0
"""What operators do to nodes, daemons and VFs while pods have them."""

from __future__ import annotations

import json
import re

import pytest
from clusterlab.cluster import Cluster, container_ids
from clusterlab.controlplane import NODE
from clusterlab.node import CONFLIST
from clusterlab.patience import SECONDS, wait_until
from clusterlab.product import CONTROLLER, NAMESPACE, NODE_DAEMON
from clusterlab.wiring import start_wired, wait_wired
from clusterlab.workloads import KERNEL, VFIO, replicated, small_pod

DRIFTED = 106
"""The CNI plugin's code for a VF that is not as it was left."""

MISTAKE = """
[sriov]
resource_driver_mappings = physnet22:vfio-pcy,physnet23:netdevice
"""
TOLD = "resource_driver_mappings: .*'vfio-pcy'"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('accounted')]


def test_a_node_is_drained(cluster: Cluster) -> None:
    """The controllers go too, and release the ports when they are back."""
    cluster.create(replicated('Deployment', small_pod('app', KERNEL, VFIO), 2))
    pods = cluster.wait_running(2)
    cluster.plane.run(
        *('drain', NODE, '--ignore-daemonsets', '--delete-emptydir-data'),
        f'--timeout={SECONDS:.0f}s',
        timeout=SECONDS + 30,
    )
    cluster.wait_vfs_back()
    cluster.plane.run('uncordon', NODE)
    wait_wired(cluster, cluster.wait_running(2, without=pods))


def test_both_daemons_are_updated_under_running_pods(
    cluster: Cluster,
) -> None:
    """Pods that run keep their VFs; those that come meanwhile get theirs."""
    before = start_wired(cluster, small_pod('old', KERNEL, VFIO))
    ports = {each.id for each in cluster.ports()}
    for what in (NODE_DAEMON, CONTROLLER):
        cluster.plane.run('rollout', 'restart', what, '-n', NAMESPACE)
    cluster.create(small_pod('new', KERNEL, VFIO))
    cluster.product.wait_rolled_out()
    pods = cluster.wait_ready('old', 'new')
    wait_wired(cluster, pods)
    assert container_ids(pods[0]) == container_ids(before[0])
    assert ports < {each.id for each in cluster.ports()}


def test_the_daemons_are_removed_under_running_pods_and_come_back(
    cluster: Cluster,
) -> None:
    """What nobody gave back meanwhile is given back then."""
    pods = start_wired(
        cluster, small_pod('stays', KERNEL, VFIO), small_pod('goes', KERNEL)
    )
    try:
        cluster.product.remove_daemons()
        assert plugins(cluster) == ['bridge']
        wait_wired(cluster, pods)
        cluster.plane.run('delete', 'pod', 'goes', '--now')
        assert len(cluster.traces.records()) == len(cluster.ports()) == 3
    finally:
        cluster.product.install()
    assert plugins(cluster) == ['bridge', 'kuryr-sriov']
    wait_wired(cluster, cluster.wait_ready('stays'))


def test_a_mistake_in_kuryr_conf_is_told_and_costs_no_pod_its_vf(
    cluster: Cluster,
) -> None:
    """New pods wait; once it is right, they start."""
    before = start_wired(cluster, small_pod('old', KERNEL, VFIO))
    try:
        cluster.product.misconfigure(MISTAKE)
        wait_until(
            lambda: re.search(TOLD, cluster.product.read_log()),
            f'the node daemon to say {TOLD!r}',
        )
        wait_wired(cluster, before)
        cluster.create(small_pod('new', KERNEL))
        cluster.wait_event('new', 'FailedCreatePodSandBox: .*node daemon')
    finally:
        cluster.product.install()
    pods = cluster.wait_ready('old', 'new')
    wait_wired(cluster, pods)
    assert container_ids(pods[0]) == container_ids(before[0])


def test_check_finds_a_vf_that_somebody_changed(cluster: Cluster) -> None:
    """Its VLAN, at the PF; once that is put right it finds nothing."""
    start_wired(cluster, small_pod('checked', KERNEL))
    (record,) = cluster.traces.records()
    assert cluster.node.check_sandbox(record)['status'] == 0
    number = cluster.traces.state()[record['pci']]['settings']['vf']
    pf = f'$(basename /sys/bus/pci/devices/{record["pf"]}/net/*)'
    change = f'ip link set {pf} vf {number} vlan'
    cluster.machine.shell(f'{change} 99')
    answer = cluster.node.check_sandbox(record)
    assert answer['status'] == 1
    assert json.loads(answer['stdout'])['code'] == DRIFTED
    cluster.machine.shell(f'{change} 3502')
    assert cluster.node.check_sandbox(record)['status'] == 0


def plugins(cluster: Cluster) -> list[str]:
    """Of the node's CNI configuration, in their order."""
    found = json.loads(cluster.machine.run('cat', CONFLIST))
    return [each['type'] for each in found['plugins']]
