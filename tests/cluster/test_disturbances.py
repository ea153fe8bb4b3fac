# SPDX-License-Identifier: Apache-2.0
"""Whatever dies or is away: pods get their VFs, and give them back."""

from __future__ import annotations

import pytest
from clusterlab.cluster import Cluster
from clusterlab.wiring import wait_wired
from clusterlab.workloads import KERNEL, VFIO, replicated, small_pod

pytestmark = pytest.mark.usefixtures('accounted')


@pytest.mark.slow
def test_the_node_is_rebooted_and_loses_power(cluster: Cluster) -> None:
    """Its pods come again, or others in their place."""
    cluster.create(replicated('Deployment', small_pod('app', KERNEL, VFIO), 3))
    pods = cluster.wait_running(3)
    for restart in (cluster.node.reboot, cluster.node.cut_power):
        restart()
        pods = cluster.wait_running(3, without=pods)
        wait_wired(cluster, pods)
