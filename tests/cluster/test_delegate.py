# SPDX-License-Identifier: Apache-2.0
"""The other way in: called by a plugin that does what Multus does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from clusterlab.cluster import Cluster
from clusterlab.nodefiles import BRIDGE
from clusterlab.wiring import STATUS, wait_wired
from clusterlab.workloads import KERNEL, VFIO, small_pod

DELEGATE = """
[sriov_node]
way = delegate
"""


@pytest.fixture
def delegate(cluster: Cluster) -> Iterator[None]:
    """Daemons, networks and the node's CNI configuration for that way."""
    # of the chained way nothing may be left in the CNI configuration
    cluster.product.remove_daemons()
    try:
        cluster.product.install(DELEGATE)
        cluster.product.apply('examples/howto/multus.yaml')
        cluster.node.use_metaplugin()
        yield
        cluster.delete_workloads()
        # while the plugin is there that their DEL is asked of
        cluster.wait_accounted()
    finally:
        cluster.node.write_conflist(BRIDGE)
        cluster.product.install()


@pytest.mark.slow
def test_pods_get_their_vfs_by_way_of_multus(
    cluster: Cluster, delegate: None
) -> None:
    """Those that it has counted out, with what it says in the annotation."""
    cluster.create(*(small_pod(name, KERNEL, VFIO) for name in ('a', 'b')))
    pods = cluster.wait_ready('a', 'b')
    wait_wired(cluster, pods)
    for pod in pods:
        told = json.loads(pod['metadata']['annotations'][STATUS])
        assert [each['interface'] for each in told] == ['eth0', 'net1', 'net2']
