# SPDX-License-Identifier: Apache-2.0
"""Whatever dies or is away: pods get their VFs, and give them back."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from clusterlab.cluster import Cluster
from clusterlab.patience import wait_until
from clusterlab.product import NAMESPACE
from clusterlab.wiring import wait_wired
from clusterlab.workloads import KERNEL, VFIO, replicated, small_pod

pytestmark = pytest.mark.usefixtures('accounted')

NAMES = [f'pod{number}' for number in range(4)]
"""Of pods with a VF of each network."""

LATENCY = 3.0
"""Seconds that each answer of a slow Neutron takes longer."""

ALL = 2 * len(NAMES)
"""Their ports, and their records in the ledger."""


def begin(cluster: Cluster) -> None:
    """Create the pods; return at once."""
    cluster.create(*(small_pod(name, KERNEL, VFIO) for name in NAMES))


def finish(cluster: Cluster) -> list[Any]:
    """The pods, once each has its VFs."""
    pods = cluster.wait_ready(*NAMES)
    wait_wired(cluster, pods)
    return pods


def wait_ports(cluster: Cluster, least: int, most: int) -> None:
    wait_until(
        lambda: least <= len(cluster.ports()) <= most,
        f'{least} to {most} ports',
    )


def wait_records(cluster: Cluster, least: int, most: int) -> None:
    wait_until(
        lambda: least <= len(cluster.traces.records()) <= most,
        f'{least} to {most} records in the ledger',
    )


def test_the_node_daemon_dies_in_add_and_in_del(cluster: Cluster) -> None:
    """The next one completes what it finds begun, or takes it back."""
    begin(cluster)
    cluster.product.kill_node_daemon('>= 3')
    finish(cluster)
    cluster.delete_workloads()
    cluster.product.kill_node_daemon(f'< {ALL}')
    cluster.wait_accounted()


@pytest.mark.slow
def test_both_controllers_die_while_ports_come_and_go(
    cluster: Cluster,
) -> None:
    """The next leader makes no port twice, and forgets none."""
    begin(cluster)
    wait_ports(cluster, 3, ALL)
    cluster.product.kill_controllers()
    finish(cluster)
    cluster.delete_workloads()
    wait_ports(cluster, 0, ALL - 1)
    cluster.product.kill_controllers()
    cluster.wait_accounted()


@pytest.mark.slow
def test_the_lead_passes_to_another_controller_and_back(
    cluster: Cluster,
) -> None:
    """By a death, and by an end in order; pods that come meanwhile wait."""
    names = []
    for name, how in (
        ('dies', ('--force', '--grace-period=0')),
        ('ends', ('--wait=false',)),
    ):
        leader = cluster.product.leader()
        pod = leader.rpartition('_')[0]
        cluster.plane.run('delete', 'pod', pod, '-n', NAMESPACE, *how)
        cluster.create(small_pod(name, KERNEL, VFIO))
        names.append(name)
        wait_wired(cluster, cluster.wait_ready(*names))
        assert cluster.product.leader() not in ('', leader)
    cluster.product.wait_rolled_out()


@pytest.mark.slow
def test_containerd_and_kubelet_are_restarted(cluster: Cluster) -> None:
    """While pods are wired, while they run, and while they go."""
    begin(cluster)
    wait_records(cluster, 3, ALL)
    cluster.node.restart_containerd()
    finish(cluster)
    # while pods start, a kubelet that is killed refuses them, since it has
    # not heard of a device plugin yet
    cluster.node.restart_kubelet(signal.SIGKILL)
    cluster.node.wait_ready()
    finish(cluster)
    cluster.delete_workloads()
    wait_records(cluster, 0, ALL - 1)
    cluster.node.restart_containerd()
    cluster.node.restart_kubelet()
    cluster.wait_accounted()


@pytest.mark.slow
def test_the_api_server_is_away_for_a_moment(cluster: Cluster) -> None:
    """While pods are wired, and while they go."""
    begin(cluster)
    wait_records(cluster, 3, ALL)
    cluster.plane.restart_api_server()
    finish(cluster)
    cluster.delete_workloads()
    wait_records(cluster, 0, ALL - 1)
    cluster.plane.restart_api_server()
    cluster.wait_accounted()


@pytest.mark.slow
def test_neutron_is_down(cluster: Cluster) -> None:
    """Pods wait and say why; VFs are given back all the same."""
    server = cluster.cloud.neutron.server
    server.kill()
    cluster.create(small_pod('waits', KERNEL))
    cluster.wait_event('waits', 'ProviderUnavailable: ')
    server.start()
    wait_wired(cluster, cluster.wait_ready('waits'))
    server.kill()
    try:
        cluster.delete_workloads()
        cluster.wait_vfs_back()
    finally:
        server.start()


@pytest.mark.slow
def test_neutron_is_slow(cluster: Cluster) -> None:
    """Pods take longer, and no port is made twice."""
    with cluster.cloud.proxy.fault(before=lambda _call: time.sleep(LATENCY)):
        begin(cluster)
        finish(cluster)
        cluster.delete_workloads()
        cluster.wait_accounted()


@pytest.mark.slow
def test_the_node_is_rebooted_and_loses_power(cluster: Cluster) -> None:
    """Its pods come again, or others in their place."""
    cluster.create(replicated('Deployment', small_pod('app', KERNEL, VFIO), 3))
    pods = cluster.wait_running(3)
    for restart in (cluster.node.reboot, cluster.node.cut_power):
        restart()
        pods = cluster.wait_running(3, without=pods)
        wait_wired(cluster, pods)
