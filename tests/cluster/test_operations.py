# SPDX-License-Identifier: Apache-2.0
"""What operators do to the daemons while pods have VFs."""

from __future__ import annotations

import pytest
from clusterlab.cluster import Cluster, container_ids
from clusterlab.product import CONTROLLER, NAMESPACE, NODE_DAEMON
from clusterlab.wiring import wait_wired
from clusterlab.workloads import KERNEL, VFIO, small_pod

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('accounted')]


def test_both_daemons_are_updated_under_running_pods(
    cluster: Cluster,
) -> None:
    """Pods that run keep their VFs; those that come meanwhile get theirs."""
    cluster.create(small_pod('old', KERNEL, VFIO))
    before = cluster.wait_ready('old')
    wait_wired(cluster, before)
    ports = {each.id for each in cluster.ports()}
    for what in (NODE_DAEMON, CONTROLLER):
        cluster.plane.run('rollout', 'restart', what, '-n', NAMESPACE)
    cluster.create(small_pod('new', KERNEL, VFIO))
    cluster.product.wait_rolled_out()
    pods = cluster.wait_ready('old', 'new')
    wait_wired(cluster, pods)
    assert container_ids(pods[0]) == container_ids(before[0])
    assert ports < {each.id for each in cluster.ports()}
